"""The event recorder behind plug-trace: what is done at each of its breakpoints."""

from __future__ import annotations

import os
from typing import NamedTuple

import gdb

from gdbext.elf.arch import ARCHES
from gdbext.elf.core import decode_path
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import read_string, read_words
from gdbext.findings.dlopen_errors import UNDEFINED_SYMBOL, UNKNOWN, WRONG_USE, classify
from gdbext.findings.events import (
    DLCLOSE,
    DLOPEN,
    DLSYM,
    OPENS,
    PASSED,
    RETURNED,
    THREAD,
    Event,
    Spot,
)
from gdbext.findings.opens import find_requests
from gdbext.stops.recorder.arguments import (
    ARGUMENTS,
    COUNTS,
    KINDS,
    LIBC_OWN,
    NO_TEXT,
    RESULTS,
    created,
    register_of,
    with_arguments,
)
from gdbext.stops.recorder.calls import Call, Traced
from gdbext.stops.recorder.log import Log
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
        thread = gdb.selected_thread()
        sp = register_of(process.arch.sp)
        try:
            back = self._return_address(process, sp)
        except Unreadable as problem:
            self.note(str(problem))
            return
        lwp = thread.ptid[1]
        calls = process.settle(self.log, lwp, sp)
        if calls or process.book.owner(back - 1) is None:
            process.refresh(self.log)  # a constructor calls: its library came a moment ago
        event = Event(
            id=self.log.number(),
            parent=calls[-1].event.id if calls else None,
            kind=kind,
            pid=process.pid,
            thread=thread.num,
            lwp=lwp,
            time=began,
            frames=process.frames.take(process.memory, back, sp),
            threads=(process.thread_count(), None),
            by_libc=site.name in LIBC_OWN,
        )
        event = event._replace(caller=event.frames[0])
        registers = ARGUMENTS[process.arch.name][: COUNTS[kind]]
        words = [register_of(name) for name in registers]
        event = with_arguments(process, event, words)
        wanted = self.log.wanted
        kept = any(wanted(text) for text in (event.module, event.path) if text is not None)
        if event.function is not None and event.function.module is not None:
            kept = kept or wanted(event.function.module)
        calls.append(Call(event, site.entry, sp, began, kept or wanted(""), back, words[0]))
        if calls[-1].kept:
            self.log.put(event)

    def returned(self, site: Site) -> None:
        """Such a function is about to return."""
        process = self.process()
        thread = gdb.selected_thread()
        sp = register_of(process.arch.sp)
        calls = process.calls.get(thread.ptid[1], [])
        mine = next((i for i, c in enumerate(calls) if (c.sp, c.site) == (sp, site.entry)), None)
        if mine is None:
            return  # it began before the trace did
        while len(calls) > mine + 1:
            process._leave(self.log, calls)
        call = calls[-1]
        result = register_of(RESULTS[process.arch.name])
        self._finish(process, call, result)
        calls.pop()
        process.end(self.log, call, RETURNED)

    def _finish(self, process: Traced, call: Call, result: int) -> None:
        kind = call.event.kind
        failed = not result if kind in (*OPENS, DLSYM) else bool(result & 0xFFFFFFFF)
        call.event = call.event._replace(result=result, failed=failed)
        if kind in OPENS:
            process.refresh(self.log)
            record = process.record(result)
            if record is None and result:  # dlmopen's is in another namespace
                process.refresh(self.log, whole=True)
                record = process.record(result)
            if record is not None:
                mode = process.modes.get(result, 0) | (call.event.mode or 0)
                process.modes[result] = mode
                call.event = call.event._replace(handle=result, module=record.path)
                call.kept = call.kept or self.log.wanted(record.path)
                process.claim(self.log, call, record)
        elif kind == DLCLOSE:
            self._closed(process, call)
        elif kind == THREAD:
            call.event = call.event._replace(handle=created(process, call))
        if not failed:
            call.event = call.event._replace(error=None, error_class=None)
        elif call.event.error is None and kind != THREAD:
            reason = None if self.watches_failures else NO_TEXT
            call.event = call.event._replace(error_reason=reason)
        before = call.event.threads[0]
        call.event = call.event._replace(threads=(before, process.thread_count()))

    def _closed(self, process: Traced, call: Call) -> None:
        handle = call.event.handle or 0
        process.refresh(self.log, handle)
        if process.record(handle) is None:
            process.modes.pop(handle, None)
        elif not call.event.failed:
            modes, generation = process.modes.get(handle, 0), process.book.generation
            stays = process.stays.why(process.memory, handle, modes, generation)
            call.event = call.event._replace(stays=stays)

    def called(self, kind: str, address: int, path: str) -> None:
        """A constructor or destructor begins."""
        began = self.log.now()
        process = self.process()
        thread = gdb.selected_thread()
        sp = register_of(process.arch.sp)
        lwp = thread.ptid[1]
        calls = process.settle(self.log, lwp, sp)
        try:
            back = self._return_address(process, sp)
        except Unreadable:
            back = 0
        event = Event(
            id=self.log.number(),
            parent=calls[-1].event.id if calls else None,
            kind=kind,
            pid=process.pid,
            thread=thread.num,
            lwp=lwp,
            time=began,
            module=path,
            function=process.frames.spot(address, exact=True),
            threads=(process.thread_count(), None),
        )
        calls.append(Call(event, address, sp, began, self.log.wanted(path), back))
        if calls[-1].kept:
            self.log.put(event)

    def failed(self, name: str) -> None:
        """ld.so raises a failure; it passes through here again at each level that catches it."""
        process = self.process()
        thread = gdb.selected_thread()
        words = [register_of(each) for each in ARGUMENTS[process.arch.name]]
        errcode = words[0] & 0xFFFFFFFF
        try:
            if name == "_dl_signal_exception":  # {objname, errstring} (include/dl-exception)
                where, text = read_words(process.memory, words[1], 2)
            else:  # (errcode, objname, occasion, errstring): elf/dl-catch.c
                where, text = words[1], words[3]
            message = decode_path(read_string(process.memory, text)) if text else ""
            objname = decode_path(read_string(process.memory, where)) if where else ""
        except Unreadable as problem:
            self.note(str(problem))
            return
        full = f"{objname}: {message}" if objname else message
        calls = process.settle(self.log, thread.ptid[1], register_of(process.arch.sp))
        if calls and calls[-1].event.kind != THREAD:
            event = calls[-1].event
            calls[-1].event = event._replace(error=full, error_class=classify(message, errcode))
        elif classify(message, errcode) not in (UNDEFINED_SYMBOL, UNKNOWN, WRONG_USE):
            self._libc_failed(process, objname, full, classify(message, errcode))

    def _libc_failed(self, process: Traced, path: str, text: str, kind: str) -> None:
        """Libc's own dlopen failed: no public function was called, and nothing was loaded."""
        last = next(reversed(self.log.events.values()), None)
        if last is not None and (last.error, last.by_libc) == (text, True):
            return  # the next level of catching
        event = self.libc_event(process, DLOPEN, path)
        if event is not None and self.log.wanted(path):
            self.log.put(event._replace(failed=True, result=0, error=text, error_class=kind))

    def libc_event(self, process: Traced, kind: str, path: str | None) -> Event | None:
        """An event of libc's own doing, at this moment; None while the program starts."""
        thread: gdb.InferiorThread | None = gdb.selected_thread()
        if thread is None:
            return None
        frame: gdb.Frame | None = gdb.newest_frame()
        places: list[Spot] = []
        try:
            while frame is not None and len(places) < 64:
                places.append(process.frames.spot(int(frame.pc())))
                frame = frame.older()
        except gdb.error:
            pass  # what was unwound so far has to do
        outside = [s for s in places if not _is_linker(s.module)]
        if not outside or outside[0].module is None:
            return None  # ld.so starts the program; nobody has called it
        stack = register_of(process.arch.sp)
        request = None
        if path is not None:
            requests = find_requests(process.memory, stack, None)
            wanted = (r for r in requests if os.path.basename(r.file) == os.path.basename(path))
            request = next(wanted, None)
        return Event(
            id=self.log.number(),
            path=request.file if request else path,
            mode=request.mode if request else None,
            parent=None,
            kind=kind,
            pid=process.pid,
            thread=thread.num,
            lwp=thread.ptid[1],
            time=self.log.now(),
            caller=next((s for s in outside if not _is_libc(s.module)), outside[-1]),
            frames=tuple(outside[:12]),
            threads=(process.thread_count(), None),
            ended=PASSED,
            by_libc=True,
        )

    @staticmethod
    def _return_address(process: Traced, sp: int) -> int:
        link = process.arch.link_register
        value = register_of(link) if link else read_words(process.memory, sp, 1)[0]
        return process.arch.code_address(value)


def _is_linker(path: str | None) -> bool:
    name = (path or "").rpartition("/")[2]
    return name.startswith(("ld-", "ld.so"))


def _is_libc(path: str | None) -> bool:
    return (path or "").rpartition("/")[2].startswith(("libc.", "libc-", "libdl"))
