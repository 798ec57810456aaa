"""The recorder's breakpoints in all processes: where they are set, when they rest, when they go."""

from __future__ import annotations

from collections.abc import Iterable

import gdb

from gdbext import loads
from gdbext.elf.problem import Problem
from gdbext.findings.tracing.events import CONSTRUCTOR, DESTRUCTOR
from gdbext.inferior import Inferior
from gdbext.linker.init.initarrays import functions_to_call
from gdbext.stops.recorder.arguments import LIBC_OWN
from gdbext.stops.recorder.calls import Call, Traced
from gdbext.stops.recorder.failures import EVERY_FAILURE, RAISED_AGAIN, keeps_results
from gdbext.stops.recorder.hits import Recorder
from gdbext.stops.recorder.modules import Record, linker_record
from gdbext.stops.recorder.points import Entry, Failure, Function, Point, Return
from gdbext.stops.recorder.registers import thread_pointer
from gdbext.stops.recorder.sites import HOLDERS, LINKERS, find_entries, find_site, holds

_OPENS = frozenset({"dlopen", "dlmopen", "dlclose", *LIBC_OWN})
_MOST_FUNCTIONS = 2000


class Armed:
    """The breakpoints of one recorder, by address."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.points: dict[int, Point] = {}

    def arm(self) -> None:
        """Set those that are missing, in what is loaded now."""
        try:
            inferior = Inferior()
            if inferior.target == "core":
                return
            process = self.recorder.process()
            process.refresh(self.recorder.log)
        except (Problem, gdb.error):
            return  # no process yet: tried again when there is one
        live: list[Record | None] = list(process.book.live.values())
        records = [r for r in live or [linker_record(inferior)] if r is not None]
        libcs = [r for r in records if holds(r.path, HOLDERS)]
        kept = any(keeps_results(process.memory, r) for r in libcs)
        every = bool(libcs) and not (kept and thread_pointer(process.arch) is not None)
        for record in records:
            if record in libcs or holds(record.path, LINKERS):
                self._arm_library(process, record, every)
        if self.points:
            loads.traced[process.pid] = process.gone

    def _arm_library(self, process: Traced, record: Record, every: bool) -> None:
        """`every`: failures are to be seen as they are raised, not only those of libc's own
        opens."""
        recorder, points = self.recorder, self.points
        failures = EVERY_FAILURE if every else frozenset()
        if holds(record.path, LINKERS):
            failures |= RAISED_AGAIN
        names = _OPENS
        if recorder.options.dlsym:
            names |= {"dlsym", "dlvsym"}
        if recorder.options.threads:
            names |= {"pthread_create"}
        for address, name in find_entries(process.memory, record, names | failures).items():
            if address in points:
                continue
            if name in failures:
                points[address] = Failure(recorder, name, address)
                recorder.watches_failures |= every
                continue
            site = find_site(process.memory, record, address, name)
            if not site.returns:
                recorder.note(f"{name} of {record.path}: where it returns could not be found")
            returns = []
            for each in site.returns:
                point = points.get(each) or Return(recorder, site, each)
                points[each] = point
                if isinstance(point, Return):
                    returns.append(point)
            points[address] = Entry(recorder, site, tuple(returns))

    def arm_functions(self, process: Traced, record: Record) -> None:
        """Those on a library's constructors and destructors, before any of them runs."""
        if record.image is None:
            return
        found = functions_to_call(process.memory, record.image)
        for kind, addresses in zip((CONSTRUCTOR, DESTRUCTOR), found):
            for address in addresses:
                if address in self.points and self.points[address].is_valid():
                    continue
                if len(self.points) > _MOST_FUNCTIONS:
                    limit = f"only {_MOST_FUNCTIONS} constructors are watched at a time"
                    self.recorder.note(limit)
                    return
                self.points[address] = Function(self.recorder, kind, address, record.path)

    def rest(self, closed: Call) -> None:
        """The return of a dlclose that is known to succeed is not stopped at: half of what the
        trace of a close costs. Its breakpoint rests until the next dlclose begins."""
        entry = self.points.get(closed.site)
        others = any(process.closing() for process in self.recorder.processes.values())
        if isinstance(entry, Entry) and not others:
            entry.rest()

    def leave(self, process: Traced) -> None:
        """Delete those in libraries that are gone: GDB stops a program in which it cannot insert
        one."""
        gone = process.departed
        for address in [a for a in self.points if any(r.start <= a < r.end for r in gone)]:
            _delete([self.points.pop(address)])
        gone.clear()

    def delete(self) -> None:
        """Delete all of them."""
        _delete(self.points.values())
        self.points.clear()

    def abandon(self) -> None:
        """The same where GDB walks its breakpoints: 13.1 crashes when several are deleted there
        (seen at an exec)."""
        old = list(self.points.values())
        self.points.clear()
        for point in old:
            if point.is_valid():
                point.enabled = False
        gdb.post_event(lambda: _delete(old))


def _delete(points: Iterable[Point]) -> None:
    for point in points:
        if point.is_valid():
            point.delete()
