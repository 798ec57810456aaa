"""What libc opens and closes for itself (NSS, iconv): no public function is called.

From glibc 2.34 on the function that does it has no symbol. GDB announces the library all the
same, at the stop in ld.so where it always stops, so watching for that costs nothing. How long it
took is not known, and a library that was loaded already is not noticed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gdb

from gdbext.findings.tracing.events import DLCLOSE, DLOPEN, PASSED, Event, Spot
from gdbext.findings.tracing.opens import find_requests
from gdbext.stops.recorder.calls import Traced
from gdbext.stops.recorder.registers import register_of

if TYPE_CHECKING:
    from gdbext.stops.recorder.hits import Recorder

_MOST_FRAMES = 64
_SHOWN_FRAMES = 12


def libc_failed(recorder: Recorder, process: Traced, path: str, error: Mapping[str, Any]) -> None:
    """Libc's own dlopen failed: no public function was called, and nothing was loaded."""
    last = recorder.log.last()
    if last is not None and (last.error, last.by_libc) == (error["error"], True):
        return  # the next level of catching
    event = _event(recorder, process, path)
    if event is not None and recorder.log.wanted(path):
        recorder.log.put(event._replace(failed=True, result=0, **error))


def libc_closed(recorder: Recorder, process: Traced, path: str) -> None:
    """Libc itself closed a library. GDB is not asked for frames: it takes the objfile apart just
    now, and 13.1 crashes at gdb.newest_frame() when an exec does that."""
    thread = _selected()
    if thread is None or not recorder.log.wanted(path):
        return
    recorder.log.put(
        Event(
            id=recorder.log.number(),
            parent=None,
            kind=DLCLOSE,
            pid=process.pid,
            thread=thread.num,
            lwp=thread.ptid[1],
            time=recorder.log.now(),
            module=path,
            result=0,
            unloaded=(path,),
            ended=PASSED,
            by_libc=True,
        )
    )


def libc_opened(recorder: Recorder, process: Traced, path: str) -> None:
    """A library came, and nobody had called dlopen: libc did it itself."""
    process.refresh(recorder.log)
    name = os.path.basename(path)
    if name not in process.unreported:
        return  # a new program, a fork: nothing was opened
    process.unreported.discard(name)
    try:
        event = _event(recorder, process, path)
    except gdb.error:
        return  # the process is going away
    if event is None or not recorder.log.wanted(path) or not path.startswith("/"):
        return
    last = recorder.log.last()
    if last is not None and last.by_libc and last.frames == event.frames and last.loaded:
        recorder.log.put(last._replace(loaded=(*last.loaded, path)))  # what it needs
    else:
        recorder.log.put(event._replace(module=path, loaded=(path,), result=1))


def _event(recorder: Recorder, process: Traced, path: str) -> Event | None:
    """An open of libc's own, at this moment; None while the program starts."""
    thread = _selected()
    if thread is None:
        return None
    frame: gdb.Frame | None = gdb.newest_frame()
    places: list[Spot] = []
    try:
        while frame is not None and len(places) < _MOST_FRAMES:
            places.append(process.frames.spot(int(frame.pc())))
            frame = frame.older()
    except gdb.error:
        pass  # what was unwound so far has to do
    outside = [s for s in places if not _is_linker(s.module)]
    if not outside or outside[0].module is None:
        return None  # ld.so starts the program; nobody has called it
    requests = find_requests(process.memory, register_of(process.arch.sp), None)
    wanted = (r for r in requests if os.path.basename(r.file) == os.path.basename(path))
    request = next(wanted, None)
    return Event(
        id=recorder.log.number(),
        path=request.file if request else path,
        mode=request.mode if request else None,
        parent=None,
        kind=DLOPEN,
        pid=process.pid,
        thread=thread.num,
        lwp=thread.ptid[1],
        time=recorder.log.now(),
        caller=next((s for s in outside if not _is_libc(s.module)), outside[-1]),
        frames=tuple(outside[:_SHOWN_FRAMES]),
        threads=(process.thread_count(), None),
        ended=PASSED,
        by_libc=True,
    )


def _selected() -> gdb.InferiorThread | None:
    return gdb.selected_thread()


def _is_linker(path: str | None) -> bool:
    name = (path or "").rpartition("/")[2]
    return name.startswith(("ld-", "ld.so"))


def _is_libc(path: str | None) -> bool:
    return (path or "").rpartition("/")[2].startswith(("libc.", "libc-", "libdl"))
