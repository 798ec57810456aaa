"""Threads, those with the same stack together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gdbext.render.html.crash import frame_rows
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
from gdbext.render.html.names import count, file_name, function, spot

_MOST = 200  # stacks that are shown
_NAMED = 25  # threads of one stack that have a row; 10,000 threads make no page of 100 MB
_DEEP = 60  # frames of each stack
_FRAMES = [
    Column("#", "number"),
    Column("Function"),
    Column("Module and offset"),
    Column("Source"),
]
_THREADS = [
    Column("Thread", "number"),
    Column("LWP", "number"),
    Column("Name"),
    Column("System call"),
    Column("Started by", "name"),
    Column("Holds"),
    Column("Waits for", "wide"),
]


def thread_section(report: Mapping[str, Any]) -> Markup:
    """Deadlocks first, then each different stack once, the selected thread's on top."""
    document = report.get("threads")
    if not document or not document["threads"]:
        return EMPTY
    threads = document["threads"]
    groups: dict[int | None, list[Mapping[str, Any]]] = {}
    for thread in threads:
        groups.setdefault(thread["stack"], []).append(thread)
    ordered = sorted(groups.items(), key=lambda item: _rank(item[1]))
    parts: list[Markup] = []
    if document["deadlocks"]:
        parts += [
            tag("h3", "Deadlock"),
            items((entry["text"] for entry in document["deadlocks"]), "findings"),
        ]
    held = [lock for lock in document["locks"] if lock["held"]]
    if held:
        lines = (f"{lock['name']} is held by LWP {lock['owner_lwp']}" for lock in held)
        parts += [tag("h3", "The dynamic linker's locks"), items(lines)]
    parts += [
        _group(same, document["stacks"][index] if index is not None else [])
        for index, same in ordered[:_MOST]
    ]
    if len(ordered) > _MOST:
        parts.append(tag("p", f"{len(ordered) - _MOST:,} other stacks are in the JSON report."))
    parts.append(items(document["notes"], "note"))
    stacks = f", {count(len(groups), 'different stack')}" if len(threads) > 1 else ""
    note = f"{count(len(threads), 'thread')}{stacks}."
    return section("threads", "Threads", *parts, note=note)


def _rank(same: Sequence[Mapping[str, Any]]) -> tuple[bool, int, int]:
    return not any(thread["selected"] for thread in same), -len(same), same[0]["number"]


def _group(same: Sequence[Mapping[str, Any]], stack: Sequence[Mapping[str, Any]]) -> Markup:
    rows = (_thread(thread) for thread in same[:_NAMED])
    listed = table(count(len(same), "thread"), _THREADS, rows)
    others = [thread["number"] for thread in same[_NAMED:]]
    rest = tag("p", f"and the same: threads {ranges(others)}", class_="note") if others else EMPTY
    if not stack:
        return folded(f"{_title(same)}: stack not known", listed, rest)
    frames = [Row(row.cells[:4], row.kind) for row in frame_rows(stack)]
    title = f"Their frames, the innermost {_DEEP}" if len(frames) > _DEEP else "Their frames"
    backtrace = table(title, _FRAMES, frames[:_DEEP], header=1, kind="cards")
    return folded(f"{_title(same)} · {_top(stack)}", listed, rest, backtrace)


def ranges(numbers: Sequence[int]) -> str:
    """`3, 5 to 9`: numbers in their order, neighbours together."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _title(same: Sequence[Mapping[str, Any]]) -> str:
    selected = " (selected)" if any(thread["selected"] for thread in same) else ""
    names = list(dict.fromkeys(thread["name"] for thread in same if thread["name"]))
    called = f" {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if names else ""
    if len(same) == 1:
        return f"Thread {same[0]['number']}{called}{selected}"
    return f"{count(len(same), 'thread')}{called}{selected}"


def _top(stack: Sequence[Mapping[str, Any]]) -> str:
    """The innermost frame, and the innermost one in a plugin."""
    frames = [stack[0], *(frame for frame in stack[1:] if frame.get("plugin"))][:2]
    return " · ".join(
        f"{function(frame) or '??'} in {file_name(frame['module'] or 'no module')}"
        for frame in frames
    )


def _thread(thread: Mapping[str, Any]) -> Row:
    syscall, waits, start = thread["syscall"], thread["waits_for"], thread["started_by"]
    return Row(
        [
            str(thread["number"]),
            str(thread["lwp"]),
            thread["name"] or "–",
            syscall["name"] if syscall else "–",
            join(_start(start), " ") if start else thread.get("started_by_reason") or "–",
            ", ".join(thread["holds"]) or "–",
            waits["text"] if waits else "–",
        ]
    )


def _start(start: Mapping[str, Any]) -> Iterator[Markup]:
    if function(start):
        yield code(function(start))
    yield spot({"pc": start["address"], **start})
