"""The differences between two snapshots as text; what is handed in is their JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gdbext.render.fit import bold, wrapped
from gdbext.render.printable import count, printable

Document = Mapping[str, Any]
_FEW = 12  # names that one line says
_MOST_ROWS = 40  # of one kind; -json has them all
_ID = 12  # digits of a build-id
_MARK = 10  # columns before a fact


def difference_lines(document: Document, width: int, color: bool) -> Iterator[str]:
    """The lines, in `width` columns where they can be."""
    for which in ("before", "after"):
        yield from wrapped(f"{which.capitalize() + ':':<8}", _summary(document[which]), width)
    number = document["count"]
    yield bold("No differences." if not number else f"{count(number, 'difference')}.", color)
    for title, rows in _parts(document):
        if rows:
            yield ""
            yield bold(title, color)
            for mark, text in rows[:_MOST_ROWS]:
                yield from wrapped(f"  {mark:<{_MARK}}", printable(text), width)
            if len(rows) > _MOST_ROWS:
                yield f"  … and {len(rows) - _MOST_ROWS} more; the JSON document has them all"
    if document["resolved"]:
        yield ""
        slots = count(document["resolved"], "slot")
        yield from wrapped("Note: ", f"{slots} lazy in one alone, which is no difference", width)
    for text in document["unknown"]:
        yield from wrapped("Not compared: ", printable(text), width)


def _summary(facts: Document) -> str:
    pieces = [count(facts[f"{noun}s"], noun) for noun in ("module", "slot", "symbol")]
    if facts["threads"] is not None:
        pieces.append(count(facts["threads"], "thread"))
    program = printable(facts["program"] or "an unknown program")
    text = f"{program}, {printable(facts['target'])}, {printable(facts['cpu'])}"
    return f"{text}: {', '.join(pieces)}"


_Rows = list[tuple[str, str]]


def _parts(document: Document) -> Iterator[tuple[str, _Rows]]:
    """(title, rows) of each part; what has no rows is not shown."""
    yield "Machine:", [("changed", _change(change)) for change in document["changes"]]
    modules: _Rows = [("added", _module(module)) for module in document["added"]]
    modules += [("gone", _module(module)) for module in document["gone"]]
    modules += [row for module in document["changed"] for row in _changed(module)]
    yield "Modules:", modules
    yield "Order of the link_map chain:", [("changed", _order(row)) for row in document["order"]]
    yield "Symbols that another definition provides now:", list(_providers(document["providers"]))
    yield "Slots with another verdict:", list(_verdicts(document["verdicts"]))
    yield "Symbol tables:", [row for one in document["symbols"] for row in _symbols(one)]
    yield "Threads:", [("changed", _thread(row)) for row in document["threads"]]
    yield "Thread-local storage:", [("changed", _tls(row)) for row in document["tls"]]


def _name(module: Document) -> str:
    space = f" (namespace {module['namespace']})" if module["namespace"] else ""
    return f"{module['path']}{space}"


def _short(module: Document) -> str:
    space = f" (namespace {module['namespace']})" if module["namespace"] else ""
    return f"{_file(module['path'])}{space}"


def _file(path: str | None) -> str:
    return "nowhere" if path is None else path.rpartition("/")[2] or path


def _module(module: Document) -> str:
    return f"{_name(module)}, {module['kind']}, build-id {_build(module['build_id'])}"


def _build(build_id: str | None) -> str:
    return "none" if build_id is None else build_id[:_ID]


def _changed(module: Document) -> Iterator[tuple[str, str]]:
    moved, replaced = module["moved"], module["replaced"]
    if moved is not None:
        yield "moved", f"{moved['before']} → {_name(module)}"
    if replaced is not None:
        ids = [_build(replaced[which]) for which in ("before", "after")]
        which = "another build" if ids[0] == ids[1] else f"build-id {ids[0]} → {ids[1]}"
        yield "replaced", f"{_name(module)}: {which}"
    if module["properties"]:
        changes = "; ".join(map(_change, module["properties"]))
        yield "changed", f"{_name(module)}: {changes}"


def _change(change: Document) -> str:
    words = change["name"].replace("_", " ")
    return f"{words} {_value(change['before'])} → {_value(change['after'])}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)


def _order(row: Document) -> str:
    space = f"namespace {row['namespace']}, " if row["namespace"] else ""
    return f"{space}place {row['place']}: {row['before']} → {row['after']}"


def _listed(names: Sequence[str], between: str = ", ") -> str:
    rest = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return between.join(names[:_FEW]) + rest


def _providers(rows: Sequence[Document]) -> Iterator[tuple[str, str]]:
    """Symbols that went the same way in the same modules share a line."""
    ways: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in rows:
        way = _targets(row, "before"), _targets(row, "after")
        ways.setdefault(way, {}).setdefault(row["symbol"], []).append(_file(row["path"]))
    for (before, after), symbols in ways.items():
        groups: dict[tuple[str, ...], list[str]] = {}
        for symbol, modules in symbols.items():
            groups.setdefault(tuple(modules), []).append(symbol)
        for users, names in groups.items():
            yield "changed", f"{before} → {after}: {_listed(names)}; in {_listed(users)}"


def _targets(row: Document, which: str) -> str:
    """Where the slots lead: modules, with the names of the definitions where they matter."""
    other = "after" if which == "before" else "before"
    modules = [target["module"] for target in row[which]]
    same = modules == [target["module"] for target in row[other]]
    texts = []
    for target in row[which]:
        name = target["definition"]
        own = name is None or name == row["symbol"].partition("@")[0]
        texts.append(_file(target["module"]) + (f" {name}" if name and (same or not own) else ""))
    return " and ".join(texts)


def _verdicts(rows: Sequence[Document]) -> Iterator[tuple[str, str]]:
    groups: Counter[tuple[str, str, str, str]] = Counter()
    names: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        leads = row["leads"]
        target = _file(leads["module"]) + (f" {leads['definition']}" if leads["definition"] else "")
        key = _short(row), row["before"] or "not there", row["after"] or "not there", target
        groups[key] += 1
        names.setdefault(key, []).append(row["symbol"])
    for (path, before, after, target), number in groups.items():
        which = _listed(names[path, before, after, target])
        slots = "" if number == 1 else f" ({number} slots)"
        yield "changed", f"{path}: {which}{slots}: {before} → {after}; leads to {target}"


def _symbols(row: Document) -> Iterator[tuple[str, str]]:
    path = _short(row)
    for mark, what in (
        ("added", "added"),
        ("removed", "removed"),
        ("needs", "imports_added"),
        ("needs not", "imports_removed"),
    ):
        if row[what]:
            yield mark, f"{path}: {_listed(row[what])}"
    changes = [
        f"{change['symbol']}: {change['what']} {change['before']} → {change['after']}"
        for change in row["changed"]
    ]
    if changes:
        yield "changed", f"{path}: {_listed(changes, '; ')}"


def _thread(row: Document) -> str:
    where = f" of {_file(row['module'])}" if row["module"] else ""
    names = f" ({_listed(row['names'])})" if row["names"] else ""
    return f"{row['before']} → {row['after']} started in {row['start']}{where}{names}"


def _tls(row: Document) -> str:
    head = f"{_file(row['path'])}: " if row["path"] else ""
    return head + _change(row)
