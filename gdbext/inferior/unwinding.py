"""Where GDB's unwinding is to be believed, and where it makes callers up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import gdb

from gdbext.inferior.text import tolerant

_MOST_GUESSED = 1000  # frames
_NOWHERE = 1 << 12  # no code returns to the first page, which is never mapped


class Unwinding(NamedTuple):
    """What makes GDB's frames right: `load` gets symbols for code at these addresses and tells
    whether there were any, so that the stack has to be read anew; `has_stack` tells whether the
    memory at an address, which a frame's caller is read from, is there;
    `may_be_code` is false for addresses in memory that is mapped and not executable;
    `may_be_caller`, given a frame's PC, its caller's, whether GDB knows the frame's function and
    whether the caller was told and not guessed, is false where GDB had to guess and no call is
    seen that returns there; `in_program` is true for addresses in the mappings of the program's
    own file; `is_other_build` is true where GDB reads another build than the process has;
    `has_records`, whether frame records lead on where GDB cannot (ARM64)."""

    load: Callable[[Iterable[int]], bool]
    has_stack: Callable[[int], bool]
    may_be_code: Callable[[int], bool]
    may_be_caller: Callable[[int, int, bool, bool], bool]
    in_program: Callable[[int], bool]
    is_other_build: Callable[[int], bool]
    stack_register: str
    link_register: str | None
    has_records: bool


def older(frame: gdb.Frame, unwinding: Unwinding | None) -> gdb.Frame | None:
    """The caller's frame; None where GDB could but make it up.

    Without unwind information GDB guesses, and takes what lies on the stack for return addresses;
    up to version 13 it reads zeros, without an error, where a core has left the stack out. In
    generated code it takes one word after the other (amd64_frame_cache_1: frameless) until it
    comes to the real one: a guess that leads to the stack's true end was right."""
    caller: gdb.Frame | None = frame.older()
    if caller is None or frame.type() == gdb.SIGTRAMP_FRAME:
        return caller  # the kernel wrote down what the signal interrupted, a null PC too
    pc = int(caller.pc())
    if unwinding is None:
        return caller if pc >= _NOWHERE else None
    linked = unwinding.link_register is not None and frame.newer() is None
    called = _is_called(frame, caller, unwinding, linked)
    if not called and unwinding.has_records:
        return None
    # below _NOWHERE is the end of a stack that nothing marks
    believable = pc >= _NOWHERE and unwinding.may_be_code(pc) and called
    if not believable and not _ends_well(caller, unwinding):
        return None
    if _is_main(frame, unwinding):
        # GDB itself stops there, unless it was not told which file is the program
        return caller if gdb.parameter("backtrace past-main") else None
    if linked:
        return caller
    # Without a link register the return address is right below the caller's SP, and may well be
    # there when the frame itself is not: one that went past the stack's end.
    holder, offset = (caller, -8) if unwinding.link_register is None else (frame, 0)
    pointer = frame_register(holder, unwinding.stack_register)
    return caller if pointer is not None and unwinding.has_stack(pointer + offset) else None


def _is_called(frame: gdb.Frame, caller: gdb.Frame, unwinding: Unwinding, linked: bool) -> bool:
    """Whether the caller's PC may be where the frame returns to."""
    pc = int(frame.pc())
    other = unwinding.is_other_build(pc)
    if not other and (frame.type() != gdb.NORMAL_FRAME or caller.type() != gdb.NORMAL_FRAME):
        return True
    # where a call went to null its return address is still what it was, also on the stack
    told = linked or (frame.newer() is None and pc < _NOWHERE)
    named = tolerant(frame.name) is not None and not other
    return unwinding.may_be_caller(pc, int(caller.pc()), named, told)


def _ends_well(frame: gdb.Frame, unwinding: Unwinding) -> bool:
    """Whether the callers come to main(), or to where unwind information marks the end."""
    for _ in range(_MOST_GUESSED):
        if _is_main(frame, unwinding):
            return True
        caller: gdb.Frame | None = frame.older()
        if caller is None:
            break
        frame = caller
    ended = frame.unwind_stop_reason() == gdb.FRAME_UNWIND_OUTERMOST
    return ended and unwinding.may_be_code(int(frame.pc()))


def _is_main(frame: gdb.Frame, unwinding: Unwinding) -> bool:
    return tolerant(frame.name) == "main" and unwinding.in_program(int(frame.pc()))


def frame_register(frame: gdb.Frame, name: str) -> int | None:
    """The value that a register has in a frame, unsigned."""
    try:
        value = frame.read_register(name)
        return int(value) & (1 << 8 * value.type.sizeof) - 1
    except (gdb.error, ValueError):
        return None  # this CPU or stub does not have it, or its value was not saved
