"""Which constructors and destructors have run, are running, or have not run yet.

l_init_called is set before a module's constructors are called and cleared before its destructors
are (glibc, elf/dl-init.c and elf/dl-fini.c), so it cannot tell "running" from "has run": for
that the functions are looked for on the stacks, where ld.so called them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.linker.init.initfini import INIT, INIT_ARRAY, PREINIT_ARRAY, START, Function, Step
from gdbext.linker.init.initorder import REVERSE, InitOrder
from gdbext.linker.loaded.modules import LINKER, MAIN, Linker, Module
from gdbext.linker.threads.threads import Stack

RUN, RUNNING, NOT_YET = "run", "running", "not yet"
_BEGINNING = (PREINIT_ARRAY, INIT, INIT_ARRAY)
_ENTRY_SIZE = 64  # bytes; _start is shorter (glibc, sysdeps/*/start.S)
_START_FILE_SIZE = 48  # bytes; crti.o's functions are shorter
_AFTER = ("main", "exit", "__GI_exit", "__run_exit_handlers")
_LEAVING = ("exit", "_Exit", "__libc_exit_fini", "_exit")
_MUSL_LEAVES = (
    "musl keeps no mark of the destructors it has called, and the stacks show exit() or do not "
    "go as far as main()"
)
_NO_FIELD = "this dynamic linker's mark of what was initialized could not be located"
_NO_STACK = (
    "the program's own constructors are called by libc, which keeps no mark of that, and no stack "
    "could be followed up to the program's start"
)
_LEFT_FRAME = "it left its frame by a tail call, so the stack does not say which function it is"


class Active(NamedTuple):
    """A constructor or destructor on a stack; `function` is None where it left its frame."""

    module: Module
    function: Function | None
    thread: int


@dataclass(frozen=True)
class Turn:
    """A step with its state: RUN, RUNNING, NOT_YET or None with a reason.

    `states` are those of its functions; `active` what the stack shows of it.
    """

    step: Step
    state: str | None
    reason: str | None
    states: tuple[str | None, ...]
    active: Active | None


@dataclass(frozen=True)
class Look:
    """What the states are told by. `starts` gives the functions' starts of a module, sorted;
    `symbol_start` where the symbol that covers an address starts."""

    linker: Linker
    order: InitOrder
    stacks: Sequence[Stack]
    starts: Callable[[Module], tuple[int, ...]]
    symbol_start: Callable[[Module, int], int | None]


def take_turns(
    look: Look, beginning: Sequence[Step], ending: Sequence[Step]
) -> tuple[list[Turn], list[Turn]]:
    """The states of all constructors and of all destructors."""
    known = [f for step in (*beginning, *ending) for f in step.functions]
    active = list(_on_stacks(look, known))
    ends = frozenset(step.module.map.address for step in ending if step.functions)
    gone = _finished(look, active, ends)
    front = _frontiers(look, beginning)
    first = [_constructor_turn(look, s, beginning, active, gone, front) for s in beginning]
    last = [_destructor_turn(look, step, active, gone) for step in ending]
    return first, _by_order(look, last) if look.order.algorithm == REVERSE else last


def _by_order(look: Look, turns: list[Turn]) -> list[Turn]:
    """For musl, which has no mark for destructors: they run at exit alone, so one tells of all."""
    running = [i for i, turn in enumerate(turns) if turn.state == RUNNING]
    if running:
        return [_settled(t.step, RUN, None) if i < running[0] else t for i, t in enumerate(turns)]
    names = {frame.name for stack in look.stacks for frame in stack.frames}
    begun = look.order.called.get(look.linker.modules[0].map.address)
    if not begun or (_first_stack(look) is not None and names.isdisjoint(_LEAVING)):
        return turns
    return [_settled(turn.step, None, _MUSL_LEAVES) for turn in turns]


def _on_stacks(look: Look, known: Sequence[Function]) -> Iterable[Active]:
    """The constructors and destructors whose frames are on a stack, called by ld.so or libc."""
    addresses = sorted({f.address for f in known if f.address is not None})
    by_address = {f.address: f for f in reversed(known)}
    for stack in look.stacks:
        owners = [look.linker.owner(frame.lookup) for frame in stack.frames]
        for frame, owner, outer in zip(stack.frames, owners, owners[1:]):
            if owner is None or outer is None:
                continue
            start = _function_start(look, owner, frame.lookup, addresses)
            function = by_address.get(start) if start is not None else None
            if function is not None and _calls(outer, function):
                # One library may have another's function in its array: the step decides.
                yield Active(function.module or owner, function, stack.thread)
            elif function is None and outer.kind == LINKER and owner.kind != LINKER:
                yield Active(owner, None, stack.thread)


def _calls(outer: Module, function: Function) -> bool:
    """ld.so calls them; libc, or before glibc 2.34 the program itself, those of the program."""
    return outer.kind == LINKER or (function.module is not None and function.module.kind == MAIN)


def _function_start(look: Look, module: Module, address: int, known: Sequence[int]) -> int | None:
    """Where the function around `address` starts, if it is one of `known`.

    Unwind tables name the starts of nearly all functions. What has no such entry, as crti.o's
    `_init` or all of musl, must be named by a symbol or be close.
    """
    place = bisect_right(known, address)
    nearest = known[place - 1] if place else 0
    if module.image is None or nearest < module.image.start:
        return None
    starts = look.starts(module)
    behind = bisect_right(starts, address)
    if behind and starts[behind - 1] >= nearest:
        return nearest if starts[behind - 1] == nearest else None
    named = look.symbol_start(module, address)
    if named is not None:
        return nearest if named == nearest else None
    return nearest if address - nearest < _START_FILE_SIZE else None


def _first_stack(look: Look) -> Stack | None:
    """The stack that begins in the program's entry point, or as far as main().

    GDB ends a stack at main() unless `backtrace past-main` is on.
    """
    main = look.linker.modules[0]
    for stack in look.stacks:
        owners = [look.linker.owner(frame.lookup) for frame in stack.frames]
        for index, (frame, owner) in enumerate(zip(stack.frames, owners), 1):
            # What GDB finds beyond the entry point, if it does not know its symbol, is nothing.
            last = index == len(owners) and frame.name == "main"
            if owner is main and (last or _at_entry(main, frame.lookup)):
                return stack._replace(frames=stack.frames[:index])
    return None


def _at_entry(main: Module, address: int) -> bool:
    entry = main.image.bias + main.image.header.entry if main.image else 0
    return entry <= address < entry + _ENTRY_SIZE


def _finished(look: Look, active: Sequence[Active], ends: frozenset[int]) -> frozenset[int]:
    """The modules whose destructors have been called: their mark is cleared again.

    That is so when the program, which comes first at exit, has lost its mark though its entry
    point was reached, or when a destructor is on a stack. `ends`: the modules that have some.
    """
    called = look.order.called
    entered = _first_stack(look) is not None
    leaving = entered and called.get(look.linker.modules[0].map.address) is False

    def unmarked(module: Module) -> bool:
        relocated = module.private.relocated if module.private else None
        return called.get(module.map.address) is False and relocated is not False

    ending = {
        a.module.map.address
        for a in active
        if (a.function is not None and a.function.kind not in _BEGINNING)
        or (a.function is None and entered and a.module.map.address in ends and unmarked(a.module))
    }
    if not leaving and not ending:
        return frozenset()
    listed = (look.linker.by_map[each] for each in called if each in look.linker.by_map)
    return frozenset({m.map.address for m in listed if unmarked(m)} | ending)


def _frontiers(look: Look, beginning: Sequence[Step]) -> frozenset[int]:
    """Where the initialization stands: at the start and in each dlopen the last module whose
    constructors were called. When all were, that is the opened library itself."""
    groups: dict[tuple[str, int], list[Step]] = {}
    for step in beginning:
        if step.when == START or step.root is not None:
            root = step.root.map.address if step.root else 0
            groups.setdefault((step.when, root), []).append(step)
    found = set()
    for group in groups.values():
        begun = [s.module for s in group if look.order.called.get(s.module.map.address)]
        if begun and begun[-1].kind != MAIN:
            found.add(begun[-1].map.address)
    return frozenset(found)


def _constructor_turn(
    look: Look,
    step: Step,
    every: Sequence[Step],
    active: Sequence[Active],
    gone: frozenset[int],
    front: frozenset[int],
) -> Turn:
    address = step.module.map.address
    own = {f.address for f in step.functions if f.address is not None}
    # musl's linker is its libc, which calls many functions; but it has a mark for "running".
    by_frame = look.order.algorithm != REVERSE and step.module.kind != MAIN
    may_have_left = by_frame and address in front and bool(step.functions)
    for each in active:
        if each.function is not None and each.function.address in own:
            return _running(step, each)
        if each.function is None and each.module is step.module and may_have_left:
            return _running(step, each)
    if address in look.order.visited:
        return _running(step, Active(step.module, None, 0))
    if address in gone:
        return _settled(step, RUN, None)
    called = look.order.called.get(address)
    if step.functions and step.functions[0].kind == PREINIT_ARRAY:
        return _settled(step, *_preinit(look, step, every))
    if called is False:
        return _settled(step, NOT_YET, None)
    if step.caller == "libc":
        return _settled(step, *_own(look, active))
    if called is None:
        return _settled(step, None, _NO_FIELD)
    return _settled(step, RUN, None)


def _preinit(look: Look, step: Step, every: Sequence[Step]) -> tuple[str | None, str | None]:
    """The program's DT_PREINIT_ARRAY has no mark: what comes behind it tells."""
    behind = [s.module.map.address for s in every[every.index(step) + 1 :]]
    marks = [look.order.called.get(each) for each in behind]
    if any(marks):
        return RUN, None
    return (NOT_YET, None) if False in marks else (None, _NO_FIELD)


def _own(look: Look, active: Sequence[Active]) -> tuple[str | None, str | None]:
    """The program's own constructors: libc calls main() or exit() when they have run.

    From glibc 2.34 on, another function than calls the constructors calls main().
    """
    if any(a.function is not None and a.function.kind not in _BEGINNING for a in active):
        return RUN, None
    stack = _first_stack(look)
    main = look.linker.modules[0]
    between: set[int | None] = set()
    libc: Module | None = None
    for frame in reversed(stack.frames if stack else ()):
        owner = look.linker.owner(frame.lookup)
        if frame.name in _AFTER:
            return RUN, None
        if owner is None or (owner is main and _at_entry(main, frame.lookup)):
            continue
        libc = libc or owner  # what the entry point calls
        if owner is not libc:  # main() or, after a tail call, what it called last
            return (RUN, None) if len(between) > 1 else (None, _NO_STACK)
        starts = look.starts(owner)
        place = bisect_right(starts, frame.lookup)
        between.add(starts[place - 1] if place else None)
    return None, _NO_STACK


def _destructor_turn(
    look: Look, step: Step, active: Sequence[Active], gone: frozenset[int]
) -> Turn:
    address = step.module.map.address
    own = {f.address for f in step.functions if f.address is not None}
    for each in active:
        if each.function is not None and each.function.address in own:
            return _running(step, each)
        if each.function is None and each.module is step.module and address in gone:
            return _running(step, each)
    if address in gone:
        return _settled(step, RUN, None)
    if look.order.called.get(address) is None:
        return _settled(step, None, _NO_FIELD)
    return _settled(step, NOT_YET, None)


def _running(step: Step, active: Active) -> Turn:
    """The functions before the one on the stack have run, those behind it have not."""
    if active.function is None:
        return Turn(step, RUNNING, _LEFT_FRAME, (None,) * len(step.functions), active)
    place = next(i for i, f in enumerate(step.functions) if f.address == active.function.address)
    behind = len(step.functions) - place - 1
    return Turn(step, RUNNING, None, (RUN,) * place + (RUNNING,) + (NOT_YET,) * behind, active)


def _settled(step: Step, state: str | None, reason: str | None) -> Turn:
    return Turn(step, state, reason, (state,) * len(step.functions), None)
