"""What the registers hold when a recorded function is entered."""

from __future__ import annotations

from typing import Any

from gdbext.elf.core import decode_path
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import read_string, read_word
from gdbext.findings.tracing.events import DLCLOSE, DLMOPEN, DLOPEN, DLSYM, THREAD
from gdbext.linker.opening.dlresults import ARGUMENTS
from gdbext.stops.recorder.calls import Call, Traced
from gdbext.stops.recorder.registers import register_of

KINDS = {
    "dlopen": DLOPEN, "__libc_dlopen_mode": DLOPEN, "dlmopen": DLMOPEN, "dlclose": DLCLOSE,
    "__libc_dlclose": DLCLOSE, "dlsym": DLSYM, "dlvsym": DLSYM, "pthread_create": THREAD,
}  # fmt: skip
_COUNTS = {DLOPEN: 2, DLMOPEN: 3, DLCLOSE: 1, DLSYM: 2, THREAD: 3}
LIBC_OWN = ("__libc_dlopen_mode", "__libc_dlclose")
NO_TEXT = "its text was not seen: this libc's record of the failure could not be read"
NOT_LOADED = "it is not loaded, and with RTLD_NOLOAD that is no error"


def arguments(process: Traced, kind: str) -> tuple[int, dict[str, Any]]:
    """The first argument, and the fields of an event that a function was called with."""
    names = ARGUMENTS[process.arch.machine][: _COUNTS[kind]]
    words = [register_of(name) for name in names]
    first = words[0]
    if kind == DLOPEN:
        return first, {"path": _string(process, first), "mode": words[1] & 0xFFFFFFFF}
    if kind == DLMOPEN:
        namespace = first - (1 << 64) if first >> 63 else first
        path = _string(process, words[1])
        return first, {"path": path, "mode": words[2] & 0xFFFFFFFF, "namespace": namespace}
    if kind == THREAD:
        return first, {"function": process.frames.spot(words[2], exact=True)}
    record = process.record(first)
    fields = {"handle": first, "module": record.path if record else None}
    if kind == DLSYM:
        fields["path"] = _string(process, words[1])
    return first, fields


def _string(process: Traced, address: int) -> str | None:
    try:
        return decode_path(read_string(process.memory, address)) if address else None
    except Unreadable:
        return None


def created(process: Traced, call: Call) -> int | None:
    """The pthread_t that pthread_create has just stored."""
    try:
        return read_word(process.memory, call.out)
    except Unreadable:
        return None
