"""The facts of plug-threads, also for the post-mortem: threads, stacks, locks, deadlocks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gdbext.elf.problem import Unreadable
from gdbext.findings.crash.description import module_offset, unloaded_name
from gdbext.findings.threads import (
    MUTEX,
    OTHER,
    Deadlock,
    Frame,
    Spot,
    Thread,
    Wait,
    find_deadlocks,
    find_wait,
)
from gdbext.inferior.crowd import RawThread, read_crowd
from gdbext.inferior.framerecords import read_all_frames
from gdbext.inferior.frames import Frame as RawFrame
from gdbext.inferior.frames import careful, definition_text, demangle
from gdbext.linker.loaded.alone import read_linker_or_images
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.places import Map
from gdbext.linker.threads.loaderlocks import NO_LOCKS, Mutex, read_loader_locks, read_mutex_owner
from gdbext.linker.threads.startroutines import LEAST_SIZES, StartRoutines, read_descriptors
from gdbext.linker.threads.syscalls import INTERFACES, Syscall, decode_syscall

if TYPE_CHECKING:
    from gdbext.inferior import Inferior

_BEFORE = 4  # bytes before a PC that may be the system call instruction
NO_START = "this C library does not tell where it keeps the start routine, nor do the frames"
NO_POINTER = "the thread pointer is not known"


class Group(NamedTuple):
    """Threads that do the same: one stack, one start routine, one wait."""

    threads: list[Thread]
    frames: list[Frame]


class ThreadFacts(NamedTuple):
    """All threads, their stacks by index, ld.so's locks, deadlocks, and what is not known."""

    threads: list[Thread]
    stacks: list[list[Frame]]
    groups: list[Group]
    locks: list[Mutex]
    locks_reason: str | None
    deadlocks: list[Deadlock]
    notes: list[str]


class _Look(NamedTuple):
    inferior: Inferior
    linker: Linker | None
    space: Map
    spots: dict[int, Spot]

    def spot(self, address: int) -> Spot:
        """What is at an address of code."""
        address = self.inferior.arch.code_address(address)
        found = self.spots.get(address)
        if found is None:
            found = self.spots[address] = self._spot(address)
        return found

    def _spot(self, address: int) -> Spot:
        module = self.linker.owner(address) if self.linker else None
        if module is not None:
            name = self.inferior.tables.name(module, address) or self.space.function(address)
            return Spot(address, module, None, name)
        ghost = self.space.ghost(address)
        return Spot(address, None, ghost, ghost.definition if ghost else None)

    def function_start(self, address: int) -> int | None:
        """Where the function around an address starts."""
        spot = self.spot(address)
        return spot.address - spot.definition.offset if spot.definition else None


def read_thread_facts(inferior: Inferior, last_signal: Sequence[str]) -> ThreadFacts:
    """Everything that plug-threads says."""
    linker, problem = read_linker_or_images(inferior)
    space = careful(inferior.map(linker), last_signal)
    look = _Look(inferior, linker, space, {})
    interface = INTERFACES[inferior.arch.name]
    crowd = read_crowd(
        inferior.gdb,
        inferior.arch,
        inferior.memory,
        interface.registers,
        lambda word: linker is not None and linker.owner(word) is not None,
        lambda most: read_all_frames(inferior, most, linker),
    )
    stacks = [[_frame(look, i, f) for i, f in enumerate(s.frames)] for s in crowd.stacks]
    locks = read_loader_locks(inferior.memory, linker, inferior.tables) if linker else []
    named = [r._replace(name=inferior.thread_names.get(r.lwp, r.name)) for r in crowd.threads]
    threads = _threads(look, named, stacks, locks)
    deadlocks = find_deadlocks(
        threads,
        lambda t: stacks[t.stack] if t.stack is not None else [],
        lambda t: f"thread {t.number}" + (f' "{t.name}"' if t.name else ""),
        frame_text,
    )
    notes = [*crowd.notes, *([problem] if problem else [])]
    groups = _groups(threads, stacks)
    return ThreadFacts(
        threads, stacks, groups, locks, None if locks else NO_LOCKS, deadlocks, notes
    )


def _frame(look: _Look, level: int, frame: RawFrame) -> Frame:
    return Frame(level, frame.pc, look.spot(frame.lookup), frame.function, frame.file, frame.line)


def _threads(
    look: _Look, raws: Sequence[RawThread], stacks: list[list[Frame]], locks: Sequence[Mutex]
) -> list[Thread]:
    inferior, linker = look.inferior, look.linker
    memory, arch = inferior.memory, inferior.arch
    numbers = {r.lwp: r.number for r in raws}
    routines: StartRoutines | None = None
    size = LEAST_SIZES[arch.name]
    if linker is not None:
        descriptors = read_descriptors(memory, linker, inferior.tables)
        size = descriptors.size or size
        routines = StartRoutines(memory, arch, linker, descriptors, look.function_start)
    # Without a C library, as in Go's static programs, the thread pointer leads to anything.
    libc = linker is not None and bool(linker.namespaces)
    blocks = _Blocks(raws if libc else (), size, arch.tls_below_pointer)
    lwps = set(numbers)
    # The first thread of the kernel's is the one whose LWP is the process's id.
    first = min(raws, key=lambda r: r.number).number if raws else None
    threads = []
    for raw in raws:
        call = _syscall(look, raw)
        frames = stacks[raw.stack] if raw.stack is not None else []
        is_main = raw.lwp == inferior.gdb.pid or (
            inferior.gdb.pid not in numbers and raw.number == first
        )
        start = None
        if not is_main and routines is not None:
            start = routines.of(raw.thread_pointer, [f.spot.address for f in frames[-4:]])
        reason = None
        if not start and not is_main:
            reason = NO_START if raw.thread_pointer else NO_POINTER
        threads.append(
            Thread(
                raw.number, raw.lwp, raw.name, raw.selected, raw.running, call, is_main,
                look.spot(start) if start else None, reason, raw.stack,
                tuple(m.name for m in locks if m.held and m.owner == raw.lwp),
                _placed(look, find_wait(
                    call, raw.lwp, locks, blocks,
                    lambda at: read_mutex_owner(memory, at, lwps), numbers,
                )),
            )
        )  # fmt: skip
    return threads


def _placed(look: _Look, wait: Wait | None) -> Wait | None:
    """A wait with the module that its mutex or futex is in."""
    if wait is None or wait.kind not in (MUTEX, OTHER):
        return wait
    spot = look.spot(wait.address)
    return wait._replace(place=spot_text(spot)) if spot.module or spot.ghost else wait


class _Blocks:
    """Which thread's control block holds an address."""

    def __init__(self, raws: Sequence[RawThread], size: int, below: bool) -> None:
        self._rows = sorted(
            (r.thread_pointer if below else r.thread_pointer - size, r.number)
            for r in raws
            if r.thread_pointer
        )
        self._starts = [row[0] for row in self._rows]
        self._size = size

    def __call__(self, address: int) -> int | None:
        place = bisect_right(self._starts, address) - 1
        if place < 0 or address >= self._starts[place] + self._size:
            return None
        return self._rows[place][1]


def _syscall(look: _Look, raw: RawThread) -> Syscall | None:
    if raw.pc is None:
        return None
    interface = INTERFACES[look.inferior.arch.name]
    try:
        before = look.inferior.memory.read(raw.pc - _BEFORE, _BEFORE)
    except Unreadable:
        return None
    return decode_syscall(interface, before, raw.values)


def _groups(threads: Sequence[Thread], stacks: list[list[Frame]]) -> list[Group]:
    """Threads together that do the same, in the order of their first one's number."""
    found: dict[tuple[object, ...], Group] = {}
    shapes = [tuple(f.pc for f in stack) for stack in stacks]
    places: dict[tuple[int, ...], int] = {}
    for thread in threads:
        key = (
            places.setdefault(shapes[thread.stack], thread.stack)
            if thread.stack is not None
            else -thread.number,
            thread.start, thread.is_main, thread.running, thread.syscall and thread.syscall.name,
            thread.holds, thread.wait and (thread.wait.kind, thread.wait.owner, thread.wait.name),
        )  # fmt: skip
        frames = stacks[thread.stack] if thread.stack is not None else []
        found.setdefault(key, Group([], frames)).threads.append(thread)
    return list(found.values())


def spot_text(spot: Spot) -> str:
    """Module, offset and symbol of an address of code."""
    name = f" {definition_text(spot.definition)}" if spot.definition else ""
    if spot.module is not None:
        return module_offset(spot.module, spot.address) + name
    if spot.ghost is not None:
        how = "unloaded, probable" if spot.ghost.library.probable else "unloaded"
        symbol = f", {name.strip()}" if name else ""
        return f"{unloaded_name(spot.ghost.library)} ({how}), +{spot.ghost.offset:#x}{symbol}"
    return f"{spot.address:#x}, in no module"


def frame_text(frame: Frame) -> str:
    """Module, offset and function of a frame."""
    if frame.spot.module is None:
        return spot_text(frame.spot)
    name = f" {demangle(frame.name)}" if frame.name else ""
    return module_offset(frame.spot.module, frame.pc) + name
