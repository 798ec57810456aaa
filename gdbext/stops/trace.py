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
from gdbext.elf.problem import Problem
from gdbext.findings.tracing.events import CONSTRUCTOR, DESTRUCTOR, THREAD
from gdbext.inferior import Inferior
from gdbext.linker.init.initarrays import functions_to_call
from gdbext.stops.recorder.arguments import LIBC_OWN
from gdbext.stops.recorder.calls import Call, Traced
from gdbext.stops.recorder.failures import (
    EVERY_FAILURE,
    RAISED_AGAIN,
    keeps_results,
)
from gdbext.stops.recorder.hits import Options, Recorder
from gdbext.stops.recorder.libc import libc_closed, libc_opened
from gdbext.stops.recorder.log import Log, open_stream
from gdbext.stops.recorder.modules import Record, linker_record
from gdbext.stops.recorder.points import Entry, Failure, Function, Point, Return
from gdbext.stops.recorder.registers import thread_pointer
from gdbext.stops.recorder.sites import HOLDERS, LINKERS, find_entries, find_site, holds

_OPENS = frozenset({"dlopen", "dlmopen", "dlclose", *LIBC_OWN})
_MOST_FUNCTIONS = 2000


class State(NamedTuple):
    """What plug-trace show needs: `on` is whether it still records."""

    on: bool
    options: Options
    log: Log
    notes: tuple[str, ...]


_recorders: list[Recorder] = []  # the one that records, or the last one that did
_points: dict[int, Point] = {}  # by address
_connected: list[tuple[Any, Callable[[Any], None]]] = []


def turn_on(options: Options, path: str) -> None:
    """Record from now on; what was recorded is kept unless the options or the file are others."""
    pattern = re.compile(options.pattern) if options.pattern else None
    stream = open_stream(path)
    turn_off()
    log = Log(settings.trace_limit(), stream, lambda t: pattern is None or bool(pattern.search(t)))
    _recorders[:] = [Recorder(log, options)]
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
    _arm()


def turn_off() -> None:
    """Stop recording; the log can still be shown."""
    while _connected:
        registry, listener = _connected.pop()
        registry.disconnect(listener)
    _delete_points()
    for recorder in _recorders:
        recorder.log.close()
        for pid in recorder.processes:
            loads.end_trace(pid)
        recorder.processes.clear()


def is_on() -> bool:
    """Whether it records."""
    return bool(_connected)


def state() -> State | None:
    """The log and what it was made with; None when nothing was ever recorded."""
    if not _recorders:
        return None
    recorder = _recorders[0]
    notes = list(recorder.notes)
    if recorder.log.problem:
        notes.append(recorder.log.problem)
    if is_on() and recorder.processes and not _points:
        notes.append("no dlopen was found in this process (a static program?)")
    return State(is_on(), recorder.options, recorder.log, tuple(notes))


def _delete_points() -> None:
    while _points:
        _, point = _points.popitem()
        if point.is_valid():
            point.delete()


def _arm() -> None:
    """Set the breakpoints that are missing, in what is loaded now."""
    try:
        inferior = Inferior()
        if inferior.target == "core":
            return
        process = _recorders[0].process()
        _refresh(process)
    except (Problem, gdb.error):
        return  # no process yet: tried again when there is one
    live: list[Record | None] = list(process.book.live.values())
    records = [r for r in live or [linker_record(inferior)] if r is not None]
    libcs = [r for r in records if holds(r.path, HOLDERS)]
    kept = any(keeps_results(process.memory, r) for r in libcs)
    every = bool(libcs) and not (kept and thread_pointer(process.arch) is not None)
    for record in records:
        if record in libcs or holds(record.path, LINKERS):
            _arm_library(process, record, every)
    if _points:
        loads.traced[process.pid] = process.gone


def _refresh(process: Traced) -> None:
    process.refresh(_recorders[0].log)


def _arm_library(process: Traced, record: Record, every: bool) -> None:
    """`every`: failures are to be seen as they are raised, not only those of libc's own opens."""
    recorder = _recorders[0]
    failures = EVERY_FAILURE if every else frozenset()
    if holds(record.path, LINKERS):
        failures |= RAISED_AGAIN
    names = _OPENS
    if recorder.options.dlsym:
        names |= {"dlsym", "dlvsym"}
    if recorder.options.threads:
        names |= {"pthread_create"}
    for address, name in find_entries(process.memory, record, names | failures).items():
        if address in _points:
            continue
        if name in failures:
            _points[address] = Failure(recorder, name, address)
            recorder.watches_failures |= every
            continue
        site = find_site(process.memory, record, address, name)
        if not site.returns:
            recorder.note(f"{name} of {record.path}: where it returns could not be found")
        returns = []
        for each in site.returns:
            point = _points.get(each) or Return(recorder, site, each)
            _points[each] = point
            if isinstance(point, Return):
                returns.append(point)
        _points[address] = Entry(recorder, site, tuple(returns))


def _arm_functions(process: Traced, record: Record) -> None:
    """Breakpoints on a library's constructors and destructors, before any of them runs."""
    if record.image is None:
        return
    found = functions_to_call(process.memory, record.image)
    for kind, addresses in zip((CONSTRUCTOR, DESTRUCTOR), found):
        for address in addresses:
            if address in _points and _points[address].is_valid():
                continue
            if len(_points) > _MOST_FUNCTIONS:
                _recorders[0].note(f"only {_MOST_FUNCTIONS} constructors are watched at a time")
                return
            _points[address] = Function(_recorders[0], kind, address, record.path)


def _on_new_objfile(event: gdb.NewObjFileEvent) -> None:
    name = event.new_objfile.filename or ""
    if event.new_objfile.owner is not None:
        return  # a separate debug file
    recorder = _recorders[0]
    if not recorder.processes or not _points or holds(name, HOLDERS + LINKERS):
        _arm()
    process = recorder.processes.get(gdb.selected_inferior().pid)
    if process is None or not _points:
        return
    lwp = _selected_lwp()
    before = set(process.book.live)
    recorder.came(process, lwp)
    if recorder.options.constructors:
        for address, record in process.book.live.items():
            if address not in before:
                _arm_functions(process, record)
    if not process.calls.get(lwp):
        libc_opened(recorder, process, name)


def _selected_lwp() -> int:
    thread = gdb.selected_thread()
    return thread.ptid[1] if thread is not None else 0


def _on_free_objfile(event: Any) -> None:  # noqa: ANN401
    name = event.objfile.filename or ""
    recorder = _recorders[0]
    process = recorder.processes.get(gdb.selected_inferior().pid)
    if process is None:
        return
    lwp = _selected_lwp()
    before = list(process.book.live.values())
    closed = recorder.went(process, lwp)
    if closed is not None:
        _end_at_once(closed)
    named = [r for r in before if r.path == name]
    if len(named) > 1:  # another namespace has a copy of it
        process.refresh(recorder.log, whole=True, lwp=lwp)
    gone = [r for r in before if r.map.address not in process.book.live]
    if len(named) == 1 and named[0] not in gone:
        gone += named
    for address in [a for a in _points if any(r.start <= a < r.end for r in gone)]:
        point = _points.pop(address)
        if point.is_valid():
            point.delete()
    if named and closed is None and not process.calls.get(lwp):
        process.refresh(recorder.log, lwp=lwp)
        if all(r.map.address not in process.book.live for r in named):
            libc_closed(recorder, process, named[0].path)


def _end_at_once(closed: Call) -> None:
    """The return of a dlclose that is known to succeed is not stopped at; half of what the
    trace of a close costs. Its breakpoint rests until the next dlclose begins."""
    entry = _points.get(closed.site)
    if isinstance(entry, Entry) and not any(map(Traced.closing, _recorders[0].processes.values())):
        entry.rest()


def _on_stop(_event: object) -> None:
    if not _points:
        _arm()  # attached, or connected to a remote target


def _on_exited(event: gdb.ExitedEvent) -> None:
    recorder = _recorders[0]
    pids = {i.pid for i in gdb.inferiors() if i.pid and i is not event.inferior}
    for pid in [p for p in recorder.processes if p not in pids]:
        loads.end_trace(pid)
        recorder.processes.pop(pid).over(recorder.log)
    if not recorder.processes:
        _delete_points()


def _on_clear(_event: object) -> None:
    """An exec, or another program: the addresses are of no use any more."""
    recorder = _recorders[0]
    process = recorder.processes.pop(gdb.selected_inferior().pid, None)
    if process is not None:
        loads.traced.pop(process.pid, None)
        process.over(recorder.log)
    # GDB walks its breakpoints just now: 13.1 crashes when several are deleted (seen at an exec).
    old = list(_points.values())
    _points.clear()
    for point in old:
        if point.is_valid():
            point.enabled = False
    gdb.post_event(lambda: _delete(old))


def _delete(points: list[Point]) -> None:
    for point in points:
        if point.is_valid():
            point.delete()


def _on_thread(event: gdb.ThreadEvent) -> None:
    """A new thread belongs to the pthread_create that runs, or to the only call that does."""
    thread = event.inferior_thread
    given: object = thread
    if isinstance(given, gdb.Inferior):  # by mistake of GDB 10 (add_thread_object)
        thread = max(given.threads(), key=lambda each: each.num)
    process = _recorders[0].processes.get(thread.inferior.pid) if thread else None
    if process is None or thread is None:
        return
    stacks = [calls for calls in process.calls.values() if calls]
    making = [calls for calls in stacks if calls[-1].event.kind == THREAD]
    chosen = making if len(making) == 1 else stacks
    if len(chosen) == 1:
        for call in chosen[0]:
            call.event = call.event._replace(started=(*call.event.started, thread.ptid[1]))
