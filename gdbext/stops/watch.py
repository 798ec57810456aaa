"""What plug-watch says: who wrote to a slot, and when a watched slot is gone."""

from __future__ import annotations

from collections.abc import Iterator

import gdb

from gdbext.elf.problem import Problem
from gdbext.findings.crash.description import describe, module_offset, slot_name
from gdbext.findings.slots.writes import JudgedSlot, judge_slot
from gdbext.inferior import Inferior
from gdbext.inferior.frames import demangle, read_frames, source_position
from gdbext.inferior.watchpoints import (
    ABSENT,
    MOVED,
    SlotWatchpoint,
    slot_watchpoints,
)
from gdbext.linker.loaded.modules import read_linker
from gdbext.linker.places import Map, Place
from gdbext.linker.tls.tlsslots import TLS_KINDS
from gdbext.render.fit import bold, wrapped
from gdbext.render.printable import printable
from gdbext.stops.crash import frame_place, thread_title, use_color
from gdbext.stops.report import frame_line

_CALLERS = 6
_HEAD = 13  # columns before a fact


def on_stop(event: gdb.StopEvent) -> None:
    """Report what a watchpoint stopped for, and drop those whose module is gone."""
    watchpoints = slot_watchpoints()
    if not watchpoints:
        return
    width = int(gdb.parameter("width") or 0) or 1 << 20
    hit = event.breakpoints if isinstance(event, gdb.BreakpointEvent) else []
    lines: list[str] = []
    try:
        inferior = Inferior()
        for one in watchpoints:
            if one in hit:
                lines += _report(inferior, one, width)
            else:
                lines += _drop_if_gone(inferior, one)
    except Problem as problem:
        lines.append(f"[gdbext] the watched slots cannot be read: {printable(str(problem))}")
    gdb.write("".join(line + "\n" for line in lines))


def _drop_if_gone(inferior: Inferior, watchpoint: SlotWatchpoint) -> Iterator[str]:
    where, seen = watchpoint.whereabouts(inferior), watchpoint.seen
    if where == MOVED:
        why = "its module is at another address in this process; plug-watch sets it anew"
    elif where == ABSENT and seen:
        why = "its module was unloaded"
    else:
        return
    number, title = watchpoint.number, watchpoint.watched.title
    watchpoint.delete()
    yield f"[gdbext] watchpoint {number} on {printable(title)} is deleted: {why}"


def _report(inferior: Inferior, watchpoint: SlotWatchpoint, width: int) -> Iterator[str]:
    linker = read_linker(inferior)
    space = inferior.map(linker)
    address = watchpoint.watched.address
    judged = judge_slot(inferior, linker, inferior.tables, address)
    title = f"[gdbext] watchpoint {watchpoint.number}: the slot of {watchpoint.watched.title} was "
    yield bold(printable(f"{title}written"), use_color())
    for head, fact in _facts(inferior, space, watchpoint, judged):
        yield from wrapped(f"  {head:<{_HEAD - 2}}", printable(fact), width)
    frames = read_frames(_CALLERS + 1)[1:]
    if frames:
        yield bold("Called from:", use_color())
    for frame in frames:
        yield frame_line(frame, frame_place(space, frame), width)


def _facts(
    inferior: Inferior, space: Map, watchpoint: SlotWatchpoint, judged: JudgedSlot | None
) -> Iterator[tuple[str, str]]:
    if judged is not None:
        slot = f"{judged.slot.type} {slot_name(judged.slot, demangle)}"
        yield "slot", f"{judged.slot.address:#x} {slot} in {judged.module.file_name}"
    if watchpoint.write is not None:
        pointer = judged is None or judged.slot.kind not in TLS_KINDS
        before, now = watchpoint.write
        yield "before", "not known" if before is None else _value(space, before, pointer)
        yield "now", _value(space, now, pointer)
    if judged is not None:
        verdict, _, reason = judged.judgement
        yield "verdict", verdict + (f": {reason}" if reason else "")
    if watchpoint.problem:
        yield "but", watchpoint.problem
    yield "written by", _writer(space, int(gdb.newest_frame().pc()))
    thread = thread_title(inferior)
    if thread is not None:
        yield "thread", thread


def _value(space: Map, value: int, pointer: bool) -> str:
    return f"{value:#x}" + (f": {describe(space.place(value), demangle)}" if pointer else "")


def _writer(space: Map, pc: int) -> str:
    """The instruction before `pc`: a watchpoint is noticed when the write is done."""
    place: Place = space.place(space.arch.code_address(pc) - 1)
    text = module_offset(place.module, place.address) if place.module else describe(place, demangle)
    definition = place.definition
    if definition is not None:
        text += f" {demangle(definition.symbol)}"
    file, line = source_position(place.address)
    return text + (f" ({file.rpartition('/')[2]}:{line})" if file else "")
