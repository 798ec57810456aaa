"""What there is to say at a SIGSEGV and its like; report.py says it."""

from __future__ import annotations

from typing import NamedTuple

import gdb

from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import read_word
from gdbext.findings.crash.calls import BadCall, find_bad_call, handled_signal, return_address
from gdbext.findings.crash.crash import CrashFacts
from gdbext.findings.crash.operands import JUMPS, OPERANDS, is_canonical, needs_alignment
from gdbext.findings.crash.registers import Register, explain_registers
from gdbext.findings.crash.signals import SI_KERNEL, WITH_ADDRESS, Sender, explain_code, has_address
from gdbext.inferior import Inferior
from gdbext.inferior.framerecords import read_all_frames
from gdbext.inferior.frames import (
    Frame,
    Signal,
    careful,
    instruction_at,
    read_frames,
    register,
    selected_level,
    signal_info,
)
from gdbext.inferior.interruptions import Interruption, handled_fault
from gdbext.inferior.text import tolerant
from gdbext.linker.loaded.alone import read_linker_or_images
from gdbext.linker.places import Map, Place
from gdbext.linker.threads.syscalls import INTERFACES
from gdbext.stops.causes import read_causes

FRAMES = 16  # as many are shown
_WORKED_OUT = "worked out from the instruction, since the {} does not tell it"
_BAD = ("unmapped", "null", "below-stack")


class Crash(NamedTuple):
    """What the report says. `fault_reason` tells where the fault address is from, or why none.

    `ended_by`: the stop itself, where it is a handler's way to give up: all else is then about
    the fault that called the handler, and `frames` begin with the frame that it interrupted.
    `handler`: the frames newer than that.
    """

    signal: str | None
    why: str | None
    ended_by: str | None
    thread: str | None
    fault: Place | None
    fault_reason: str | None
    site: Place
    call: BadCall | None
    registers: list[Register]
    frames: list[tuple[Frame, Place]]
    handler: list[tuple[Frame, Place]]
    problem: str | None
    causes: CrashFacts


class Fault(NamedTuple):
    """Why the signal came, the fault address, and where that is from or why there is none; `sent`:
    a program sent the signal."""

    why: str | None = None
    address: int | None = None
    reason: str | None = None
    sent: bool = False


def read_crash(inferior: Inferior, signal: str | None, most: int = FRAMES + 1) -> Crash:
    """Gather the facts of a stop at `signal` (None: at none), with at most so many frames."""
    info = signal_info() if signal else None
    given_up = _given_up(inferior, signal, info) if signal else None
    if given_up is None:
        return _read(inferior, signal, info, most, 0)
    frames = f"frames #0 to #{given_up.level - 1}" if given_up.level > 1 else "frame #0"
    with selected_level(given_up.level):
        found = _read(inferior, given_up.name, given_up.info, most, given_up.level)
    how = "a fault in" if signal and _is_fault(signal, info) else "sent by"
    ended = f"{signal}, {how} the process's own handler of {given_up.name} ({frames})"
    return found._replace(ended_by=ended)


def _given_up(inferior: Inferior, signal: str, info: Signal | None) -> Interruption | None:
    """The fault whose handler sent the signal that ended the process, as crash handlers do, or
    came to a fault itself, as one that unwinds a damaged stack."""
    own = gdb.selected_inferior().pid
    by_itself = info.code <= 0 and info.sender[0] == own if info else signal == "SIGABRT"
    if not by_itself and not _is_fault(signal, info):
        return None
    read_frames(FRAMES, inferior.unwinding)  # it loads the symbols that unwinding needs
    return handled_fault(inferior.memory, inferior.arch, WITH_ADDRESS)


def _is_fault(signal: str, info: Signal | None) -> bool:
    return signal in WITH_ADDRESS and info is not None and info.code > 0


def _why(signal: str, info: Signal | None) -> str | None:
    if info is None:
        return None
    own = gdb.selected_inferior().pid
    return explain_code(signal, info.code, Sender(*info.sender), own)


def _read(
    inferior: Inferior, signal: str | None, info: Signal | None, most: int, level: int
) -> Crash:
    """The facts as the frame `level`, which is selected, has them."""
    linker, problem = read_linker_or_images(inferior)
    space = careful(inferior.map(linker), [signal] if signal else [])
    arch = inferior.arch
    pc = register(arch.pc) or 0
    link = register(arch.link_register) if arch.link_register else None
    frames = read_all_frames(inferior, most + level, linker)
    call, handled = _called(space, pc, link) if signal == "SIGSEGV" else (None, None)
    fault = (
        _fault(space, signal, info, pc, call is not None or handled is not None)
        if signal
        else Fault()
    )
    site = space.place(pc)
    fault_place = space.place(fault.address) if fault.address is not None else None
    call = call or (_jump(space, site) if signal else None)
    placed = [(f, frame_place(space, f)) for f in frames]
    handler, places = placed[:level], placed[level:]
    causes = CrashFacts(())
    if signal:
        pointer = register(arch.sp) or 0
        causes = read_causes(
            inferior, space, signal, fault.sent, pointer, fault_place, site, call, places, handled
        )
    return Crash(
        signal=signal,
        why=fault.why,
        ended_by=None,
        thread=thread_title(inferior),
        fault=fault_place,
        fault_reason=fault.reason,
        site=site,
        call=call,
        registers=explain_registers([(n, register(n)) for n in arch.registers], space),
        frames=places,
        handler=handler,
        problem=problem,
        causes=causes,
    )


def _called(space: Map, pc: int, link: int | None) -> tuple[BadCall | None, str | None]:
    """The call, or the signal, that brought PC to where no code is."""
    pointer = register(space.arch.sp) or 0
    argument = register(INTERFACES[space.arch.name].registers[1])
    back = return_address(space, pointer, link)
    handled = handled_signal(space, pc, back, (argument or 0) & 0xFFFFFFFF)
    return find_bad_call(space, pc, pointer, link, register), handled


def frame_place(space: Map, frame: Frame) -> Place:
    """Where a frame is; a guess of GDB's that lies in no module is taken as it stands."""
    place = space.place(space.arch.code_address(frame.lookup))
    return place if place.module else space.place(space.arch.code_address(frame.pc))


def thread_title(inferior: Inferior) -> str | None:
    """Which thread, where there are several."""
    thread: gdb.InferiorThread | None = gdb.selected_thread()
    count = len(inferior.gdb.threads())
    if thread is None or count < 2:
        return None
    own = inferior.thread_names.get(thread.ptid[1]) or tolerant(lambda: thread.name)
    name = f' "{own}"' if own else ""
    return f"{thread.num} of {count}{name} (LWP {thread.ptid[1]})"


def _fault(space: Map, signal: str, info: Signal | None, pc: int, bad_call: bool) -> Fault:
    why = _why(signal, info)
    if signal not in ("SIGSEGV", "SIGBUS"):
        # si_addr is the PC; and nothing but abort() and kill() makes a SIGABRT
        return Fault(why, sent=signal == "SIGABRT" or (info is not None and info.code <= 0))
    if info is not None and has_address(signal, info.code):
        return Fault(why, info.address)
    if info is not None and info.code <= 0:
        return Fault(why, sent=True)
    if bad_call:
        return Fault(why, pc, "the PC itself: it went where no code is")
    text = instruction_at(pc) or ""
    if info is not None and info.code == SI_KERNEL:
        return _general_protection(space, text) or Fault(why, None, "the kernel does not tell it")
    operands = OPERANDS[space.arch.name](text, register)
    wrong = [a for a in operands if space.place(a).kind in _BAD]
    if wrong or len(operands) == 1:
        address = (wrong or list(operands))[0]
        return Fault(why, address, _WORKED_OUT.format("target"))
    return Fault(why, None, "the target does not tell it")


def _general_protection(space: Map, text: str) -> Fault | None:
    """The fault that x86-64 reports without an address (Intel SDM 3, 6.15, vector 13)."""
    reason = _WORKED_OUT.format("kernel")
    operands = OPERANDS[space.arch.name](text, register)
    for address in operands:
        if not is_canonical(address):
            return Fault("non-canonical address", address, reason)
    target = _jump_target(space, text)
    if target is not None and not is_canonical(target[1]):
        return Fault("jump to a non-canonical address", target[1], reason)
    if operands and needs_alignment(text) and operands[0] % 16:
        return Fault("misaligned operand of an SSE instruction", operands[0], reason)
    return None


def _jump_target(space: Map, text: str) -> tuple[int | None, int] | None:
    """(the slot in memory if there is one, the target) of an indirect jump."""
    through = JUMPS[space.arch.name](text, register) if space.arch.name in JUMPS else None
    if through is None:
        return None
    if through[0] == "value":
        return None, through[1]
    try:
        return through[1], read_word(space.process.memory, through[1])
    except Unreadable:
        return None


def _jump(space: Map, site: Place) -> BadCall | None:
    """A jump through a GOT slot that faulted itself, its target being non-canonical."""
    target = _jump_target(space, instruction_at(site.address) or "") if site.module else None
    if target is None or target[0] is None or is_canonical(target[1]) or site.module is None:
        return None
    found = space.slot_at(target[0])
    return BadCall(site.address, site.module, found[1], found[0]) if found else None


def use_color() -> bool:
    """Whether GDB styles its own output (ui-file.cc, term_cli_styling)."""
    import os

    capable = os.environ.get("TERM", "dumb") != "dumb" and os.isatty(1)
    return capable and bool(gdb.parameter("style enabled"))
