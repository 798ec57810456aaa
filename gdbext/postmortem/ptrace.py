"""Stopping a process from here, without GDB: ptrace(2).

Threads are seized, not attached to: that sends no SIGSTOP, so nothing is left behind whenever this
process ends, even by SIGKILL. The kernel then lets every thread go on, or stay stopped if it was.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from gdbext.elf.problem import Problem

# linux/ptrace.h
_DETACH, _GETREGSET, _SEIZE, _INTERRUPT = 17, 0x4204, 0x4206, 0x4207
_EVENT_STOP = 128
_WALL = 0x40000000  # waitpid(2), __WALL: threads too
_LARGEST_SET = 1 << 14  # bytes of registers
_PATIENCE = 5.0  # seconds for a thread to stop
_POLL = 0.0002


class _Buffer(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))  # struct iovec


_set = ctypes.create_string_buffer(_LARGEST_SET)


@contextmanager
def stopped(pid: int) -> Iterator[list[int]]:
    """All threads of a process stopped, the first one of the process first.

    They go on after the block; a signal that came for a thread meanwhile is delivered then.
    Raises PermissionError where the kernel does not allow it, Problem if the process ends, or has
    a thread that does not stop.
    """
    held: dict[int, int] = {}  # by thread: the signal that stopped it, 0 for none
    ended: set[int] = set()
    try:
        while new := [tid for tid in _threads(pid) if tid not in held and tid not in ended]:
            seized = [tid for tid in new if _seize(tid)]
            ended.update(set(new) - set(seized))
            deadline = time.monotonic() + _PATIENCE
            for tid in seized:
                number = _wait(tid, deadline)
                if number is None:
                    ended.add(tid)
                else:
                    held[tid] = number
        if not held:
            raise Problem(f"process {pid} ended just now")
        yield sorted(held, key=lambda tid: (tid != pid, tid))
    finally:
        for tid, number in held.items():
            with suppress(ProcessLookupError):  # it was killed meanwhile
                _ptrace(_DETACH, tid, 0, number)


def registers(tid: int, kind: int) -> bytes | None:
    """A register set (NT_*) of a stopped thread; None where this CPU has no such set."""
    place = ctypes.addressof(_set)
    buffer = _Buffer(place, _LARGEST_SET)
    try:
        _ptrace(_GETREGSET, tid, kind, ctypes.addressof(buffer))
    except OSError:
        return None
    return ctypes.string_at(place, buffer.size)


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        raise Problem(f"process {pid} ended just now") from None


def _seize(tid: int) -> bool:
    """Ask a thread to stop; False if it has ended."""
    try:
        _ptrace(_SEIZE, tid, 0, 0)
        _ptrace(_INTERRUPT, tid, 0, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        if state(tid) in "ZX":
            return False
        raise
    return True


def state(tid: int) -> str:
    """The letter of proc_pid_stat(5); "X" if there is no such thread any more."""
    try:
        with open(f"/proc/{tid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1].decode() or "X"
    except OSError:
        return "X"


def _wait(tid: int, deadline: float) -> int | None:
    """Wait until a thread has stopped: the signal that it stopped for, None if it ended."""
    while True:
        try:
            found, status = os.waitpid(tid, os.WNOHANG | _WALL)
        except ChildProcessError:
            return None
        if found:
            if not os.WIFSTOPPED(status):
                return None
            return 0 if status >> 16 == _EVENT_STOP else os.WSTOPSIG(status)
        if time.monotonic() > deadline:
            raise Problem(
                f"thread {tid} does not stop: the kernel keeps it waiting "
                f"(state {state(tid)}, see /proc/{tid}/stack)"
            )
        time.sleep(_POLL)


def _ptrace(request: int, tid: int, address: int, data: int) -> None:
    """ptrace(2) as a call that raises OSError."""
    if _libc().ptrace(request, tid, address, data) == -1:
        number = ctypes.get_errno() or errno.EPERM
        raise OSError(number, os.strerror(number))


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    libc.ptrace.restype = ctypes.c_long
    return libc
