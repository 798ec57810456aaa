"""What each thread is about: who started it, where it is, what it holds and waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.findings.tracing.opens import OPENERS
from gdbext.linker.loaded.libc import is_libc
from gdbext.linker.loaded.modules import DLOPENED, LINKER, Module
from gdbext.linker.loaded.private import LT_LOADED
from gdbext.linker.loaded.tables import Definition
from gdbext.linker.threads.loaderlocks import Mutex
from gdbext.linker.threads.syscalls import Syscall
from gdbext.linker.unloaded.unloaded import Ghost

LOCK, THREAD, MUTEX, OTHER = "lock", "thread", "mutex", "futex"
_CLOSERS = ("dlclose",)
_WAITERS = ("pthread_", "sem_", "mtx_", "cnd_", "thrd_")


class Spot(NamedTuple):
    """An address of code: in a module, in one that is gone, or in neither."""

    address: int
    module: Module | None
    ghost: Ghost | None
    definition: Definition | None


class Frame(NamedTuple):
    """One frame; `spot.address` is inside the call, `function` GDB's name where there is one."""

    level: int
    pc: int
    spot: Spot
    function: str | None
    file: str | None
    line: int | None

    @property
    def name(self) -> str | None:
        """The function, by debug info before the symbol tables and GDB's guess last."""
        own = self.spot.definition.symbol if self.spot.definition else None
        return (self.function or own) if self.file else (own or self.function)


class Wait(NamedTuple):
    """What a thread waits for: one of ld.so's locks, the end of a thread, a mutex, or a futex
    that is none of these. `owner` is the number of the thread that must go on first, `place` what
    module the futex is in, which may be one that is gone."""

    kind: str
    address: int
    owner: int | None
    name: str | None = None
    place: str | None = None


@dataclass(frozen=True)
class Thread:
    """One thread. `start` is its start routine, None with a reason; `is_main` has none.
    `stack` is an index of the stacks, None where it was not looked at."""

    number: int
    lwp: int
    name: str | None
    selected: bool
    running: bool
    syscall: Syscall | None
    is_main: bool
    start: Spot | None
    start_reason: str | None
    stack: int | None
    holds: tuple[str, ...]
    wait: Wait | None


class Deadlock(NamedTuple):
    """Threads that cannot go on. `certain` is False where the first one waits for something that
    nobody can be named for; then it is one if the others are to wake it."""

    threads: tuple[int, ...]
    text: str
    certain: bool


def is_plugin(module: Module | None) -> bool:
    """Whether a module came in by dlopen, itself or with another."""
    if module is None:
        return False
    loaded = module.private is not None and module.private.type == LT_LOADED
    return loaded or module.kind == DLOPENED


def find_wait(
    syscall: Syscall | None,
    own: int,
    locks: Sequence[Mutex],
    ended_at: Callable[[int], int | None],
    mutex_owner: Callable[[int], int | None],
    numbers: Mapping[int, int],
) -> Wait | None:
    """What a thread in a futex call waits for. `own` is its LWP, `numbers` are GDB's by LWP.

    `ended_at` gives the thread whose control block holds an address: pthread_join waits at the
    tid in it (nptl/pthread_join_common.c). `mutex_owner` gives the LWP that holds a mutex.
    """
    at = syscall.futex if syscall is not None else None
    if not at:
        return None
    for lock in locks:
        if lock.address == at:
            return Wait(LOCK, at, numbers.get(lock.owner), lock.name)
    ends = ended_at(at)
    if ends is not None and ends != numbers.get(own):
        return Wait(THREAD, at, ends)
    owner = mutex_owner(at)
    if owner is not None and owner != own:
        return Wait(MUTEX, at, numbers.get(owner))
    return Wait(OTHER, at, None)


class Running(NamedTuple):
    """A constructor or destructor that a thread is in: its frame, and the dlopen around it."""

    what: str
    frame: Frame
    call: str


def running_constructor(frames: Sequence[Frame]) -> Running | None:
    """The innermost constructor (or destructor, under dlclose) that ld.so runs on this stack: a
    frame of a library right below one of ld.so's, with dlopen further out. Between the two GDB may
    see one in no module: __do_global_dtors_aux has no unwind information."""
    placed = [f for f in frames if f.spot.module is not None or f.spot.ghost is not None]
    for inner, outer in zip(placed, placed[1:]):
        if outer.spot.module is None or outer.spot.module.kind != LINKER:
            continue
        module = inner.spot.module
        if not is_plugin(module):
            continue
        for further in frames[outer.level + 1 :]:
            name = (further.name or "").lstrip("_")
            if name in OPENERS or name.startswith(("dlopen", "dlmopen")):
                return Running("constructor", inner, "dlopen")
            if name in _CLOSERS or name.startswith("dlclose"):
                return Running("destructor", inner, "dlclose")
        # The frames further out may be lost: only dlopen runs constructors of such a library.
        return Running("constructor", inner, "dlopen")
    return None


def waiting_call(frames: Sequence[Frame]) -> str | None:
    """The function of libc that waits, such as pthread_cond_wait: the outermost of POSIX's before
    other code, as where a destructor that exit() runs is one; else the outermost of any name."""
    names: list[str] = []
    for frame in frames:
        module = frame.spot.module
        if module is None or not is_libc(module):
            break
        if frame.name:
            names.insert(0, frame.name.removeprefix("__GI_").lstrip("_"))
    return next((name for name in names if name.startswith(_WAITERS)), names[0] if names else None)


def find_deadlocks(
    threads: Sequence[Thread],
    frames_of: Callable[[Thread], Sequence[Frame]],
    title: Callable[[Thread], str],
    function: Callable[[Frame], str],
) -> list[Deadlock]:
    """Circles of threads that wait for each other, and holders of ld.so's lock that wait for
    something while others wait for that lock."""
    by_number = {t.number: t for t in threads}
    found: list[Deadlock] = []
    done: set[int] = set()
    for thread in threads:
        circle = _circle(thread, by_number)
        if circle and circle[0] not in done:
            done.update(circle)
            members = _lock_holder_first([by_number[n] for n in circle])
            parts = [_part(t, frames_of(t), title, function) for t in members]
            found.append(Deadlock(tuple(t.number for t in members), "; ".join(parts), certain=True))
    for thread in threads:
        if not thread.holds or thread.number in done:
            continue
        if thread.wait is None or thread.wait.kind != OTHER:
            continue
        others = [t for t in threads if t.wait and t.wait.owner == thread.number]
        if others:
            shown = [thread, *others[:3]]
            parts = [_part(t, frames_of(t), title, function) for t in shown]
            if len(others) > 3:
                parts.append(f"{len(others) - 3} more wait for it")
            numbers = (thread.number, *(t.number for t in others))
            found.append(Deadlock(numbers, "; ".join(parts), certain=False))
    return found


def _circle(start: Thread, by_number: Mapping[int, Thread]) -> list[int]:
    """The circle that following waits from `start` leads into, [] when there is none."""
    way: list[int] = []
    thread: Thread | None = start
    while thread is not None and thread.number not in way:
        way.append(thread.number)
        owner = thread.wait.owner if thread.wait else None
        thread = by_number.get(owner) if owner is not None else None
    return way[way.index(thread.number) :] if thread is not None else []


def _lock_holder_first(members: list[Thread]) -> list[Thread]:
    place = next((i for i, t in enumerate(members) if t.holds), 0)
    return members[place:] + members[:place]


def _part(
    thread: Thread,
    frames: Sequence[Frame],
    title: Callable[[Thread], str],
    function: Callable[[Frame], str],
) -> str:
    parts = []
    constructor = running_constructor(frames)
    if thread.holds:
        parts.append(f"holds {' and '.join(thread.holds)}")
    if constructor is not None:
        code = function(constructor.frame)
        parts.append(f"runs the {constructor.what} {code} inside {constructor.call}")
    if thread.wait is not None:
        call = waiting_call(frames)
        way = f" ({call})" if call else ""
        parts.append(f"waits for {wait_text(thread.wait)}{way}")
    return f"{title(thread)} {', '.join(parts[:-1]) + ' and ' if parts[1:] else ''}{parts[-1]}"


def wait_text(wait: Wait) -> str:
    """What a thread waits for, in words."""
    owner = f"thread {wait.owner}" if wait.owner is not None else "a thread that is not here"
    if wait.kind == LOCK:
        holder = f", which {owner} holds" if wait.owner is not None else ""
        return f"the dynamic linker's lock {wait.name}{holder}"
    if wait.kind == THREAD:
        return f"the end of {owner}"
    place = f" in {wait.place}" if wait.place else ""
    if wait.kind == MUTEX:
        return f"a mutex at {wait.address:#x}{place}, which {owner} holds"
    return f"a futex at {wait.address:#x}{place}"
