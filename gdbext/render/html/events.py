"""What plug-trace recorded: each call with its caller and its outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from gdbext.render.html.markup import (
    EMPTY,
    Column,
    Markup,
    Row,
    code,
    items,
    join,
    section,
    table,
    tag,
)
from gdbext.render.html.names import badge, count, file_name, module

_MOST = 2000  # events; 10,000 opens and closes are in the JSON document
_COLUMNS = [
    Column("#", "number"),
    Column("Call"),
    Column("Of what", "name"),
    Column("Called from", "name"),
    Column("Outcome", "wide"),
    Column("At, s", "number"),
    Column("Took, ms", "number"),
    Column("Thread", "number"),
]


def event_section(report: Mapping[str, Any]) -> Markup:
    """Events in the order in which they began."""
    events = report.get("events") or []
    if not events:
        return EMPTY
    failed = sum(event["failed"] for event in events)
    title = f"{count(len(events), 'event')}, {failed:,} failed"
    rest = len(events) - _MOST
    more = tag("p", f"and {rest:,} later ones.", class_="note") if rest > 0 else EMPTY
    rows = map(_row, islice(events, _MOST))
    return section("events", "What was traced", table(title, _COLUMNS, rows, header=1), more)


def _row(event: Mapping[str, Any]) -> Row:
    within = f" in #{event['parent']}" if event["parent"] is not None else ""
    took = event["duration"]
    return Row(
        [
            str(event["id"]),
            f"{event['kind']}{within}",
            _subject(event),
            "libc itself" if event["by_libc"] else _spot(event["caller"]),
            join([badge("failed", "lost") if event["failed"] else "", items(_outcome(event))]),
            f"{event['time']:.3f}",
            f"{1000 * took:.3f}" if took is not None else "–",
            str(event["thread"]),
        ]
    )


def _subject(event: Mapping[str, Any]) -> Markup:
    """The file, symbol or function that the call is about."""
    if event["function"] is not None:
        return _spot(event["function"])
    name = event["path"] or event["module"]
    shown = code(name) if event["kind"] == "dlsym" else module(name)
    flags = " | ".join(event["flags"] or [])
    return join([shown, tag("span", flags, class_="folder") if flags else EMPTY], " ")


def _spot(spot: Mapping[str, Any] | None) -> Markup:
    if spot is None:
        return code(None)
    parts = [code(spot["function"])] if spot.get("function") else []
    if spot["module"]:
        parts.append(code(f"{file_name(spot['module'])}+{spot['offset']}"))
    return join(parts or [code(spot["pc"])], " ")


def _outcome(event: Mapping[str, Any]) -> Iterator[str]:
    if event["failed"]:
        yield event["error"] or event["error_reason"] or "the reason is not known"
    if event["ended"] != "returned":
        yield event["ended"]
    for key in ("loaded", "unloaded"):
        if event[key]:
            yield f"{key} {', '.join(map(file_name, event[key]))}"
    yield from (stay["text"] for stay in event["stays"])
    if event["started"]:
        yield f"started {count(len(event['started']), 'thread')}"
