"""The crash report as text: what matters most comes first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from gdbext.findings.crash.calls import BadCall
from gdbext.findings.crash.description import (
    describe,
    module_offset,
    register_line,
    slot_name,
)
from gdbext.findings.crash.registers import Register
from gdbext.findings.crash.scene import DIRECT
from gdbext.inferior.frames import Frame, demangle
from gdbext.linker.places import Place
from gdbext.render.fit import bold, joined, packed, shortened, wrapped
from gdbext.render.printable import printable
from gdbext.render.source import source_lines
from gdbext.stops.crash import FRAMES, Crash

_HEAD = 17  # columns before a fact
_LINES = 3  # that one fact may take
_UNLIMITED = 1 << 16  # columns
_WIDEST = 120  # columns for registers that point nowhere: more on a line is hard to read


def report(crash: Crash, color: bool, width: int) -> Iterator[str]:
    """The lines of the report at a stop, in `width` columns where they can be."""
    yield from head_lines(crash, color, width)
    yield from source_of(crash, color, width)
    yield bold("Frames:", color)
    yield from frame_lines(crash.frames, FRAMES, width)
    yield bold("Registers:", color)
    yield from register_lines(crash.registers, width)


def head_lines(
    crash: Crash, color: bool, width: int, more: Iterable[tuple[str, str]] = ()
) -> Iterator[str]:
    """Cause, signal, fault address and crash site; `more` are further heads and facts."""
    cause = crash.causes.cause
    said = cause.text if cause is not None else crash.why
    stop = crash.signal or "not stopped by a signal"
    title = printable(f"[gdbext] {stop}: {said}" if said else f"[gdbext] {stop}")
    yield from (bold(line, color) for line in wrapped("", title, width))
    for head, fact in (*_summary(crash), *more):
        text = printable(fact)
        if width < _UNLIMITED:
            text = shortened(text, _LINES * (width - _HEAD))
        yield from wrapped(f"  {head:<{_HEAD - 2}}", text, width)


def _summary(crash: Crash) -> Iterator[tuple[str, str]]:
    if crash.causes.cause is not None and crash.why:
        yield "signal", f"{crash.signal}: {crash.why}"
    if crash.ended_by is not None:
        yield "ended by", crash.ended_by
    for other in crash.causes.causes[1:]:
        yield "also", other.text
    if crash.thread is not None:
        yield "thread", crash.thread
    if crash.fault is not None:
        note = f" ({crash.fault_reason})" if crash.fault_reason else ""
        where = describe(crash.fault, demangle)
        yield "fault address", f"{crash.fault.address:#x}: {where}{note}"
    elif crash.fault_reason:
        yield "fault address", f"unknown: {crash.fault_reason}"
    if crash.fault is None or crash.fault.address != crash.site.address:
        head = "crash at" if crash.signal else "stopped at"
        yield head, f"{crash.site.address:#x}: {describe(crash.site, demangle)}"
    if crash.call is not None:
        yield from _call(crash.call, crash.site.address)
    for cause in crash.causes.causes:
        if cause.rule not in DIRECT:
            yield from (("evidence", text) for text in cause.evidence)
    if crash.problem:
        yield "modules", crash.problem


def _call(call: BadCall, pc: int) -> Iterator[tuple[str, str]]:
    if call.return_address != pc:
        way = " (return address)"
        if call.jumped:
            way = ", by way of a function that jumped on (a tail call)"
        elif call.slot is None and call.known:
            way = ", through a pointer that is no GOT slot"
        elif call.slot is None:
            way = "; through what is not known: that code is neither in memory nor in a file here"
        yield "called from", module_offset(call.caller, call.return_address) + way
    if call.slot is not None and call.slot_module is not None:
        slot = call.slot
        holds = f"holds {slot.value:#x}" if slot.value is not None else "cannot be read"
        yield "through", f"GOT slot of {slot_name(slot, demangle)} in {call.slot_module.file_name}"
        yield "", f"at {slot.address:#x}, which {holds} ({slot.state or 'unknown'})"


def source_of(crash: Crash, color: bool, width: int) -> Iterator[str]:
    """The source around the innermost frame that has any."""
    for frame, place in crash.frames[:FRAMES]:
        if frame.file is None or frame.line is None:
            continue
        lines = list(source_lines(frame.file, frame.line, color, width))
        if lines:
            name = place.module.file_name if place.module else "?"
            title = f"{frame.file}:{frame.line} (frame #{frame.level}, {name}):"
            yield bold(shortened(printable(title), width), color)
            yield from lines
            return


def frame_lines(frames: list[tuple[Frame, Place]], most: int, width: int) -> Iterator[str]:
    """A backtrace of at most so many frames; those of one recursion are folded."""
    for _, group in groupby(frames[:most], key=lambda row: (row[0].pc, row[0].function)):
        same = list(group)
        for frame, place in same if len(same) == 2 else same[:1]:
            yield frame_line(frame, place, width)
        if len(same) > 2:
            yield f"  #{same[1][0].level} to #{same[-1][0].level} are the same"
    if len(frames) > most:
        yield "  … more: backtrace"


def frame_line(frame: Frame, place: Place, width: int) -> str:
    """One line of a backtrace; names lose their middles to make it fit, numbers nothing."""
    head = f"  #{frame.level:<3} {frame.pc:#018x} "
    if place.ghost is not None:
        return shortened(printable(head + describe(place, demangle)), width)
    module, offset = describe(place, demangle), ""
    if place.module is not None:
        module, plus, offset = module_offset(place.module, frame.pc).rpartition("+")
        offset = plus + offset
    file, line = "", ""
    if frame.file:
        file, line = " " + frame.file.rpartition("/")[2], f":{frame.line}"
    parts = [head, module, offset, " ", frame_name(frame, place), file, line]
    return joined([printable(part) for part in parts], width, (1, 4, 5))


def frame_name(frame: Frame, place: Place) -> str:
    """The function's name; `??` where nobody has one."""
    own = demangle(place.definition.symbol) if place.definition is not None else None
    # Without debug info GDB takes the nearest symbol before, which may be another function's.
    name = (frame.function or own) if frame.file else (own or frame.function)
    return name or "??"


def register_lines(registers: list[Register], width: int) -> Iterator[str]:
    """Those that point somewhere, one on a line; then the other values, then the zeros."""
    for register in registers:
        if register.place is not None:
            yield shortened(printable(register_line(register, demangle)), width)
    rest = [r for r in registers if r.place is None]
    values = [f"{r.name} {r.value:#x}" for r in rest if r.value]
    yield from packed(values, "  ", min(width, _WIDEST))
    for head, names in (
        ("zero: ", [r.name for r in rest if r.value == 0]),
        ("not available: ", [r.name for r in rest if r.value is None]),
    ):
        if names:
            yield from wrapped(f"  {head}", " ".join(names), min(width, _WIDEST))
