"""What the return of a recorded call tells: its result, what it opened or left open, its error."""

from __future__ import annotations

from typing import Any

from gdbext.findings.opening.dlopen_errors import classify
from gdbext.findings.tracing.events import DLCLOSE, DLSYM, OPENS, THREAD
from gdbext.findings.tracing.opens import NOLOAD
from gdbext.stops.recorder.arguments import NO_TEXT, NOT_LOADED, created
from gdbext.stops.recorder.calls import Call, Traced
from gdbext.stops.recorder.log import Log

_ZERO_FAILS = frozenset({*OPENS, DLSYM})  # the others return 0 when all went well


def told_by_return(
    log: Log, process: Traced, call: Call, result: int, failures_seen: bool
) -> dict[str, Any]:
    """The fields of a call's event that are known when it returns.

    `failures_seen`: each failure was seen when it was raised, so that none is to be looked for.
    """
    event = call.event
    kind = event.kind
    failed = not result if kind in _ZERO_FAILS else bool(result & 0xFFFFFFFF)
    found: dict[str, Any] = {"result": result, "failed": failed}
    if kind in OPENS:
        found |= _opened(log, process, call, result)
    elif kind == DLCLOSE:
        found |= _closed(log, process, call, failed)
    elif kind == THREAD and not failed:
        found["handle"] = created(process, call)
    if not failed:
        found |= {"error": None, "error_class": None}
    elif event.error is None and kind != THREAD:
        asking = kind in OPENS and bool((event.mode or 0) & NOLOAD)
        found |= _why(process, NOT_LOADED if asking else NO_TEXT, failures_seen)
    found["threads"] = (event.threads[0], process.thread_count())
    return found


def error_fields(about: str, message: str, code: int) -> dict[str, Any]:
    """The text that dlerror gives, and its class."""
    text = f"{about}: {message}" if about else message
    return {"error": text, "error_class": classify(message, code)}


def _opened(log: Log, process: Traced, call: Call, result: int) -> dict[str, Any]:
    process.refresh(log, opened=result)
    record = process.record(result)
    if record is None and result:  # dlmopen's is in another namespace
        process.refresh(log, whole=True)
        record = process.record(result)
    if record is None:
        return {}
    process.modes[result] = process.modes.get(result, 0) | (call.event.mode or 0)
    call.kept = call.kept or log.wanted(record.path)
    process.claim(log, call, record)
    return {"handle": result, "module": record.path}


def _closed(log: Log, process: Traced, call: Call, failed: bool) -> dict[str, Any]:
    handle = call.event.handle or 0
    process.refresh(log, closed=handle)
    process.claim_gone(log, call)
    if process.record(handle) is None:
        process.modes.pop(handle, None)
        return {}
    if failed or call.event.module in call.unloaded:  # it went, and has come again
        return {}
    modes, generation = process.modes.get(handle, 0), process.book.generation
    others = len(process.closing()) > 1
    return {"stays": process.stays.why(process.memory, handle, modes, generation, others)}


def _why(process: Traced, without: str, failures_seen: bool) -> dict[str, Any]:
    held = process.held.read(process.arch, lasting=not process.book.several)
    if held is None or held.returned:
        return {"error_reason": None if failures_seen and without == NO_TEXT else without}
    return error_fields(held.object, held.text, held.code)
