"""The event recorder behind plug-trace: what is done at each of its breakpoints.

It runs at most twice for each call, while the program waits: an event is made when the call begins
and again when it ends, and what can be known without asking GDB is not asked for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gdb

from gdbext import loads
from gdbext.elf.arch import ARCHES
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import read_word
from gdbext.findings.opening.dlopen_errors import UNDEFINED_SYMBOL, UNKNOWN, WRONG_USE
from gdbext.findings.tracing.events import DLCLOSE, RETURNED, THREAD, Event
from gdbext.linker.opening.dlresults import ARGUMENTS, signalled
from gdbext.stops.recorder.arguments import KINDS, LIBC_OWN, arguments
from gdbext.stops.recorder.calls import Call, Traced, innermost
from gdbext.stops.recorder.libc import libc_failed
from gdbext.stops.recorder.log import Log
from gdbext.stops.recorder.registers import RESULTS, register_of
from gdbext.stops.recorder.results import error_fields, told_by_return
from gdbext.stops.recorder.sites import Site


class Options(NamedTuple):
    """What is recorded besides dlopen, dlmopen and dlclose."""

    dlsym: bool = False
    constructors: bool = False
    threads: bool = False
    pattern: str | None = None


class Recorder:
    """Takes what the breakpoints see, and keeps it in a log."""

    def __init__(self, log: Log, options: Options) -> None:
        self.log = log
        self.options = options
        self.processes: dict[int, Traced] = {}
        self.notes: list[str] = []
        self.watches_failures = False

    def note(self, text: str) -> None:
        """Something that could not be recorded."""
        if text not in self.notes and len(self.notes) < 20:
            self.notes.append(text)

    def process(self) -> Traced:
        """The process that is stopped; a new one (fork, exec) is seen here first."""
        inferior = gdb.selected_inferior()
        found = self.processes.get(inferior.pid)
        if found is None:
            name = inferior.architecture().name()
            arch = next((a for a in ARCHES if a.gdb_name == name), None)
            if arch is None:
                raise gdb.error(f"this program's CPU is {name}")
            found = self.processes[inferior.pid] = Traced(inferior.pid, arch, inferior)
            found.book.walk()
        return found

    def entered(self, site: Site) -> None:
        """A function that is recorded begins."""
        began = self.log.now()
        process, kind = self.process(), KINDS[site.name]
        sp = register_of(process.arch.sp)
        try:
            back = _return_address(process, sp)
        except Unreadable as problem:
            self.note(str(problem))
            return
        thread = gdb.selected_thread()
        lwp = thread.ptid[1]
        if process.is_seen_again(lwp, site.entry, sp, back):
            return
        calls = process.settle(self.log, lwp, sp)
        if kind == DLCLOSE:
            for outer in calls:
                outer.has_closed = True
        if calls or process.book.owner(back - 1) is None:
            process.refresh(self.log)  # a constructor calls: its library came a moment ago
        frames = process.frames.take(process.memory, back, sp)
        out, fields = arguments(process, kind)
        event = self._event(
            process,
            thread,
            kind,
            calls,
            time=began,
            caller=frames[0],
            frames=frames,
            by_libc=site.name in LIBC_OWN,
            **fields,
        )
        kept = self.log.wanted("") or self._names_wanted(event)
        self._begin(calls, Call(event, site.entry, sp, began, kept, back, out))

    def _names_wanted(self, event: Event) -> bool:
        function = event.function.module if event.function is not None else None
        texts = (event.module, event.path, function)
        return any(self.log.wanted(text) for text in texts if text is not None)

    def called(self, kind: str, address: int, path: str) -> None:
        """A constructor or destructor begins."""
        began = self.log.now()
        process = self.process()
        sp = register_of(process.arch.sp)
        thread = gdb.selected_thread()
        try:
            back = _return_address(process, sp)
        except Unreadable:
            back = 0
        if process.is_seen_again(thread.ptid[1], address, sp, back):
            return
        calls = process.settle(self.log, thread.ptid[1], sp)
        event = self._event(
            process,
            thread,
            kind,
            calls,
            time=began,
            module=path,
            function=process.frames.spot(address, exact=True),
        )
        self._begin(calls, Call(event, address, sp, began, self.log.wanted(path), back))

    def _event(
        self,
        process: Traced,
        thread: gdb.InferiorThread,
        kind: str,
        calls: list[Call],
        **fields: Any,  # noqa: ANN401
    ) -> Event:
        """An event that begins, with what all of them have."""
        return Event(
            id=self.log.number(),
            parent=calls[-1].event.id if calls else None,
            kind=kind,
            pid=process.pid,
            thread=thread.num,
            lwp=thread.ptid[1],
            threads=(process.thread_count(), None),
            **fields,
        )

    def _begin(self, calls: list[Call], call: Call) -> None:
        calls.append(call)
        if call.kept:
            self.log.put(call.event)

    def returned(self, site: Site) -> None:
        """Such a function is about to return."""
        process = self.process()
        sp = register_of(process.arch.sp)
        calls = process.calls.get(gdb.selected_thread().ptid[1], [])
        mine = next((i for i, c in enumerate(calls) if (c.sp, c.site) == (sp, site.entry)), None)
        if mine is None:
            return  # it began before the trace did
        while len(calls) > mine + 1:
            process.leave(self.log, calls)
        call = calls[-1]
        result = register_of(RESULTS[process.arch.machine])
        found = told_by_return(self.log, process, call, result, self.watches_failures)
        calls.pop()
        process.end(self.log, call, RETURNED, **found)

    def came(self, process: Traced, lwp: int) -> None:
        """GDB has heard of a library that a thread loads. Without other threads and without a
        need for its constructors it is soon enough when its call returns."""
        process.note_change(lwp)
        if process.thread_count() > 1 or self.options.constructors:
            process.refresh(self.log, lwp=lwp if loads.TELLS_WHAT_GOES else None)

    def went(self, process: Traced, lwp: int) -> Call | None:
        """GDB has heard that a thread unloads a library. If that ends its dlclose, that call.

        A dlclose that has taken its own library away succeeds, and is recorded without a stop at
        its return. Not so if another dlclose was called inside: ld.so then looks once more for
        what can go (elf/dl-close.c, _dl_close_worker).
        """
        process.note_change(lwp)
        calls = process.calls.get(lwp, [])
        call = innermost(calls)
        closed = call.event.handle or 0 if call and call.event.kind == DLCLOSE else None
        known = closed is not None and process.record(closed) is not None
        if known or process.thread_count() > 1:
            process.refresh(self.log, closed=closed, lwp=lwp)
        if call is None or closed is None or not known or call.has_closed:
            return None
        if process.record(closed) is not None:
            return None
        while calls[-1] is not call:
            process.leave(self.log, calls)
        calls.pop()
        process.modes.pop(closed, None)
        process.end(
            self.log,
            call,
            RETURNED,
            result=0,
            failed=False,
            error=None,
            error_class=None,
            threads=(call.event.threads[0], process.thread_count()),
        )
        return call

    def failed(self, name: str) -> None:
        """ld.so raises a failure; it passes through here again at each level that catches it."""
        process = self.process()
        values = [register_of(each) for each in ARGUMENTS[process.arch.machine]]
        signal = signalled(process.memory, name, values)
        if signal is None:
            self.note(f"what {name} was called with could not be read")
            return
        code, about, message = signal
        error = error_fields(about, message, code)
        lwp = gdb.selected_thread().ptid[1]
        calls = process.settle(self.log, lwp, register_of(process.arch.sp))
        if calls and calls[-1].event.kind != THREAD:
            calls[-1].event = calls[-1].event._replace(**error)
        elif error["error_class"] not in (UNDEFINED_SYMBOL, UNKNOWN, WRONG_USE):
            libc_failed(self, process, about, error)


def _return_address(process: Traced, sp: int) -> int:
    link = process.arch.link_register
    value = register_of(link) if link else read_word(process.memory, sp)
    return process.arch.code_address(value)
