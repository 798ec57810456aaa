"""The short report at a SIGSEGV and its like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import gdb

from gdbext.elf.problem import Problem
from gdbext.findings.calls import BadCall, find_bad_call
from gdbext.findings.description import (
    describe,
    file_name,
    module_offset,
    register_lines,
    slot_name,
)
from gdbext.findings.operands import OPERANDS
from gdbext.findings.registers import Register, explain_registers
from gdbext.findings.signals import explain_code, has_address
from gdbext.inferior import Inferior
from gdbext.inferior.frames import (
    Frame,
    demangle,
    instruction_at,
    read_frames,
    register,
    signal_info,
)
from gdbext.linker.modules import read_linker
from gdbext.linker.places import Place
from gdbext.render.printable import printable
from gdbext.render.source import source_lines

_FRAMES = 16


class Crash(NamedTuple):
    """What the report says. `fault_reason` tells where the fault address is from, or why none."""

    signal: str
    why: str | None
    fault: Place | None
    fault_reason: str | None
    site: Place
    call: BadCall | None
    registers: list[Register]
    frames: list[tuple[Frame, Place]]
    problem: str | None


def read_crash(inferior: Inferior, signal: str) -> Crash:
    """Gather the facts of a stop at `signal`."""
    linker, problem = None, None
    try:
        linker = read_linker(inferior)
    except Problem as error:
        problem = str(error)
    space = inferior.map(linker)
    arch = inferior.arch
    pc = register(arch.pc) or 0
    link = register(arch.link_register) if arch.link_register else None
    frames = read_frames(_FRAMES + 1)
    call = find_bad_call(space, pc, register(arch.sp) or 0, link)
    why, address, reason = _fault(inferior, signal, pc, call)
    return Crash(
        signal=signal,
        why=why,
        fault=space.place(address) if address is not None else None,
        fault_reason=reason,
        site=space.place(pc),
        call=call,
        registers=explain_registers([(n, register(n)) for n in arch.registers], space),
        frames=[(f, space.place(arch.code_address(f.lookup))) for f in frames],
        problem=problem,
    )


def _fault(
    inferior: Inferior, signal: str, pc: int, call: BadCall | None
) -> tuple[str | None, int | None, str | None]:
    """(why the signal came, fault address, where that is from)."""
    info = signal_info()
    if info is not None:
        why = explain_code(signal, info.code)
        if has_address(signal, info.code):
            return why, info.address, None
        if info.code <= 0 or signal == "SIGABRT":
            return why, None, None
    else:
        why = None
    if signal not in ("SIGSEGV", "SIGBUS"):
        return why, None, None
    if call is not None:
        return why, pc, "the PC itself: it went where no code is"
    text = instruction_at(pc)
    address = OPERANDS[inferior.arch.name](text, register) if text else None
    if address is None:
        return why, None, "the target does not tell the fault address"
    return why, address, "worked out from the instruction, since the target does not tell it"


def report(crash: Crash, color: bool) -> Iterator[str]:
    """The lines of the report."""
    title = f"{crash.signal}: {crash.why}" if crash.why else crash.signal
    yield f"[gdbext] {title}"
    if crash.fault is not None:
        note = f" ({crash.fault_reason})" if crash.fault_reason else ""
        where = printable(describe(crash.fault, demangle))
        yield f"  fault address  {crash.fault.address:#x}: {where}{note}"
    elif crash.fault_reason:
        yield f"  fault address  unknown: {crash.fault_reason}"
    yield f"  crash at       {crash.site.address:#x}: {printable(describe(crash.site, demangle))}"
    if crash.call is not None:
        yield from _call_lines(crash.call)
    if crash.problem:
        yield f"  modules        {printable(crash.problem)}"
    yield from _source(crash, color)
    yield "Registers:"
    yield from (printable(line) for line in register_lines(crash.registers, demangle))
    yield "Frames:"
    yield from _frame_lines(crash.frames[:_FRAMES])
    if len(crash.frames) > _FRAMES:
        yield "  … more: backtrace"


def _call_lines(call: BadCall) -> Iterator[str]:
    origin = printable(module_offset(call.caller, call.return_address))
    if call.slot is None or call.slot_module is None:
        yield f"  called from    {origin}, through a pointer that is no GOT slot"
        return
    slot, module = call.slot, printable(file_name(call.slot_module))
    value = hex(slot.value) if slot.value is not None else "?"
    yield f"  called from    {origin} (the return address)"
    yield f"  through        GOT slot {slot.address:#x} of {module}: {printable(slot_name(slot))}"
    yield f"                 which holds {value} ({slot.state})"


def _source(crash: Crash, color: bool) -> Iterator[str]:
    """The source around the innermost frame that has any."""
    for frame, place in crash.frames[:_FRAMES]:
        if frame.file is None or frame.line is None:
            continue
        lines = list(source_lines(frame.file, frame.line, color))
        if lines:
            name = printable(file_name(place.module)) if place.module else "?"
            yield f"Source of frame #{frame.level} ({name}), {printable(frame.file)}:{frame.line}:"
            yield from lines
            return


def _frame_lines(frames: list[tuple[Frame, Place]]) -> Iterator[str]:
    for frame, place in frames:
        where = module_offset(place.module, frame.pc) if place.module else describe(place, demangle)
        name = frame.function
        if name is None and place.definition is not None:
            name = demangle(place.definition.symbol)
        line = f" {frame.file.rpartition('/')[2]}:{frame.line}" if frame.file else ""
        yield printable(f"  #{frame.level:<3} {frame.pc:#018x} {where} {name or '??'}{line}")


def use_color() -> bool:
    """Whether GDB styles its own output: `set style enabled`, on a terminal."""
    import os

    return bool(gdb.parameter("style enabled")) and os.isatty(1)
