"""Thread-local storage: who has a block, and how much of the static area is left."""

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
    items,
    section,
    table,
    tag,
)
from gdbext.render.html.names import count, file_name, module

_COLUMNS = [
    Column("Module", "name"),
    Column("Id", "number"),
    Column("Bytes", "number"),
    Column("Storage"),
    Column("From thread pointer", "code"),
    Column("Block of this thread", "code"),
    Column("Needs to be static", "wide"),
    Column("Asked by", "wide"),
]


def tls_section(report: Mapping[str, Any]) -> Markup:
    """Static TLS in figures, then one row for each module that has TLS or asks for it."""
    document = report.get("tls")
    if not document:
        return EMPTY
    rows = (Row(_cells(each)) for each in document["modules"])
    title = count(len(document["modules"]), "module with thread-local storage",
                  "modules with thread-local storage")  # fmt: skip
    return section("tls", "Thread-local storage", _static(document), table(title, _COLUMNS, rows))


def _static(document: Mapping[str, Any]) -> Markup:
    static = document["static_tls"]
    if static is None:
        return tag(
            "p", f"How much static TLS is left is not known: {document['static_tls_reason']}."
        )
    pairs = [
        ("Static area", f"{static['size']:,} bytes in each thread"),
        ("Used", f"{static['used']:,} bytes"),
        ("Left", f"{static['left']:,} bytes for a library that dlopen brings in"),
    ]
    return facts(pairs)


def _cells(each: Mapping[str, Any]) -> list[str]:
    return [
        module(each["path"]),
        str(each["id"] or "–"),
        f"{each['size']:,}",
        each["storage"] or "–",
        code(each["tp_offset"]),
        code(each["block"]) if each["block"] else each["block_reason"] or "–",
        items(_needs(each)) or each["needs_reason"] or "–",
        items(f"{file_name(asked['path'])} ({asked['kind']})" for asked in each["asked_by"]) or "–",
    ]


def _needs(each: Mapping[str, Any]) -> Iterator[str]:
    for need in each["needs"]:
        what = need["symbol"] or "a variable of its own"
        times = f" {need['count']} times" if need["count"] > 1 else ""
        yield f"{what} ({need['kind']}{times})"
