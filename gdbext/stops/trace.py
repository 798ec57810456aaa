"""Starting and ending the recorder, and GDB's events that it follows.

libc is found when GDB announces it, in whatever process runs then: `run` again, exec, attach and a
remote target all come through here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import gdb

from gdbext import loads, settings
from gdbext.findings.tracing.events import THREAD
from gdbext.stops.recorder.armed import Armed
from gdbext.stops.recorder.hits import Options, Recorder
from gdbext.stops.recorder.libc import libc_closed, libc_opened
from gdbext.stops.recorder.log import Log, open_stream
from gdbext.stops.recorder.sites import HOLDERS, LINKERS, holds


class State(NamedTuple):
    """What plug-trace show needs: `on` is whether it still records."""

    on: bool
    options: Options
    log: Log
    notes: tuple[str, ...]


_traces: list[Armed] = []  # the one that records, or the last one that did
_connected: list[tuple[Any, Callable[[Any], None]]] = []


def turn_on(options: Options, path: str) -> None:
    """Record from now on; what was recorded is kept unless the options or the file are others."""
    pattern = re.compile(options.pattern) if options.pattern else None
    stream = open_stream(path)
    turn_off()
    log = Log(settings.trace_limit(), stream, lambda t: pattern is None or bool(pattern.search(t)))
    _traces[:] = [Armed(Recorder(log, options))]
    listeners: dict[str, Callable[[Any], None]] = {
        "stop": _on_stop,
        "new_objfile": _on_new_objfile,
        "free_objfile": _on_free_objfile,
        "exited": _on_exited,
        "clear_objfiles": _on_clear,
        "new_thread": _on_thread,
    }
    for name, listener in listeners.items():
        registry = getattr(gdb.events, name, None)
        if registry is not None:  # GDB 10 has no free_objfile
            registry.connect(listener)
            _connected.append((registry, listener))
    _traces[0].arm()


def turn_off() -> None:
    """Stop recording; the log can still be shown."""
    while _connected:
        registry, listener = _connected.pop()
        registry.disconnect(listener)
    for armed in _traces:
        armed.delete()
        armed.recorder.log.close()
        for pid in armed.recorder.processes:
            loads.end_trace(pid)
        armed.recorder.processes.clear()


def is_on() -> bool:
    """Whether it records."""
    return bool(_connected)


def breakpoints() -> int:
    """How many the recorder has set."""
    return sum(len(armed.points) for armed in _traces)


def state() -> State | None:
    """The log and what it was made with; None when nothing was ever recorded."""
    if not _traces:
        return None
    recorder = _traces[0].recorder
    notes = list(recorder.notes)
    if recorder.log.problem:
        notes.append(recorder.log.problem)
    if is_on() and recorder.processes and not breakpoints():
        notes.append("no dlopen was found in this process (a static program?)")
    return State(is_on(), recorder.options, recorder.log, tuple(notes))


def _on_new_objfile(event: gdb.NewObjFileEvent) -> None:
    name = event.new_objfile.filename or ""
    if event.new_objfile.owner is not None:
        return  # a separate debug file
    armed = _traces[0]
    recorder = armed.recorder
    if not recorder.processes or not armed.points or holds(name, HOLDERS + LINKERS):
        armed.arm()
    process = recorder.processes.get(gdb.selected_inferior().pid)
    if process is None or not armed.points:
        return
    if not process.watched:
        process.watched = True
        armed.arm()
        return  # who opened it is not known
    lwp = _selected_lwp()
    before = set(process.book.live) if recorder.options.constructors else set()
    recorder.came(process, lwp)
    armed.leave(process)
    if recorder.options.constructors:
        for address, record in process.book.live.items():
            if address not in before:
                armed.arm_functions(process, record)
    if not process.calls.get(lwp):
        libc_opened(recorder, process, name)


def _on_free_objfile(event: Any) -> None:  # noqa: ANN401
    name = event.objfile.filename or ""
    armed = _traces[0]
    recorder = armed.recorder
    process = recorder.processes.get(gdb.selected_inferior().pid)
    if process is None:
        return
    lwp = _selected_lwp()
    named = [r for r in process.book.live.values() if r.path == name]  # one in each namespace
    closed = recorder.went(process, lwp)
    if closed is not None:
        armed.rest(closed)
    if any(r.map.address in process.book.live for r in named):
        process.refresh(recorder.log, whole=len(named) > 1, lwp=lwp)
    armed.leave(process)
    unloaded = any(r.map.address not in process.book.live for r in named)
    if closed is None and unloaded and not process.calls.get(lwp):
        libc_closed(recorder, process, name)


def _selected_lwp() -> int:
    thread = gdb.selected_thread()
    return thread.ptid[1] if thread is not None else 0


def _on_stop(_event: object) -> None:
    if not breakpoints():
        _traces[0].arm()  # attached, or connected to a remote target


def _on_exited(event: gdb.ExitedEvent) -> None:
    recorder = _traces[0].recorder
    pids = {i.pid for i in gdb.inferiors() if i.pid and i is not event.inferior}
    for pid in [p for p in recorder.processes if p not in pids]:
        loads.end_trace(pid)
        recorder.processes.pop(pid).over(recorder.log)
    if not recorder.processes:
        _traces[0].delete()


def _on_clear(_event: object) -> None:
    """An exec, or another program: the addresses are of no use any more."""
    recorder = _traces[0].recorder
    process = recorder.processes.pop(gdb.selected_inferior().pid, None)
    if process is not None:
        loads.traced.pop(process.pid, None)
        process.over(recorder.log)
    _traces[0].abandon()
    for other in recorder.processes.values():  # which GDB follows as well
        other.watched = False
        recorder.note(f"process {other.pid}: some calls were missed when another one ran exec")


def _on_thread(event: gdb.ThreadEvent) -> None:
    """A new thread belongs to the pthread_create that runs, or to the only call that does."""
    thread = event.inferior_thread
    given: object = thread
    if isinstance(given, gdb.Inferior):  # by mistake of GDB 10 (add_thread_object)
        thread = max(given.threads(), key=lambda each: each.num)
    process = _traces[0].recorder.processes.get(thread.inferior.pid) if thread else None
    if process is None or thread is None:
        return
    stacks = [calls for calls in process.calls.values() if calls]
    making = [calls for calls in stacks if calls[-1].event.kind == THREAD]
    chosen = making if len(making) == 1 else stacks
    if len(chosen) == 1:
        for call in chosen[0]:
            call.event = call.event._replace(started=(*call.event.started, thread.ptid[1]))
