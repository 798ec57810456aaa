"""A program that `gdbext run` started goes on until a signal is about to end it."""

from __future__ import annotations

import os
import signal as signals

import gdb

from gdbext import settings
from gdbext.findings.crash.signals import CRASHES, is_deadly, parse_disposition
from gdbext.inferior.frames import signal_info

_TRAP = "SIGTRAP"  # GDB's own stops are one, too, and must not reach the program


def run_until_crash(gate: str) -> None:
    """Let a process that waits at a FIFO go on into the program that it executes, and on from
    there until a signal is about to end it, or until it has ended.

    A signal that the program handles is none of our business: it is passed on.
    """
    for command in (
        "handle all nostop noprint pass",
        "handle SIGINT nostop noprint pass",  # `all` leaves out those that GDB uses itself
        f"handle {' '.join(name for name in CRASHES if name != _TRAP)} stop print pass",
        "set plug stop-on-segv off",
        "tcatch exec",
    ):
        gdb.execute(command, to_string=True)
    # For both ways, so that it does not matter whether the process reads already.
    descriptor = os.open(gate, os.O_RDWR)
    os.write(descriptor, b"\n")
    _go_on()
    gdb.execute("set auto-solib-add on", to_string=True)
    settings.last_signal.clear()
    while True:
        _go_on()
        if not gdb.selected_inferior().pid:
            return
        # A stop at SIGTRAP is none at a signal for GDB's events (py-stopevent.c).
        settings.last_signal[:] = settings.last_signal or [_TRAP]
        if _ends_program(settings.last_signal[0]):
            gdb.execute(f"handle {_TRAP} pass", to_string=True)  # it may be what ends the program
            return


def _go_on() -> None:
    command = f"signal {_TRAP}" if settings.last_signal == [_TRAP] else "continue"
    settings.last_signal.clear()
    gdb.execute(command, to_string=True)


def _ends_program(name: str) -> bool:
    info = signal_info()
    lwp = gdb.selected_thread().ptid[1]
    try:
        with open(f"/proc/{lwp}/status", encoding="utf-8", errors="replace") as file:
            disposition = parse_disposition(file.read())
    except OSError:
        return True  # it was killed meanwhile
    return is_deadly(signals.Signals[name], info.code if info else 0, disposition)
