"""The event recorder behind plug-trace: what is done at each of its breakpoints."""

from __future__ import annotations

from typing import NamedTuple

import gdb

from gdbext.elf.arch import ARCHES
from gdbext.elf.core import decode_path
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import read_string, read_words
from gdbext.findings.events import (
    DLCLOSE,
    DLMOPEN,
    DLOPEN,
    DLSYM,
    OPENS,
    PASSED,
    RETURNED,
    THREAD,
    Event,
    Spot,
    error_class,
)
from gdbext.stops.recorder_calls import Call, Traced
from gdbext.stops.recorder_log import Log
from gdbext.stops.recorder_sites import Site

# Arguments and result (psABI x86-64 3.2.3; AAPCS64 6.8.2)
_ARGUMENTS = {"x86-64": ("rdi", "rsi", "rdx", "rcx"), "aarch64": ("x0", "x1", "x2", "x3")}
_RESULTS = {"x86-64": "rax", "aarch64": "x0"}
_WORD = (1 << 64) - 1
KINDS = {
    "dlopen": DLOPEN, "__libc_dlopen_mode": DLOPEN, "dlmopen": DLMOPEN, "dlclose": DLCLOSE,
    "__libc_dlclose": DLCLOSE, "dlsym": DLSYM, "dlvsym": DLSYM, "pthread_create": THREAD,
}  # fmt: skip
LIBC_OWN = ("__libc_dlopen_mode", "__libc_dlclose")
NO_TEXT = "ld.so's text was not seen: this linker has no function for failures to break at"


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
        frame, thread = gdb.newest_frame(), gdb.selected_thread()
        sp = _register(frame, process.arch.sp)
        try:
            back = self._return_address(process, frame, sp)
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
        words = [_register(frame, name) for name in _ARGUMENTS[process.arch.name]]
        event = _with_arguments(process, event, words)
        wanted = self.log.wanted
        kept = any(wanted(text) for text in (event.module, event.path) if text is not None)
        if event.function is not None and event.function.module is not None:
            kept = kept or wanted(event.function.module)
        calls.append(Call(event, site.entry, sp, began, kept or wanted(""), words[0]))
        if calls[-1].kept:
            self.log.put(event)

    def returned(self, site: Site) -> None:
        """Such a function is about to return."""
        process = self.process()
        frame, thread = gdb.newest_frame(), gdb.selected_thread()
        sp = _register(frame, process.arch.sp)
        calls = process.calls.get(thread.ptid[1], [])
        mine = next((i for i, c in enumerate(calls) if (c.sp, c.site) == (sp, site.entry)), None)
        if mine is None:
            return  # it began before the trace did
        while len(calls) > mine + 1:
            process._leave(self.log, calls)
        call = calls[-1]
        result = _register(frame, _RESULTS[process.arch.name])
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
            if record is not None:
                mode = process.modes.get(result, 0) | (call.event.mode or 0)
                process.modes[result] = mode
                call.event = call.event._replace(handle=result, module=record.path)
                call.kept = call.kept or self.log.wanted(record.path)
        elif kind == DLCLOSE:
            self._closed(process, call)
        elif kind == THREAD:
            call.event = call.event._replace(handle=_created(process, call))
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
        frame, thread = gdb.newest_frame(), gdb.selected_thread()
        sp = _register(frame, process.arch.sp)
        lwp = thread.ptid[1]
        calls = process.settle(self.log, lwp, sp)
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
        calls.append(Call(event, address, sp, began, self.log.wanted(path)))
        if calls[-1].kept:
            self.log.put(event)

    def failed(self, name: str) -> None:
        """ld.so raises a failure; it passes through here again at each level that catches it."""
        process = self.process()
        frame, thread = gdb.newest_frame(), gdb.selected_thread()
        words = [_register(frame, each) for each in _ARGUMENTS[process.arch.name]]
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
        calls = process.settle(self.log, thread.ptid[1], _register(frame, process.arch.sp))
        if calls and calls[-1].event.kind != THREAD:
            event = calls[-1].event
            calls[-1].event = event._replace(error=full, error_class=error_class(message, errcode))
        elif error_class(message, errcode) not in ("undefined-symbol", "other", "bad-argument"):
            self._libc_failed(process, objname, full, error_class(message, errcode))

    def _libc_failed(self, process: Traced, path: str, text: str, kind: str) -> None:
        """Libc's own dlopen failed: no public function was called, and nothing was loaded."""
        last = next(reversed(self.log.events.values()), None)
        if last is not None and (last.error, last.by_libc) == (text, True):
            return  # the next level of catching
        event = self.libc_event(process, DLOPEN)
        if event is not None and self.log.wanted(path):
            self.log.put(
                event._replace(path=path, failed=True, result=0, error=text, error_class=kind)
            )

    def libc_event(self, process: Traced, kind: str) -> Event | None:
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
        return Event(
            id=self.log.number(),
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
    def _return_address(process: Traced, frame: gdb.Frame, sp: int) -> int:
        link = process.arch.link_register
        value = _register(frame, link) if link else read_words(process.memory, sp, 1)[0]
        return process.arch.code_address(value)


def _is_linker(path: str | None) -> bool:
    name = (path or "").rpartition("/")[2]
    return name.startswith(("ld-", "ld.so"))


def _is_libc(path: str | None) -> bool:
    return (path or "").rpartition("/")[2].startswith(("libc.", "libc-", "libdl"))


def _register(frame: gdb.Frame, name: str) -> int:
    return int(frame.read_register(name)) & _WORD


def _with_arguments(process: Traced, event: Event, words: list[int]) -> Event:
    if event.kind in OPENS:
        shift = 1 if event.kind == DLMOPEN else 0
        namespace = words[0] - (1 << 64) if words[0] >> 63 else words[0]
        return event._replace(
            path=_string(process, words[shift]),
            mode=words[shift + 1] & 0xFFFFFFFF,
            namespace=namespace if shift else None,
        )
    if event.kind == THREAD:
        return event._replace(function=process.frames.spot(words[2], exact=True))
    record = process.record(words[0])
    event = event._replace(handle=words[0], module=record.path if record else None)
    return event._replace(path=_string(process, words[1])) if event.kind == DLSYM else event


def _string(process: Traced, address: int) -> str | None:
    try:
        return decode_path(read_string(process.memory, address)) if address else None
    except Unreadable:
        return None


def _created(process: Traced, call: Call) -> int | None:
    """The pthread_t that pthread_create has just stored."""
    try:
        return None if call.event.failed else read_words(process.memory, call.out, 1)[0]
    except Unreadable:
        return None
