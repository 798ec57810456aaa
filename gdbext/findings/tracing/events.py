"""What plug-trace records: one event for each call that opens, closes or looks up a library.

Addresses are those in the traced process, times are seconds since the trace began (of a
monotonic clock). What could not be known is None. Functions have their linkage names.
"""

from __future__ import annotations

from typing import NamedTuple

from gdbext.findings.tracing.opens import flag_names

DLOPEN, DLMOPEN, DLCLOSE, DLSYM = "dlopen", "dlmopen", "dlclose", "dlsym"
CONSTRUCTOR, DESTRUCTOR, THREAD = "constructor", "destructor", "pthread_create"
OPENS = (DLOPEN, DLMOPEN)
# How an event ended: not yet; its function came back; the stack was left above it (longjmp, an
# exception); it was over when the next event of its thread was seen; its process went away.
RUNNING, RETURNED, UNWOUND, PASSED, ENDED = "running", "returned", "unwound", "passed", "ended"
_SPECIAL = {0: "RTLD_DEFAULT", (1 << 64) - 1: "RTLD_NEXT"}


class Spot(NamedTuple):
    """A place in code: `pc`, the path and load bias of the module that held it then, function
    and offset in bytes, source position. `lookup` of a return address is inside the call."""

    pc: int
    module: str | None = None
    bias: int = 0
    build_id: str | None = None
    function: str | None = None
    function_offset: int = 0
    file: str | None = None
    line: int | None = None


class Stay(NamedTuple):
    """Why a library is still there after a dlclose: `kind` and one sentence of evidence.

    `kind`: open-count, nodelete, unique, tls-destructors, needed, relocation, startup, closing,
    never, unknown.
    """

    kind: str
    text: str


class Event(NamedTuple):
    """One call. `parent` is the event that it happened in, of the same thread.

    `path` is what was asked for, or the symbol of a dlsym. `handle` and `module` are what dlopen
    gave, or what dlclose and dlsym were given. `result` is the raw return value; `failed` what
    that means. `duration` includes the time that GDB itself takes for its stops.
    `threads` counts the threads before and after, `started` has the LWPs of those that came.
    """

    id: int
    parent: int | None
    kind: str
    pid: int
    thread: int
    lwp: int
    time: float
    caller: Spot | None = None
    path: str | None = None
    mode: int | None = None
    namespace: int | None = None
    handle: int | None = None
    module: str | None = None
    function: Spot | None = None
    frames: tuple[Spot, ...] = ()
    ended: str = RUNNING
    duration: float | None = None
    result: int | None = None
    failed: bool = False
    error: str | None = None
    error_class: str | None = None
    error_reason: str | None = None
    loaded: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()
    stays: tuple[Stay, ...] = ()
    threads: tuple[int, int | None] = (0, None)
    started: tuple[int, ...] = ()
    by_libc: bool = False


def handle_name(handle: int) -> str:
    """RTLD_DEFAULT, RTLD_NEXT or the number (bits/dlfcn.h)."""
    return _SPECIAL.get(handle, hex(handle))


def call_text(event: Event) -> str:
    """The call as it would stand in C: `dlopen("libx.so", RTLD_NOW | RTLD_LOCAL)`."""
    name = "NULL" if event.path is None else f'"{event.path}"'
    if event.kind in OPENS:
        where = "" if event.kind == DLOPEN else f"{_namespace(event.namespace)}, "
        mode = flag_names(event.mode) if event.mode is not None else "?"
        return f"{event.kind}({where}{name}, {mode})"
    if event.kind == DLCLOSE:
        return f"dlclose({_handle(event)})"
    if event.kind == DLSYM:
        return f"dlsym({_handle(event)}, {name})"
    return event.kind


def _handle(event: Event) -> str:
    if event.module is not None:
        return event.module.rpartition("/")[2]
    return handle_name(event.handle) if event.handle is not None else "?"


def _namespace(number: int | None) -> str:
    # LM_ID_BASE and LM_ID_NEWLM, dlfcn.h
    names = {0: "LM_ID_BASE", -1: "LM_ID_NEWLM"}
    return "?" if number is None else names.get(number, str(number))
