"""What the registers hold when a recorded function is entered."""

from __future__ import annotations

import gdb

from gdbext.elf.core import decode_path
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import read_string, read_words
from gdbext.findings.events import DLCLOSE, DLMOPEN, DLOPEN, DLSYM, OPENS, THREAD, Event
from gdbext.stops.recorder.calls import Call, Traced

# Arguments and result (psABI x86-64 3.2.3; AAPCS64 6.8.2)
ARGUMENTS = {"x86-64": ("rdi", "rsi", "rdx", "rcx"), "aarch64": ("x0", "x1", "x2", "x3")}
RESULTS = {"x86-64": "rax", "aarch64": "x0"}
WORD = (1 << 64) - 1
KINDS = {
    "dlopen": DLOPEN, "__libc_dlopen_mode": DLOPEN, "dlmopen": DLMOPEN, "dlclose": DLCLOSE,
    "__libc_dlclose": DLCLOSE, "dlsym": DLSYM, "dlvsym": DLSYM, "pthread_create": THREAD,
}  # fmt: skip
COUNTS = {DLOPEN: 2, DLMOPEN: 3, DLCLOSE: 1, DLSYM: 2, THREAD: 3}
LIBC_OWN = ("__libc_dlopen_mode", "__libc_dlclose")
NO_TEXT = "ld.so's text was not seen: this linker has no function for failures to break at"


def register_of(name: str) -> int:
    """A register of the selected frame, unsigned; raises gdb.error.

    In stop() that is the frame that was hit. A gdb.Frame would cost 0.03 ms more: GDB unwinds to
    the caller to make one.
    """
    return int(gdb.parse_and_eval(f"${name}")) & WORD


def with_arguments(process: Traced, event: Event, words: list[int]) -> Event:
    """An event with what its function was called with."""
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


def created(process: Traced, call: Call) -> int | None:
    """The pthread_t that pthread_create has just stored."""
    try:
        return None if call.event.failed else read_words(process.memory, call.out, 1)[0]
    except Unreadable:
        return None
