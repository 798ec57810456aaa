"""Signals whose handlers are on a stack: what they interrupted, and why they came."""

from __future__ import annotations

import signal
import struct
from collections.abc import Container
from typing import NamedTuple

import gdb

from gdbext.elf.arch import Arch
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory
from gdbext.inferior.frames import Signal
from gdbext.inferior.unwinding import frame_register

_MOST = 200  # frames of a handler
# si_signo, si_errno, si_code, and the union behind them: si_addr, or si_pid and si_uid
# (Linux, include/uapi/asm-generic/siginfo.h).
_SIGINFO = struct.Struct("<iii4x8s")
_NUMBERS = frozenset(map(int, signal.Signals))
_CODES = range(-60, 129)  # SI_ASYNCNL to SI_KERNEL
_ADDRESS, _SENDER = struct.Struct("<Q"), struct.Struct("<iI")


class Interruption(NamedTuple):
    """`level` is the frame that the signal `name` interrupted, as GDB numbers it."""

    level: int
    name: str
    info: Signal


def handled_fault(memory: Memory, arch: Arch, faults: Container[str]) -> Interruption | None:
    """The first fault whose handler has not returned, by what the kernel left on the stack of the
    selected thread. `faults` are the signals that may be one."""
    first: Interruption | None = None
    try:
        frame: gdb.Frame | None = gdb.newest_frame()
        for level in range(_MOST):
            if frame is None:
                break
            if frame.type() == gdb.SIGTRAMP_FRAME:
                pointer = frame_register(frame, arch.sp)
                found = _read(memory, arch, pointer, level + 1) if pointer else None
                if found is not None and found.name in faults and found.info.code > 0:
                    first = found
            frame = frame.older()
    except gdb.error:
        pass  # the stack is damaged from here on
    return first


def _read(memory: Memory, arch: Arch, pointer: int, level: int) -> Interruption | None:
    try:
        data = memory.read(pointer, arch.siginfo + _SIGINFO.size)
    except Unreadable:
        return None
    number, error, code, union = _SIGINFO.unpack_from(data, arch.siginfo)
    (address,), sender = _ADDRESS.unpack(union), _SENDER.unpack(union)
    if error or number not in _NUMBERS or code not in _CODES:
        # without SA_SIGINFO the kernel leaves siginfo out
        trap = arch.trap(data)
        if trap is None:
            return None
        number, code, address = trap
    return Interruption(level, signal.Signals(number).name, Signal(code, address, sender))
