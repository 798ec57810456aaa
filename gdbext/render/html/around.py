"""Around the crash: registers, slots near the call, files to fetch, libraries that are gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gdbext.render.html.markup import (
    EMPTY,
    Column,
    Markup,
    Row,
    code,
    facts,
    join,
    section,
    table,
    tag,
)
from gdbext.render.html.names import badge, count, module, versioned

_NEAR = [
    Column("Symbol", "name"),
    Column("Verdict"),
    Column("State"),
    Column("Slot at", "code"),
    Column("Holds", "code"),
    Column("Used by"),
    Column("Reason", "wide"),
]
_MISSING = [
    Column("File", "name"),
    Column("What is here", "wide"),
    Column("Build-id to fetch", "id"),
    Column("How", "wide"),
]
_HERE = {
    "absent": "nothing",
    "replaced": "another build",
    "deleted": "it was deleted while it was loaded",
}
_UNLOADED = [
    Column("Library", "name"),
    Column("From", "code"),
    Column("To", "code"),
    Column("Known from"),
    Column("Build-id", "id"),
]
_KNOWN_FROM = {
    "trace": "what plug-trace recorded",
    "events": "what GDB saw",
    "log": "the log of the dynamic linker",
    "memory": "what the dynamic linker left behind",
}


def registers(report: Mapping[str, Any]) -> Markup:
    """Those that point somewhere, one on a line; then the others."""
    found = report.get("registers") or []
    if not found:
        return EMPTY
    telling = [(r["name"], _register(r)) for r in found if r.get("text")]
    plain = [(r["name"], _register(r)) for r in found if not r.get("text")]
    return section(
        "registers",
        "Registers",
        facts(telling, "registers telling") if telling else EMPTY,
        facts(plain, "registers") if plain else EMPTY,
    )


def _register(register: Mapping[str, Any]) -> Markup:
    if not register["value"]:
        return tag("span", register.get("value_reason") or "not available", class_="none")
    parts = [code(register["value"])]
    if register.get("text"):
        parts.append(tag("span", register["text"]))
    if register.get("string"):
        parts.append(code(f'"{register["string"]}"'))
    return join(parts, " ")


def near_slots(report: Mapping[str, Any]) -> Markup:
    """The GOT slots that the crashing code calls through or reads."""
    found = report.get("slots_near_call") or []
    if not found:
        return EMPTY
    title = f"{count(len(found), 'slot')} that the code around the crash site uses"
    return section("slots_near_call", "Slots near the call", table(title, _NEAR, map(_near, found)))


def _near(near: Mapping[str, Any]) -> Row:
    slot, verdict = near["slot"], near.get("verdict")
    stands_out = verdict not in ("ok", "unverified")
    used = {"call": "a call", "load": "a load"}.get(near.get("how", ""), near.get("how", ""))
    cells = [
        code(versioned(slot["symbol"], slot["version"])),
        badge(verdict, "lost" if stands_out else "plain") if verdict else code(None),
        slot["state"] or "unknown",
        code(slot["address"]),
        code(slot["value"]),
        join([used, code(near["code"])], " before ") if near.get("code") else used,
        near.get("reason") or slot.get("reason") or "",
    ]
    return Row(cells, "site" if slot["state"] == "null" and used == "a call" else "")


def missing(report: Mapping[str, Any]) -> Markup:
    """Files that are not here as they were in the process, and how to get them."""
    found = report.get("missing") or []
    if not found:
        return EMPTY
    title = f"{count(len(found), 'file')} without which less is known"
    rows = (
        Row(
            [
                module(each["path"]),
                _HERE.get(each["state"], each["state"]),
                code(each.get("build_id")),
                code(each.get("remedy")),
            ]
        )
        for each in found
    )
    return section("missing", "Files to fetch", table(title, _MISSING, rows))


def unloaded_libraries(report: Mapping[str, Any]) -> Markup:
    """Libraries that are gone."""
    found = report.get("unloaded") or []
    if not found:
        return EMPTY
    title = f"{count(len(found), 'library', 'libraries')} that had been loaded"
    return section("unloaded", "Unloaded libraries", table(title, _UNLOADED, map(_unloaded, found)))


def _unloaded(library: Mapping[str, Any]) -> Row:
    evidence = _KNOWN_FROM.get(library.get("evidence", ""), library.get("evidence") or "–")
    probable = " (probable)" if library.get("probable") else ""
    return Row(
        [
            module(library["path"]) if library["path"] else "name not known",
            code(library.get("start")),
            code(library.get("end")),
            f"{evidence}{probable}",
            code(library.get("build_id")),
        ]
    )


def warnings(report: Mapping[str, Any]) -> Iterator[str]:
    """What the reader must know of the core, and what GDB warned of."""
    yield from report.get("notes") or []
    yield from (f"GDB warned: {line}" for line in report.get("warnings") or [])
