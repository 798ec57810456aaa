"""What happens by itself when the program stops."""

from __future__ import annotations

import sys
from collections.abc import Callable

import gdb

from gdbext import loads, settings

# GDB 13 chokes on a double disconnect
_connected: list[Callable[[], None]] = []


def connect() -> None:
    """Listen to GDB's stops, and to the setting that needs more than that."""
    gdb.events.stop.connect(_on_stop)
    _connected.append(lambda: gdb.events.stop.disconnect(_on_stop))
    gdb.events.new_objfile.connect(loads.on_new_objfile)
    _connected.append(lambda: gdb.events.new_objfile.disconnect(loads.on_new_objfile))
    going = getattr(gdb.events, "free_objfile", None)
    if going is not None:  # GDB 10 has none
        going.connect(loads.on_free_objfile)
        _connected.append(lambda: going.disconnect(loads.on_free_objfile))
    settings.dlopen_listeners.append(update_dlopen_stop)
    settings.trace_listeners.append(update_trace)


def disconnect() -> None:
    """Undo connect(); harmless without one."""
    if "gdbext.stops.dlopen" in sys.modules:
        sys.modules["gdbext.stops.dlopen"].disarm()
    if "gdbext.stops.trace" in sys.modules:
        sys.modules["gdbext.stops.trace"].turn_off()
    while _connected:
        _connected.pop()()
    settings.dlopen_listeners.clear()
    settings.trace_listeners.clear()


def update_dlopen_stop() -> None:
    """`set plug stop-on-dlopen` has a new value."""
    if settings.stop_on_dlopen() == "off" and "gdbext.stops.dlopen" not in sys.modules:
        return  # it never was on
    from gdbext.stops import dlopen

    dlopen.update(settings.stop_on_dlopen())


def update_trace(on: bool) -> None:
    """`set plug trace` has a new value."""
    if not on and "gdbext.stops.trace" not in sys.modules:
        return  # it never was on
    from gdbext.elf.problem import Problem
    from gdbext.stops import trace
    from gdbext.stops.recorder.hits import Options

    if not on:
        trace.turn_off()
    elif not trace.is_on():
        try:
            trace.turn_on(Options(), settings.trace_file())
        except Problem as problem:
            raise gdb.GdbError(f"set plug trace: {problem}") from problem


def _on_stop(event: gdb.StopEvent) -> None:
    # GDB tells the signal at this moment alone; inferior.frames.careful needs it later.
    settings.last_signal[:] = [event.stop_signal] if isinstance(event, gdb.SignalEvent) else []
    if "gdbext.inferior.watchpoints" in sys.modules:  # plug-watch was used
        from gdbext.stops import watch

        watch.on_stop(event)
    if not isinstance(event, gdb.SignalEvent) or not settings.stop_on_segv():
        return
    from gdbext.findings.crash.signals import REPORTED

    if event.stop_signal not in REPORTED:
        return
    from gdbext.elf.problem import Problem
    from gdbext.inferior import Inferior
    from gdbext.render.printable import printable
    from gdbext.stops.crash import read_crash, use_color
    from gdbext.stops.report import report

    width = int(gdb.parameter("width") or 0) or 1 << 20  # None: unlimited
    try:
        lines = list(report(read_crash(Inferior(), event.stop_signal), use_color(), width))
    except Problem as problem:
        lines = [f"[gdbext] no report on this {event.stop_signal}: {printable(str(problem))}"]
    gdb.write("".join(line + "\n" for line in lines))
