"""A trace as people read it: the tree of calls, then what it all comes to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gdbext.findings.tracing.events import (
    CONSTRUCTOR,
    DESTRUCTOR,
    DLSYM,
    ENDED,
    OPENS,
    RUNNING,
    THREAD,
    UNWOUND,
    Event,
    Spot,
    call_text,
)
from gdbext.inferior.frames import demangle
from gdbext.render.fit import fitting_path, wrapped
from gdbext.render.printable import count, printable
from gdbext.render.tables import table

if TYPE_CHECKING:
    from gdbext.findings.tracing.lifetimes import Summary
    from gdbext.stops.trace import State

_MOST_LIBRARIES = 40
_NOT_BACK = {
    RUNNING: "still running",
    UNWOUND: "never returned: the stack was unwound past it",
    ENDED: "the process ended in it",
}


def lines(state: State, summary: Summary, width: int) -> Iterator[str]:
    """All of it."""
    events = list(state.log.events.values())
    yield f"{'Recording' if state.on else 'Recorded'}: {count(len(events), 'event')}" + (
        f", and {state.log.dropped} older ones that are not kept" if state.log.dropped else ""
    )
    for note in state.notes:
        yield from wrapped("  note: ", printable(note), width)
    if events:
        yield ""
        yield from _tree(events, width)
    yield from _summary(summary, width)


def _tree(events: Sequence[Event], width: int) -> Iterator[str]:
    several = len({event.lwp for event in events}) > 1
    pids = {event.pid for event in events}
    shown = {event.id for event in events}
    depths: dict[int, int] = {}
    children: dict[int | None, list[Event]] = {}
    for event in events:
        parent = event.parent if event.parent in shown else None
        children.setdefault(parent, []).append(event)
    work = list(reversed(children.get(None, [])))
    while work:
        event = work.pop()
        depth = depths[event.id] = depths.get(event.parent or -1, -1) + 1
        work += reversed(children.get(event.id, []))
        head = f"{event.time:10.3f} {_time(event.duration):>9}  "
        where = f"[{event.pid}] " if len(pids) > 1 else ""
        where += f"thread {event.thread} " if several else ""
        indent = "  " * min(depth, 20)
        text = f"{where}{_call(event)}{_result(event)}"
        yield from wrapped(head + indent, printable(text), width)
        blank = " " * len(head) + indent + "  "
        for detail in _details(event):
            yield from wrapped(blank, printable(detail), width)


def _call(event: Event) -> str:
    if event.kind in (CONSTRUCTOR, DESTRUCTOR):
        return f"{event.kind} {_spot(event.function)}"
    if event.kind == THREAD:
        return f"pthread_create, start routine {_spot(event.function)}"
    return ("libc: " if event.by_libc else "") + call_text(event)


def _result(event: Event) -> str:
    if event.ended in _NOT_BACK:
        return f": {_NOT_BACK[event.ended]}"
    if event.failed:
        if event.kind == THREAD:
            return f": failed with errno {event.result}"
        kind = f" [{event.error_class}]" if event.error_class else ""
        return f": failed{kind}"
    if event.kind in OPENS and event.module and event.module != event.path:
        return f" = {event.module}"
    if event.kind == DLSYM and event.result is not None:
        return f" = {event.result:#x}"
    return ""


def _details(event: Event) -> Iterator[str]:
    if event.error:
        yield event.error
    elif event.failed and event.error_reason:
        yield event.error_reason
    if event.caller is not None and event.kind not in (CONSTRUCTOR, DESTRUCTOR):
        yield f"called from {_spot(event.caller)}"
    own = event.module if event.kind in OPENS else None
    others = [os.path.basename(path) for path in event.loaded if path != own]
    if event.loaded and (others or event.kind not in OPENS):
        yield f"loaded: {', '.join(others)}"
    if event.kind in OPENS and not event.loaded and not event.failed and event.module:
        yield "it was loaded already"
    if event.unloaded:
        yield f"unloaded: {', '.join(map(os.path.basename, event.unloaded))}"
    for stay in event.stays:
        yield f"still loaded: {stay.text}"
    if event.started and event.kind != THREAD:
        yield f"threads started: LWP {', '.join(map(str, event.started))}"


def _spot(spot: Spot | None) -> str:
    """`libfoo.so+0x1139 load_plugin (host.c:12)`."""
    if spot is None:
        return "an unknown place"
    if spot.module is None:
        return f"{spot.pc:#x}, in no module"
    text = f"{os.path.basename(spot.module)}+{spot.pc - spot.bias:#x}"
    if spot.function is not None:
        text += f" {demangle(spot.function)}"
    if spot.file is not None:
        text += f" ({os.path.basename(spot.file)}:{spot.line})"
    return text


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.2f} ms"


def _summary(summary: Summary, width: int) -> Iterator[str]:
    if summary.counts:
        yield ""
        yield "Opens and closes:"
        headers = ["opened", "closed", "failed", "not closed", "library"]
        room = width - sum(len(header) + 2 for header in headers[:-1]) - 2
        rows = [
            [str(c.opens), str(c.closes), str(c.failures), str(c.unclosed),
             fitting_path(printable(path), room)]
            for path, c in sorted(summary.counts.items(), key=lambda row: -row[1].unclosed)
        ]  # fmt: skip
        more = len(rows) - _MOST_LIBRARIES
        yield from table(headers, rows[:_MOST_LIBRARIES], right="opened closed failed")
        if more > 0:
            yield f"  and {more} more"
    if summary.stayed:
        yield ""
        yield "Closed and still loaded:"
        for stayed in summary.stayed:
            why = "; ".join(reason.text for reason in stayed.reasons)
            yield from wrapped("  ", printable(f"{os.path.basename(stayed.path)}: {why}"), width)
    if summary.started:
        yield ""
        yield "Threads that came during a call:"
        for started in summary.started:
            name = os.path.basename(started.path or "?")
            before = count(started.before, "thread")
            text = f"{name}: {before} before, {started.after} after"
            made = [f"{_spot(by)} started {_spot(routine)}" for by, routine in started.makers]
            yield from wrapped("  ", printable("; ".join([text, *made])), width)
    if summary.pairs:
        yield ""
        yield "Open and close between which the number of threads changed:"
        for pair in summary.pairs:
            text = f"{os.path.basename(pair.path)}: {pair.before} before dlopen, "
            yield from wrapped("  ", printable(f"{text}{pair.after} after dlclose"), width)
    if summary.slowest:
        yield ""
        yield "Slowest opens:"
        for event in summary.slowest:
            name = printable(event.module or event.path or "NULL")
            yield f"  {_time(event.duration):>10}  {fitting_path(name, width - 14)}"
