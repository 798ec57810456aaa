"""What changed between two snapshots as one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gdbext.render.html.markup import (
    EMPTY,
    Column,
    Markup,
    Row,
    code,
    folded,
    items,
    join,
    section,
    table,
    tag,
)
from gdbext.render.html.names import badge, count, file_name, module
from gdbext.render.html.page import page

SCRIPT = ("dom.js", "tables.js", "starttables.js")
_BEFORE, _AFTER = Column("Before", "name"), Column("After", "name")
_WHAT = [Column("What"), _BEFORE, _AFTER]
_MODULES = [Column("Module", "name"), Column("What changed", "wide"), _BEFORE, _AFTER]
_PROVIDERS = [
    Column("Symbol", "name"),
    Column("Used by", "name"),
    Column("Slots", "number"),
    _BEFORE,
    _AFTER,
]
_VERDICTS = [
    Column("Symbol", "name"),
    Column("Module", "name"),
    Column("At", "code"),
    Column("Before"),
    Column("After"),
    Column("Leads to", "name"),
]
_SYMBOLS = [Column("Symbol", "name"), Column("What changed"), Column("Before"), Column("After")]
_THREADS = [
    Column("Began in", "name"),
    Column("Names", "wide"),
    Column("Before", "number"),
    Column("After", "number"),
]
_SIDES = {
    "program": "Program",
    "target": "Kind",
    "cpu": "CPU",
    "modules": "Modules",
    "symbols": "Symbols",
    "slots": "GOT slots",
    "threads": "Threads",
    "gdbext": "gdbext",
}


def diff_html(diff: Mapping[str, Any]) -> Iterator[str]:
    """plug-diff's document as a page in pieces."""
    number = diff["count"]
    title = count(number, "difference") if number else "No difference"
    parts = [part for part in _parts(diff) if part[2]]
    links = [tag("li", tag("a", name, href=f"#{key}")) for key, name, _ in parts]
    sides = [
        Row([name, _value(diff["before"].get(key)), _value(diff["after"].get(key))])
        for key, name in _SIDES.items()
    ]
    body = [
        tag("a", "Skip to the differences", href="#main", class_="skip"),
        tag(
            "header",
            tag("p", "gdbext diff", class_="kind"),
            tag("h1", title),
            table("The two snapshots", _WHAT, sides, kind=""),
            class_="headline calm",
        ),
        tag("nav", tag("ul", *links), aria_label="Parts of the comparison"),
        tag("main", *(content for _, _, content in parts), id="main"),
        tag("footer", tag("p", _no_difference(diff["resolved"]))),
    ]
    return page(title, body, None, SCRIPT)


def _parts(diff: Mapping[str, Any]) -> Iterator[tuple[str, str, Markup]]:
    yield _rows(diff, "changes", "The machine", _WHAT, _change)
    yield "modules", "Modules", _module_changes(diff)
    yield _rows(diff, "verdicts", "Verdicts on slots", _VERDICTS, _verdict)
    yield _rows(diff, "providers", "Symbols that come from elsewhere", _PROVIDERS, _provider)
    yield "symbols", "Symbol tables", _symbol_tables(diff)
    yield _rows(diff, "threads", "Threads", _THREADS, _thread)
    tls = [Column("Module", "name"), *_WHAT]
    yield _rows(diff, "tls", "Thread-local storage", tls, _tls)
    if diff["unknown"]:
        yield "unknown", "Not compared", section("unknown", "Not compared", items(diff["unknown"]))


def _no_difference(resolved: int) -> str:
    same = "Addresses that differ by randomisation are no difference."
    return f"{same} {count(resolved, 'slot')} lazy in one alone: neither." if resolved else same


def _rows(
    diff: Mapping[str, Any],
    key: str,
    title: str,
    columns: Sequence[Column],
    row: Callable[[Mapping[str, Any]], Row],
) -> tuple[str, str, Markup]:
    found = diff[key]
    if not found:
        return key, title, EMPTY
    shown = table(f"{len(found):,} in all", columns, map(row, found))
    return key, title, section(key, title, shown)


def _value(value: Any) -> Markup:  # noqa: ANN401
    """A number, a word or an address of one side."""
    if isinstance(value, bool):
        return tag("span", "yes" if value else "no")
    if isinstance(value, int):
        return tag("span", f"{value:,}")
    return code(value)


def _change(change: Mapping[str, Any]) -> Row:
    return Row([change["name"], _value(change["before"]), _value(change["after"])])


def _module_changes(diff: Mapping[str, Any]) -> Markup:
    added, gone = badge("added", "plain"), badge("gone", "gone")
    rows = [
        *(Row([_where(m), added, "", code(m["build_id"])]) for m in diff["added"]),
        *(Row([_where(m), gone, code(m["build_id"]), ""]) for m in diff["gone"]),
    ]
    for each in diff["changed"]:
        pairs = [("another build", each["replaced"]), ("another path", each["moved"])]
        pairs += [(change["name"], change) for change in each["properties"]]
        rows += [
            Row([_where(each), what, _value(pair["before"]), _value(pair["after"])])
            for what, pair in pairs
            if pair
        ]
    for order in diff["order"]:
        place = f"order from place {order['place']} on, namespace {order['namespace']}"
        rows.append(Row(["", place, module(order["before"]), module(order["after"])]))
    if not rows:
        return EMPTY
    title = count(len(rows), "change")
    return section("modules", "Modules", table(title, _MODULES, rows))


def _where(each: Mapping[str, Any]) -> Markup:
    space = f"namespace {each['namespace']}" if each["namespace"] else ""
    return join([module(each["path"]), space], " ")


def _verdict(each: Mapping[str, Any]) -> Row:
    after = each["after"] or "no slot"
    return Row(
        [
            code(each["symbol"]),
            _where(each),
            code(each["offset"]),
            each["before"] or "no slot",
            badge(after, "plain" if after in ("ok", "no slot") else "lost"),
            _target(each["leads"]),
        ]
    )


def _provider(each: Mapping[str, Any]) -> Row:
    before, after = (_targets(each[side]) for side in ("before", "after"))
    return Row([code(each["symbol"]), _where(each), str(each["slots"]), before, after])


def _targets(targets: Sequence[Mapping[str, Any]]) -> Markup:
    """One, as nearly always, or several: slots of one symbol need not agree."""
    return _target(targets[0]) if len(targets) == 1 else items(map(_target, targets))


def _target(target: Mapping[str, Any]) -> Markup:
    if target["module"] is None:
        return tag("span", "nowhere")
    definition = code(target["definition"]) if target["definition"] else EMPTY
    return join([module(target["module"]), definition], " ")


def _symbol_tables(diff: Mapping[str, Any]) -> Markup:
    """Each module's on demand: an upgrade changes hundreds of names."""
    found = [_symbol_table(each) for each in diff["symbols"]]
    return section("symbols", "Symbol tables", *found) if found else EMPTY


def _symbol_table(each: Mapping[str, Any]) -> Markup:
    rows = [
        Row([code(c["symbol"]), c["what"], _value(c["before"]), _value(c["after"])])
        for c in each["changed"]
    ]
    for key, what in (
        ("added", "defined now"),
        ("removed", "no longer defined"),
        ("imports_added", "needed now"),
        ("imports_removed", "no longer needed"),
    ):
        rows += [Row([code(symbol), what, "", ""]) for symbol in each[key]]
    title = f"{file_name(each['path'])}: {count(len(rows), 'change')}"
    return folded(title, table(title, _SYMBOLS, rows))


def _thread(each: Mapping[str, Any]) -> Row:
    start = join([code(each["start"]), module(each["module"]) if each["module"] else ""], " ")
    return Row([start, ", ".join(each["names"]), str(each["before"]), str(each["after"])])


def _tls(each: Mapping[str, Any]) -> Row:
    where = module(each["path"]) if each["path"] else "the static area"
    return Row([where, each["name"], _value(each["before"]), _value(each["after"])])
