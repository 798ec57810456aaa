"""What ld.so sorts constructors and destructors by: l_initfini, l_reldeps, musl's deps.

Sources: glibc, include/link.h, elf/dl-deps.c (_dl_map_object_deps), elf/dl-fini.c (_dl_fini);
musl, ldso/dynlink.c (queue_ctors, do_init_fini, __libc_exit_fini).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory, read_word, read_words
from gdbext.linker.environment import initial_environment
from gdbext.linker.layout import INITFINI
from gdbext.linker.modules import LINKER, Linker, Module
from gdbext.linker.musldeps import locate_dsos
from gdbext.linker.process import Process
from gdbext.linker.sorting import sort_by_depth, sort_by_moves
from gdbext.linker.tables import TableSet

DEPTH, MOVES, REVERSE, HISTORY = "depth-first", "moves", "reverse", "history"
_LONGEST_LIST = 65536
_CHUNK = 64  # words; most lists are shorter
_L_NS = 48  # l_ns, the same in every glibc (include/link.h)
_TUNABLE = b"glibc.rtld.dynamic_sort\0"
_NO_LISTS = "this dynamic linker's lists of dependencies could not be located: the order is unknown"
_ENVIRONMENT_UNKNOWN = (
    "the environment cannot be read, so GLIBC_TUNABLES may have asked for the old order of "
    "destructors (glibc.rtld.dynamic_sort=1)"
)


@dataclass(frozen=True)
class Dependencies:
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

    def order(self, root: Module) -> tuple[int, ...]:
        """What a call that starts with `root` initializes, in order."""
        return self.lists[root.map.address]


def read_dependencies(process: Process, linker: Linker, tables: TableSet) -> Dependencies:
    """The orders of this process; raises Problem when no link_map can be read."""
    if not linker.modules:
        raise Problem("; ".join(linker.problems) or "no link_map can be read")
    if linker.layout is not None and linker.layout.scope is not None:
        return _of_glibc(process, linker, tables, linker.layout.scope + INITFINI)
    dsos = locate_dsos(process.memory, linker)
    if dsos is not None:
        lists = {each: dsos.queue(each) for each in dsos.deps}
        begun = dsos.constructed | dsos.visited
        called: dict[int, bool | None] = {each: each in begun for each in dsos.deps}
        finis = _reversed_chain(linker, lists)
        return Dependencies(lists, finis, REVERSE, called, False, dsos.visited)
    alone = {m.map.address: (m.map.address,) for m in linker.modules}
    called = _bits(linker)
    return Dependencies(alone, linker.modules, None, called, notes=(_NO_LISTS,))


def _bits(linker: Linker) -> dict[int, bool | None]:
    return {m.map.address: m.private.init_called if m.private else None for m in linker.modules}


def _reversed_chain(linker: Linker, lists: Mapping[int, Sequence[int]]) -> tuple[Module, ...]:
    """musl: in the reverse order of the constructors (fini_head)."""
    order: dict[int, None] = {}
    for module in linker.modules:
        if module.map.address not in order:
            order.update(dict.fromkeys(lists.get(module.map.address, ())))
    return tuple(linker.by_map[each] for each in reversed(order))


def _of_glibc(process: Process, linker: Linker, tables: TableSet, at: int) -> Dependencies:
    memory = process.memory
    members = [m for m in linker.modules if m.private is not None]
    needs = {m.map.address: _needs(memory, m) for m in members}
    bound, history, notes = _relocation_dependencies(memory, members, at + 8)
    lists: dict[int, tuple[int, ...]] = {}
    for module in members:
        here = module.map.address
        whole = needs[here]
        if whole[:1] != (here,):
            if module.private and module.private.initfini:
                notes.append(f"the l_initfini of {module.path} is damaged")
            needs[here], whole = (), (here,)
        lists[here] = whole[::-1]
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
    return Dependencies(
        lists, tuple(finis), algorithm, _bits(linker), audits=audits, notes=tuple(notes)
    )


def _needs(memory: Memory, module: Module) -> tuple[int, ...]:
    """l_initfini: the module and what it needs, up to NULL; () where it cannot be read."""
    at = module.private.initfini if module.private else None
    found: list[int] = []
    size = _CHUNK
    while at and len(found) < _LONGEST_LIST:
        try:
            words = read_words(memory, at + 8 * len(found), size)
        except Unreadable:
            if size == 1:
                return ()
            size = 1  # the end of the mapping is near
            continue
        if 0 in words:
            return (*found, *words[: words.index(0)])
        found += words
    return ()


def _relocation_dependencies(
    memory: Memory, members: Sequence[Module], at: int
) -> tuple[dict[int, tuple[int, ...]], tuple[int, ...], list[str]]:
    """(l_reldeps of each module, the history of constructors if there is one, notes).

    l_reldeps follows l_initfini: {unsigned int act; struct link_map *list[];}. Some builds of
    2.36 to 2.38 have l_init_called_next in between, with or without using it: where it is used
    it names another module, the one whose constructors were called before.
    """
    chain = {m.map.address for m in members}
    following: dict[int, int] = {}
    bound: dict[int, tuple[int, ...]] = {}
    damaged = 0
    for module in members:
        here = module.map.address
        try:
            words = read_words(memory, here + at, 2)
        except Unreadable:
            damaged += 1
            continue
        if words[0] in chain:
            following[here] = words[0]
        for word in words:
            found = _reldeps(memory, word, chain) if word and word not in chain else ()
            if found:
                bound[here] = found
                break
    notes = [f"{damaged} link_maps cannot be read in full"] if damaged else []
    return bound, _history(following), notes


def _reldeps(memory: Memory, at: int, chain: set[int]) -> tuple[int, ...]:
    """The modules in a struct link_map_reldeps; () for what is none."""
    try:
        count = read_word(memory, at)
        # The upper half of the word is padding, which malloc may leave as it was.
        count &= 0xFFFFFFFF
        if not 0 < count <= min(_LONGEST_LIST, len(chain)):
            return ()
        listed = read_words(memory, at + 8, count)
    except Unreadable:
        return ()
    return listed if set(listed) <= chain else ()


def _history(following: Mapping[int, int]) -> tuple[int, ...]:
    """The list of all constructor calls, the last one first; () unless it is one sound list."""
    heads = set(following) - set(following.values())
    if len(heads) != 1:
        return ()
    order = [heads.pop()]
    while order[-1] in following and len(order) <= len(following):
        order.append(following[order[-1]])
    return tuple(order) if len(order) == len(following) + 1 else ()


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
