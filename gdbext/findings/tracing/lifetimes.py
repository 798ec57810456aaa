"""What a trace says about libraries: never closed, closed and still there, threads, slow opens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gdbext.findings.tracing.events import DLCLOSE, OPENS, RUNNING, THREAD, Event, Spot, Stay

_SLOWEST = 5


class Count(NamedTuple):
    """How often a library was opened and closed with success, and how often opening it failed."""

    opens: int = 0
    closes: int = 0
    failures: int = 0

    @property
    def unclosed(self) -> int:
        """Handles that nobody closed."""
        return max(self.opens - self.closes, 0)


class Stayed(NamedTuple):
    """A library that its last dlclose did not unload: `event` is that call's id."""

    path: str
    event: int
    reasons: tuple[Stay, ...]


class Started(NamedTuple):
    """Threads that came while a library was opened or closed.

    `before` and `after` count the process's threads around the call. `makers` are (caller, start
    routine) of each pthread_create in it that was recorded.
    """

    event: int
    path: str | None
    before: int
    after: int
    lwps: tuple[int, ...]
    makers: tuple[tuple[Spot | None, Spot | None], ...]


class Pair(NamedTuple):
    """An open and the close of the same handle: thread counts before the one, after the other."""

    path: str
    opened: int
    closed: int
    before: int
    after: int


class Summary(NamedTuple):
    """The whole of it. `counts` has every library by its path, in the order of first use."""

    counts: Mapping[str, Count]
    leaks: tuple[str, ...]
    stayed: tuple[Stayed, ...]
    started: tuple[Started, ...]
    pairs: tuple[Pair, ...]
    slowest: tuple[Event, ...]


def add(counts: dict[str, Count], event: Event) -> None:
    """Take one event into the counts; those that the log drops are counted this way too."""
    if event.kind in OPENS and event.failed:
        path = event.path or "?"
        old = counts.get(path, Count())
        counts[path] = old._replace(failures=old.failures + 1)
    elif event.kind in OPENS and event.result and event.module:
        old = counts.get(event.module, Count())
        counts[event.module] = old._replace(opens=old.opens + 1)
    elif event.kind == DLCLOSE and event.result == 0 and event.module:
        old = counts.get(event.module, Count())
        counts[event.module] = old._replace(closes=old.closes + 1)


def summarize(events: Sequence[Event], earlier: Mapping[str, Count]) -> Summary:
    """`earlier` are the counts of the events that are not kept any more."""
    counts = dict(earlier)
    for event in events:
        add(counts, event)
    timed = [e for e in events if e.kind in OPENS and e.duration is not None]
    return Summary(
        counts=counts,
        leaks=tuple(path for path, count in counts.items() if count.unclosed),
        stayed=tuple(_stayed(events)),
        started=tuple(_started(events)),
        pairs=tuple(_pairs(events)),
        slowest=tuple(sorted(timed, key=lambda e: -(e.duration or 0))[:_SLOWEST]),
    )


def _stayed(events: Iterable[Event]) -> list[Stayed]:
    """The libraries whose latest open or close left them loaded after a dlclose."""
    latest: dict[tuple[int, str], Stayed | None] = {}
    for event in sorted(events, key=lambda e: e.time + (e.duration or 0)):  # as they ended
        if event.module is None or event.ended == RUNNING:
            continue
        key = (event.pid, event.module)
        if event.kind in OPENS:
            latest.pop(key, None)
        elif event.kind == DLCLOSE and event.result == 0:
            stays = event.stays
            latest[key] = Stayed(event.module, event.id, stays) if stays else None
        for path in event.unloaded:
            latest.pop((event.pid, path), None)
    return [each for each in latest.values() if each is not None]


def _started(events: Sequence[Event]) -> Iterable[Started]:
    by_id = {event.id: event for event in events}
    makers: dict[int, list[tuple[Spot | None, Spot | None]]] = {}
    for event in events:
        if event.kind == THREAD:
            for above in _chain(by_id, event):
                if above.kind in OPENS or above.kind == DLCLOSE:
                    makers.setdefault(above.id, []).append((event.caller, event.function))
    for event in events:
        calls = makers.get(event.id, [])
        if event.kind == THREAD or not (event.started or calls):
            continue
        if event.kind not in (*OPENS, DLCLOSE):
            continue
        before, after = event.threads
        now = before if after is None else after
        path = event.module or event.path
        yield Started(event.id, path, before, now, event.started, tuple(calls))


def _chain(by_id: Mapping[int, Event], event: Event) -> Iterable[Event]:
    """The events that it happened in; a parent always has the smaller number."""
    parent = event.parent
    while parent is not None and parent in by_id and parent < event.id:
        event = by_id[parent]
        yield event
        parent = event.parent


def _pairs(events: Iterable[Event]) -> Iterable[Pair]:
    """Opens and closes that belong together and between which the number of threads changed."""
    open_now: dict[tuple[int, int], Event] = {}
    for event in events:
        if event.handle is None or event.failed:
            continue
        key = (event.pid, event.handle)
        if event.kind in OPENS:
            open_now.setdefault(key, event)
        elif event.kind == DLCLOSE and key in open_now and event.threads[1] is not None:
            opened = open_now.pop(key)
            before, after = opened.threads[0], event.threads[1]
            if before != after:
                yield Pair(event.module or "?", opened.id, event.id, before, after)
