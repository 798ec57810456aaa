"""Tables of what is loaded and of who lost a symbol to whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gdbext.render.html.marks import Mark, modules
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
from gdbext.render.html.names import badge, count, file_name, module, versioned

_FEW = 60  # modules that are all printed
_MOST = 500  # conflicts that are shown without being asked for
_MODULES = [
    Column("Module", "name"),
    Column("Kind"),
    Column("Start", "code"),
    Column("End", "code"),
    Column("Brought in by", "wide"),
    Column("Opens", "number"),
    Column("Scope and flags"),
    Column("Binding"),
    Column("RELRO"),
    Column("TLS id", "number"),
    Column("File"),
    Column("Build-id", "id"),
]
_CONFLICTS = [
    Column("Symbol", "name"),
    Column("Loser", "name"),
    Column("Winner", "name"),
    Column("Bindings", "number"),
    Column("Why", "wide"),
    Column("Winner brought in by", "wide"),
]
_BENIGN = {
    "copy": "copy relocations",
    "canonical_plt": "canonical PLT addresses",
    "linker": "between the dynamic linker and libc",
    "allocator": "an allocator in the place of another",
    "unique": "unique symbols",
    "inline": "inline functions",
    "typeinfo": "type information",
}


def module_table(report: Mapping[str, Any], marks: Mapping[str, Sequence[Mark]]) -> Markup:
    """All modules, those that stand out marked; on paper only these where there are many."""
    found = list(modules(report))
    if not found:
        return EMPTY
    several = len({each["namespace"] for each in found}) > 1
    fold = len(found) > _FEW
    rows = (
        Row(
            _cells(each, marks.get(each["path"], []), several),
            "quiet" if fold and not marks.get(each["path"]) and each["kind"] != "main" else "",
        )
        for each in found
    )
    title = f"{count(len(found), 'module')} in the order of the link_map chain"
    note = f"On paper: of {len(found)} modules those that stand out." if fold else ""
    return section(
        "modules",
        "Modules",
        tag("p", note, class_="paper") if note else EMPTY,
        table(title, _MODULES, rows),
    )


def _cells(each: Mapping[str, Any], marks: Sequence[Mark], several: bool) -> list[str]:
    name = join([module(each["path"]), *(badge(mark.text, mark.kind) for mark in marks)], " ")
    return [
        name,
        f"{each['kind']}, namespace {each['namespace']}" if several else each["kind"],
        code(each.get("start")),
        code(each.get("end")),
        _origin(each),
        _known(each, "open_count"),
        ", ".join(_flags(each)),
        _known(each, "binding"),
        _known(each, "relro"),
        _known(each, "tls_module_id"),
        _known(each, "file"),
        code(each.get("build_id")),
    ]


def _origin(each: Mapping[str, Any]) -> str:
    if each.get("opened_by"):
        return f"dlopen by {file_name(each['opened_by'])}"
    needers = each.get("needed_by") or []
    if needers:
        more = f" and {len(needers) - 1} more" if len(needers) > 1 else ""
        return f"needed by {file_name(needers[0])}{more}"
    return "dlopen, by whom is not known" if each["kind"] == "dlopened" else ""


def _flags(each: Mapping[str, Any]) -> Iterator[str]:
    scope = each.get("global")
    yield "scope unknown" if scope is None else "global" if scope else "local"
    yield from (name for name in ("nodelete", "deepbind") if each.get(name))


def _known(each: Mapping[str, Any], key: str) -> str:
    value = each.get(key)
    if value is None:
        return "unknown" if each.get(f"{key}_reason") else "–"
    return str(value)


def conflict_section(report: Mapping[str, Any]) -> Markup:
    """True conflicts in full; benign ones and doubled families on demand."""
    document = report.get("conflicts")
    if not document:
        return EMPTY
    found, benign = document["conflicts"], document["benign"]
    parts: list[Markup] = []
    if found:
        title = f"{count(len(found), 'symbol')} that a module defines and does not get"
        parts.append(table(title, _CONFLICTS, map(_conflict, found[:_MOST])))
        if len(found) > _MOST:
            rest = count(len(found) - _MOST, "more conflict")
            parts.append(folded(rest, table(rest, _CONFLICTS, map(_conflict, found[_MOST:]))))
    else:
        parts.append(tag("p", "Every module gets the definitions that are its own."))
    for family in document["families"]:
        copies = (
            join([module(copy["module"]), f" exports {', '.join(copy['exports'])}"])
            for copy in family["copies"]
        )
        title = f"{family['family']} is there {len(family['copies'])} times"
        parts += [tag("h3", title), items(copies, "plain")]
    if document["unknown"]:
        parts += [tag("h3", "Could not be judged"), items(document["unknown"])]
    for kind in sorted({entry["kind"] for entry in benign}):
        rows = [entry for entry in benign if entry["kind"] == kind]
        title = f"{len(rows):,} harmless: {_BENIGN.get(kind, kind)}"
        parts.append(folded(title, table(title, _CONFLICTS, map(_conflict, rows)), kind="quiet"))
    doubled = count(document["duplicate_symbols"], "strong symbol")
    note = f"{doubled} defined more than once; that alone is no conflict."
    return section("conflicts", "Conflicts", *parts, note=note)


def _conflict(entry: Mapping[str, Any]) -> Row:
    name = versioned(entry["symbol"], entry["version"])
    readable = entry.get("demangled")
    shown = join([code(readable), tag("span", name, class_="folder")]) if readable else code(name)
    return Row(
        [
            shown,
            module(entry["loser"]),
            module(entry["winner"]),
            str(entry["bindings"]),
            entry["reason"],
            entry["brought_in_by"],
        ]
    )
