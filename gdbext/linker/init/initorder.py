"""The orders of constructors and destructors, by what ld.so sorts them by: l_initfini, l_reldeps,
l_init_called_next; musl's deps.

Sources: glibc, include/link.h, elf/dl-deps.c (_dl_map_object_deps), elf/dl-fini.c (_dl_fini);
musl, ldso/dynlink.c (queue_ctors, do_init_fini, __libc_exit_fini).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory, read_word
from gdbext.linker.init.sorting import sort_by_depth, sort_by_moves
from gdbext.linker.loaded.modules import LINKER, Linker, Module
from gdbext.linker.loaded.musl import read_dsos
from gdbext.linker.loaded.private import read_initfini
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.needs.reldeps import called_order, read_relocation_needs
from gdbext.linker.process.environment import initial_environment
from gdbext.linker.process.process import Process

DEPTH, MOVES, REVERSE, HISTORY = "depth-first", "moves", "reverse", "history"
_L_NS = 48  # l_ns, the same in every glibc (include/link.h)
_TUNABLE = b"glibc.rtld.dynamic_sort\0"
_NO_RELOCATION_NEEDS = (
    "the dependencies that relocation made cannot be read in full: exit() may run the destructors "
    "in another order"
)
_NO_LISTS = "this dynamic linker's lists of dependencies could not be located: the order is unknown"
_ENVIRONMENT_UNKNOWN = (
    "the environment cannot be read, so GLIBC_TUNABLES may have asked for the old order of "
    "destructors (glibc.rtld.dynamic_sort=1)"
)


@dataclass(frozen=True)
class InitOrder:
    """The orders, by link_map address.

    `lists`: for each module, what one call that starts with it initializes, in that order.
    `finis`: the modules in the order in which exit() runs their destructors now, by `algorithm`
    (DEPTH, MOVES, REVERSE or HISTORY; None where it is not known). `called`: whether the
    constructors have begun, `visited`: whether musl says that they run. `initfirst`: whether
    DF_1_INITFIRST counts. `audits`: the namespaces of audit modules (LD_AUDIT), which ld.so loads
    before all else.
    """

    lists: Mapping[int, tuple[int, ...]]
    finis: tuple[Module, ...]
    algorithm: str | None
    called: Mapping[int, bool | None]
    initfirst: bool = True
    visited: frozenset[int] = frozenset()
    audits: frozenset[int] = frozenset()
    notes: tuple[str, ...] = field(default=())

    def has(self, module: Module) -> bool:
        """Whether the module is initialized for itself: ld.so's proxies are not."""
        return module.map.address in self.lists

    def starting_with(self, root: Module) -> tuple[int, ...]:
        """What a call that starts with `root` initializes, in order."""
        return self.lists[root.map.address]

    def with_needs(self, root: Module) -> tuple[int, ...]:
        """The same, with what its dependencies need ahead of each: l_initfini of a library that
        was never opened itself names its direct ones alone (glibc, elf/dl-deps.c)."""
        listed = self.starting_with(root)
        named = frozenset(listed)
        found: dict[int, None] = {}
        begun: set[int] = set()
        pending = [(each, False) for each in reversed(listed)]
        while pending:
            each, ready = pending.pop()
            if ready:
                found[each] = None
            elif each not in begun:
                begun.add(each)
                pending.append((each, True))
                needs = [n for n in self.lists.get(each, ()) if n not in named and n not in begun]
                pending += [(need, False) for need in reversed(needs)]
        return tuple(found)


def read_init_order(process: Process, linker: Linker, tables: TableSet) -> InitOrder:
    """The orders of this process; raises Problem when no link_map can be read."""
    if not linker.modules:
        raise Problem("; ".join(linker.problems) or "no link_map can be read")
    if linker.layout is not None and linker.layout.scope is not None:
        return _of_glibc(process, linker, tables)
    musl = read_dsos(process.memory, linker).dependencies
    if musl is not None:
        lists = {each: _queue(each, musl.direct) for each in musl.direct}
        begun = musl.constructed | musl.visited
        called: dict[int, bool | None] = {each: each in begun for each in musl.direct}
        finis = _reversed_chain(linker, lists)
        return InitOrder(lists, finis, REVERSE, called, False, musl.visited)
    alone = {m.map.address: (m.map.address,) for m in linker.modules}
    called = _bits(linker)
    return InitOrder(alone, linker.modules, None, called, notes=(_NO_LISTS,))


def _bits(linker: Linker) -> dict[int, bool | None]:
    return {m.map.address: m.private.init_called if m.private else None for m in linker.modules}


def _queue(root: int, direct: Mapping[int, Sequence[int]]) -> tuple[int, ...]:
    """musl: the order of constructors of a call that starts with `root` (queue_ctors):

    depth first in the order of the dependencies, each after its own; cycles are ignored."""
    order: list[int] = []
    seen = {root}
    stack = [(root, iter(direct.get(root, ())))]
    while stack:
        here, following = stack[-1]
        for each in following:
            if each not in seen and each in direct:
                seen.add(each)
                stack.append((each, iter(direct[each])))
                break
        else:
            order.append(here)
            stack.pop()
    return tuple(order)


def _reversed_chain(linker: Linker, lists: Mapping[int, Sequence[int]]) -> tuple[Module, ...]:
    """musl: in the reverse order of the constructors (fini_head)."""
    order: dict[int, None] = {}
    for module in linker.modules:
        if module.map.address not in order:
            order.update(dict.fromkeys(lists.get(module.map.address, ())))
    return tuple(linker.by_map[each] for each in reversed(order))


def _of_glibc(process: Process, linker: Linker, tables: TableSet) -> InitOrder:
    memory = process.memory
    members = [m for m in linker.modules if m.private is not None]
    notes: list[str] = []
    needs = {m.map.address: _needs(memory, m, notes) for m in members}
    lists = {here: whole[::-1] or (here,) for here, whole in needs.items()}
    bound = read_relocation_needs(memory, linker) or {}
    history = called_order(linker)
    if not history and not bound.keys() >= needs.keys():
        notes.append(_NO_RELOCATION_NEEDS)
    algorithm: str | None
    algorithm, problem = _algorithm(process, linker)
    if history:
        algorithm, problem = HISTORY, None
    if problem:
        notes.append(problem)
    finis: list[Module] = []
    groups, audits = _by_namespace(memory, members, tables)
    for group in groups:
        maps = [m.map.address for m in group]
        base = group[0].namespace == 0
        order: Sequence[int] | None
        if history:
            order = [each for each in history if each in set(maps)]
            order = [*order, *(each for each in maps if each not in set(order))]
        elif algorithm == MOVES:
            order = sort_by_moves(maps, needs, bound, base)
        else:
            order = sort_by_depth(maps, needs, bound, base)
        if order is None:
            notes.append("the order of the destructors takes too long to work out")
            algorithm, order = None, maps
        finis += [linker.by_map[each] for each in order]
    return InitOrder(
        lists, tuple(finis), algorithm, _bits(linker), audits=audits, notes=tuple(notes)
    )


def _needs(memory: Memory, module: Module, notes: list[str]) -> tuple[int, ...]:
    """l_initfini: the module and what it needs; () where there is none, or none that is sound."""
    private = module.private
    whole = read_initfini(memory, private) if private else None
    if whole is not None and whole[:1] == (module.map.address,):
        return whole
    if private is not None and private.initfini:
        notes.append(f"the l_initfini of {module.path} is damaged")
    return ()


def _by_namespace(
    memory: Memory, members: Sequence[Module], tables: TableSet
) -> tuple[list[list[Module]], frozenset[int]]:
    """The modules of each namespace, in the order of their destructors: the last one first,
    those of audit modules behind all others; and the namespaces of audit modules."""
    groups: dict[int, list[Module]] = {}
    for module in members:
        groups.setdefault(module.namespace, []).append(module)
    audits = set()
    for namespace, group in groups.items():
        own = tables.of(group[0]) if namespace else None
        if own is not None and own.address_of("la_version"):
            audits.add(namespace)

    def place(group: list[Module]) -> tuple[bool, int]:
        first = group[0]
        try:
            number = read_word(memory, first.map.address + _L_NS)
        except Unreadable:
            number = first.namespace
        return first.namespace in audits, -number

    return sorted(groups.values(), key=place), frozenset(audits)


def _algorithm(process: Process, linker: Linker) -> tuple[str, str | None]:
    """How this ld.so sorts: one that knows the tunable goes depth-first unless told otherwise."""
    image = next((m.image for m in linker.modules if m.kind == LINKER), None)
    known = False
    for segment in image.loads if image else ():
        assert image is not None
        try:
            data = process.memory.read(image.bias + segment.vaddr, segment.filesz)
        except Unreadable:
            continue
        known = known or _TUNABLE in data
    if not known:
        return (MOVES, None) if image else (DEPTH, None)
    try:
        environment = initial_environment(process)
    except (Problem, struct.error):
        environment = None
    if environment is None:
        return DEPTH, _ENVIRONMENT_UNKNOWN
    asked = environment.get("GLIBC_TUNABLES", "").split(":")
    return (MOVES if "glibc.rtld.dynamic_sort=1" in asked else DEPTH), None
