"""What libc opens and closes for itself (NSS, iconv): no public function is called.

From glibc 2.34 on the function that does it has no symbol. GDB announces the library all the
same, at the stop in ld.so where it always stops, so watching for that costs nothing. How long it
took is not known, and a library that was loaded already is not noticed.
"""

from __future__ import annotations

import os

import gdb

from gdbext.findings.events import DLCLOSE, DLOPEN, PASSED, Event
from gdbext.stops.recorder.calls import Traced
from gdbext.stops.recorder.hits import Recorder


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


def _selected() -> gdb.InferiorThread | None:
    return gdb.selected_thread()


def libc_opened(recorder: Recorder, process: Traced, path: str) -> None:
    """A library came, and nobody had called dlopen: libc did it itself."""
    process.refresh(recorder.log)
    name = os.path.basename(path)
    if name not in process.unreported:
        return  # a new program, a fork: nothing was opened
    process.unreported.discard(name)
    try:
        event = recorder.libc_event(process, DLOPEN, path)
    except gdb.error:
        return  # the process is going away
    if event is None or not recorder.log.wanted(path) or not path.startswith("/"):
        return
    last = next(reversed(recorder.log.events.values()), None)
    if last is not None and last.by_libc and last.frames == event.frames and last.loaded:
        recorder.log.put(last._replace(loaded=(*last.loaded, path)))  # what it needs
    else:
        recorder.log.put(event._replace(module=path, loaded=(path,), result=1))
