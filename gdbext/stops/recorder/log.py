"""The events that are kept, and the file that they are written to as they happen."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TextIO

from gdbext.elf.problem import Problem
from gdbext.findings.tracing.events import Event, Spot
from gdbext.findings.tracing.lifetimes import Count, add
from gdbext.findings.tracing.opens import flag_names
from gdbext.render.printable import shown


class Log:
    """A ring of events. `dropped` counts those that left it; `earlier` has their counts."""

    def __init__(self, limit: int, stream: TextIO | None, wanted: Callable[[str], bool]) -> None:
        self.limit = limit
        self.events: dict[int, Event] = {}
        self.dropped = 0
        self.earlier: dict[str, Count] = {}
        self.wanted = wanted
        self.stream = stream
        self.problem: str | None = None
        self.began = time.monotonic()
        self.clock = time.time()  # of the first moment, seconds since the epoch
        self._last = 0
        self.line({"schema": "gdbext/trace-stream/1", "started": self.clock})

    def now(self) -> float:
        """Seconds since the trace began."""
        return time.monotonic() - self.began

    def last(self) -> Event | None:
        """The event that is kept and began last."""
        return next(reversed(self.events.values()), None)

    def number(self) -> int:
        """The id of a new event."""
        self._last += 1
        return self._last

    def put(self, event: Event) -> None:
        """Keep an event, or its newer state; the oldest ones go when there are too many."""
        if event.id not in self.events and event.id < self._last - self.limit:
            return  # it was dropped while it still ran
        self.events[event.id] = event
        if self.stream is not None:
            self._write(_event_line(event))
        while len(self.events) > self.limit:
            first = next(iter(self.events))
            add(self.earlier, self.events.pop(first))
            self.dropped += 1

    def line(self, document: dict[str, Any]) -> None:
        """One line of the stream."""
        if self.stream is not None:
            self._write(json.dumps(document))

    def _write(self, line: str) -> None:
        """It is in the kernel's hands when this returns."""
        if self.stream is None:
            return
        try:
            self.stream.write(line + "\n")
            self.stream.flush()
        except OSError as error:
            self.problem = f"writing the trace file failed: {error.strerror}"
            self.stream = None

    def clear(self) -> None:
        """Forget what was recorded; what is written stays."""
        self.events.clear()
        self.earlier.clear()
        self.dropped = 0

    def view(self, events: Sequence[Event]) -> Log:
        """A log of some of the events, for showing."""
        other = Log(self.limit, None, self.wanted)
        other.events = {event.id: event for event in events}
        other.dropped, other.clock = self.dropped, self.clock
        return other

    def close(self) -> None:
        """End the stream."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None


def open_stream(path: str) -> TextIO | None:
    """The trace file, mode 0600, emptied; None without a path. Raises Problem."""
    if not path:
        return None
    path = os.path.expanduser(path)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Problem(f"cannot write {path!r}: {error.strerror}") from error
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace")


def _event_line(event: Event) -> str:
    """`{"event": …}`; the places, which are the same in many events, are encoded once."""
    frames = ", ".join([_spot_json(spot) for spot in event.frames])
    places = f'"caller": {_spot_json(event.caller)}, "frames": [{frames}]'
    return f'{{"event": {json.dumps(_own_document(event))[:-1]}, {places}}}}}'


@lru_cache(maxsize=4096)
def _spot_json(spot: Spot | None) -> str:
    return json.dumps(spot_document(spot))


def event_document(event: Event) -> dict[str, Any]:
    """An event as JSON has it."""
    frames = [spot_document(spot) for spot in event.frames]
    return {**_own_document(event), "caller": spot_document(event.caller), "frames": frames}


def _own_document(event: Event) -> dict[str, Any]:
    before, after = event.threads
    return {
        "id": event.id,
        "parent": event.parent,
        "kind": event.kind,
        "pid": event.pid,
        "thread": event.thread,
        "lwp": event.lwp,
        "time": round(event.time, 6),
        "path": _text(event.path),
        "mode": event.mode,
        "flags": _flags(event.mode),
        "namespace": event.namespace,
        "handle": _address(event.handle),
        "module": _text(event.module),
        "function": spot_document(event.function),
        "ended": event.ended,
        "duration": None if event.duration is None else round(event.duration, 6),
        "result": _address(event.result),
        "failed": event.failed,
        "error": _text(event.error),
        "error_class": event.error_class,
        "error_reason": event.error_reason,
        "loaded": [shown(path) for path in event.loaded],
        "unloaded": [shown(path) for path in event.unloaded],
        "stays": [{"kind": stay.kind, "text": shown(stay.text)} for stay in event.stays],
        "threads_before": before,
        "threads_after": after,
        "started": list(event.started),
        "by_libc": event.by_libc,
    }


def spot_document(spot: Spot | None) -> dict[str, Any] | None:
    """A place in code as JSON has it; `offset` is a file address."""
    if spot is None:
        return None
    return {
        "pc": hex(spot.pc),
        "module": _text(spot.module),
        "offset": hex(spot.pc - spot.bias) if spot.module is not None else None,
        "build_id": spot.build_id,
        "function": _text(spot.function),
        "function_offset": hex(spot.function_offset) if spot.function is not None else None,
        "file": _text(spot.file),
        "line": spot.line,
    }


@lru_cache(maxsize=256)
def _flags(mode: int | None) -> Sequence[str] | None:
    return None if mode is None else flag_names(mode).split(" | ")


def _address(value: int | None) -> str | None:
    return None if value is None else hex(value & (1 << 64) - 1)


def _text(text: str | None) -> str | None:
    return None if text is None else shown(text)
