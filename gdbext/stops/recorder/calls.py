"""The calls that run in one process, thread by thread, and how each of them ends.

A call ends when its function's `ret` is reached with the stack pointer that it began with, and a
dlclose as soon as GDB hears that its library is gone: nothing that can fail comes after. A call
that never gets there (longjmp, an exception out of a constructor) is found out when its thread
is seen with a stack pointer above it, or when a later call is not above it on the stack.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

import gdb

from gdbext import loads
from gdbext.elf.arch import Arch
from gdbext.elf.reader import Memory
from gdbext.findings.tracing.events import (
    CONSTRUCTOR,
    DESTRUCTOR,
    DLCLOSE,
    ENDED,
    OPENS,
    PASSED,
    UNWOUND,
    Event,
)
from gdbext.inferior.memory import GdbMemory
from gdbext.linker.loaded.needed import read_needed
from gdbext.stops.recorder.failures import Held
from gdbext.stops.recorder.frames import Backtraces, is_below
from gdbext.stops.recorder.log import Log
from gdbext.stops.recorder.modules import ModuleBook, Record
from gdbext.stops.recorder.stays import Stays

_CHANGING = frozenset({*OPENS, DLCLOSE})


@dataclass
class Call:
    """A call that runs. `site` is the function's address, `sp` the stack pointer at its entry."""

    event: Event
    site: int
    sp: int
    began: float
    kept: bool  # it is in the log
    back: int  # the return address
    out: int = 0  # where pthread_create is to put the new thread's id
    has_closed: bool = False  # a dlclose was called in it
    has_changed: bool = False  # GDB has heard of a library that came or went in it
    loaded: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()


@dataclass
class Traced:
    """One process."""

    pid: int
    arch: Arch
    inferior: gdb.Inferior
    book: ModuleBook = field(default_factory=ModuleBook)
    stays: Stays = field(default_factory=Stays)
    held: Held = field(default_factory=Held)
    calls: dict[int, list[Call]] = field(default_factory=dict)  # by LWP, outermost first
    modes: dict[int, int] = field(default_factory=dict)  # all flags that a handle was opened with

    came: list[str] = field(default_factory=list)  # by which of several threads is not known yet
    went: list[Record] = field(default_factory=list)
    watched: bool = True  # its breakpoints are set
    departed: list[Record] = field(default_factory=list)  # our breakpoints in them are to go
    unreported: set[str] = field(default_factory=set)  # names of those that libc itself opened

    def __post_init__(self) -> None:
        self.memory: Memory = GdbMemory(self.inferior)
        self.frames = Backtraces(self.arch, self.book)

    def refresh(
        self,
        log: Log,
        opened: int | None = None,
        closed: int | None = None,
        whole: bool = False,
        lwp: int | None = None,
    ) -> None:
        """Look for libraries that came or went, and say so in the calls that they belong to.

        `opened` is the handle that dlopen gave, `closed` the one that dlclose was given; `whole`:
        in every namespace, whatever the base one's number of entries says; `lwp`: the thread that
        did it, where that is known."""
        came, went = self.book.walk() if whole else self.book.refresh(self.memory, opened, closed)
        loads.unloads.extend(map(self._unload, went))
        self.departed += went
        self.came += [record.path for record in came]
        self.went += went
        if self.came or self.went:
            self._attribute(log, lwp)

    def _attribute(self, log: Log, lwp: int | None) -> None:
        """The innermost open or close that runs did it. Of several threads any may have: it is
        known when the one that did stops in ld.so, or else when its call returns."""
        changing = [call for call in map(innermost, self.calls.values()) if call is not None]
        if lwp is not None:  # nobody else has changed the lists since the last such stop
            call = innermost(self.calls.get(lwp, []))
        elif len(changing) > 1:
            return
        else:
            call = changing[0] if changing else None
        came, went = self.came, [record.path for record in self.went]
        if lwp is None and went:  # what came and went is some failed open's
            came, went = [p for p in came if p not in went], [p for p in went if p not in came]
        if call is not None:
            _add(log, call, tuple(came), tuple(went))
        else:
            self.unreported |= {path.rpartition("/")[2] for path in came}
        self.came.clear()
        self.went.clear()

    def claim(self, log: Log, call: Call, record: Record) -> None:
        """An open returns: of what nobody has claimed, its library is its own, and what that
        needs (DT_NEEDED)."""
        todo = [record]
        while self.came and todo:
            each = todo.pop()
            if each.path in self.came:
                self.came.remove(each.path)
                _add(log, call, (each.path,), ())
            names = read_needed(self.memory, each.image)[1] or ()
            todo += [
                r
                for r in self.book.live.values()
                if r.path in self.came and r.path.rpartition("/")[2] in names
            ]

    def claim_gone(self, log: Log, call: Call) -> None:
        """A close returns: if its own library is gone and nobody has claimed that, because GDB
        does not tell what goes, it is its own, and what no other close was given. What came and
        went in the meantime is a failed open's."""
        own = call.event.handle
        others = {c.event.handle for c in self.closing() if c is not call}
        if own not in others and any(r.map.address == own for r in self.went):
            mine = [r for r in self.went if r.map.address not in others and r.path not in self.came]
            self.went = [r for r in self.went if r not in mine]
            _add(log, call, (), tuple([r.path for r in mine]))

    def gone(self, live: Set[loads.MapId]) -> list[loads.Unload]:
        """What was loaded at the last look and is not among these link_maps."""
        return [
            self._unload(record)
            for record in self.book.live.values()
            if (record.map.address, record.map.l_addr, record.map.l_ld) not in live
        ]

    def _unload(self, gone: Record) -> loads.Unload:
        return loads.Unload(self.pid, gone.path, gone.start, gone.end, gone.build_id)

    def over(self, log: Log) -> None:
        """The process is gone, and with it what ran."""
        for calls in self.calls.values():
            while calls:
                call = calls.pop()
                passed = call.event.kind in (CONSTRUCTOR, DESTRUCTOR)
                self.end(log, call, PASSED if passed else ENDED)

    def settle(self, log: Log, lwp: int, sp: int) -> list[Call]:
        """The calls of a thread that still run, its stack pointer being `sp`."""
        calls = self.calls.setdefault(lwp, [])
        while calls and calls[-1].sp <= sp:
            self.leave(log, calls)
        pop = 0 if self.arch.link_register else 8  # x86-64's `ret` takes the address off
        while calls and is_below(self.arch, calls[-1].sp + pop, calls[-1].back) is False:
            self.leave(log, calls)
        return calls

    def is_seen_again(self, lwp: int, site: int, sp: int, back: int) -> bool:
        """Whether a function's entry is that of the call which runs: where a signal comes while
        GDB steps off the breakpoint, GDB is there once more when its handler has returned
        (infrun.c, handle_signal_stop). A call that was left by longjmp or an exception and made
        again looks the same, but that only a constructor or destructor can do."""
        calls = self.calls.get(lwp)
        if not calls or calls[-1].has_changed:
            return False
        return (calls[-1].site, calls[-1].sp, calls[-1].back) == (site, sp, back)

    def note_change(self, lwp: int) -> None:
        """A library comes or goes in what a thread calls."""
        for call in self.calls.get(lwp, ()):
            call.has_changed = True

    def leave(self, log: Log, calls: list[Call]) -> None:
        """A constructor's return is not watched: that the next one runs shows that it is over."""
        call = calls.pop()
        passed = call.event.kind in (CONSTRUCTOR, DESTRUCTOR)
        self.end(log, call, PASSED if passed else UNWOUND)

    def end(self, log: Log, call: Call, how: str, **found: Any) -> None:  # noqa: ANN401
        """A call is over; `found` are the fields of its event that are known since."""
        call.event = call.event._replace(
            ended=how,
            duration=max(log.now() - call.began, 0.0),
            loaded=call.loaded,
            unloaded=call.unloaded,
            **found,
        )
        if call.kept:
            log.put(call.event)

    def closing(self) -> list[Call]:
        """The dlcloses that run, in all of its threads."""
        return [c for calls in self.calls.values() for c in calls if c.event.kind == DLCLOSE]

    def thread_count(self) -> int:
        """How many threads GDB knows."""
        return len(self.inferior.threads())

    def record(self, handle: int) -> Record | None:
        """The module of a handle, which is its link_map (in musl its struct dso)."""
        return self.book.live.get(handle)


def innermost(calls: list[Call]) -> Call | None:
    """The latest of a thread's calls that opens or closes."""
    return next((call for call in reversed(calls) if call.event.kind in _CHANGING), None)


def _add(log: Log, call: Call, came: tuple[str, ...], went: tuple[str, ...]) -> None:
    call.loaded += came
    call.unloaded += went
    call.kept = call.kept or any(map(log.wanted, (*came, *went)))
