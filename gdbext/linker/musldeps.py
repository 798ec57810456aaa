"""musl's private fields of a loaded object, located by what they must hold.

Source: musl, ldso/dynlink.c, struct dso (1.1.22 and newer): map, map_len, dev, ino, six flags
of a byte each (relocated, constructed, kernel_mapped, mark, bfs_built, runtime_loaded), deps,
needed_by, ndeps_direct, next_dep, ctor_visitor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_words
from gdbext.linker.modules import VDSO, Linker

_WORDS = 48  # up to ctor_visitor and more; struct dso is larger
_FIRST = 5  # words of the part that a debugger may know: base, name, dynv, next, prev
# offsets in words from `map`
_FLAGS, _DEPS, _DIRECT, _VISITOR = 4, 5, 7, 9
_MOST_DEPS = 4096


@dataclass(frozen=True)
class Dsos:
    """By address of each struct dso: its direct dependencies in order; those whose constructors
    have run; those in whose constructors a thread is."""

    deps: Mapping[int, tuple[int, ...]]
    constructed: frozenset[int]
    visited: frozenset[int]

    def queue(self, root: int) -> tuple[int, ...]:
        """The order of constructors of a call that starts with `root` (queue_ctors):

        depth first in the order of the dependencies, each after its own; cycles are ignored."""
        order: list[int] = []
        seen = {root}
        stack = [(root, iter(self.deps.get(root, ())))]
        while stack:
            here, following = stack[-1]
            for each in following:
                if each not in seen and each in self.deps:
                    seen.add(each)
                    stack.append((each, iter(self.deps[each])))
                    break
            else:
                order.append(here)
                stack.pop()
        return tuple(order)


def locate_dsos(memory: Memory, linker: Linker) -> Dsos | None:
    """The fields of every object; None if this is no such musl."""
    blobs: dict[int, tuple[int, ...]] = {}
    votes: Counter[int] = Counter()
    for module in linker.modules:
        if module.image is None or module.kind == VDSO:
            continue
        here = module.map.address
        try:
            blobs[here] = words = read_words(memory, here, _WORDS)
        except Unreadable:
            continue
        size = module.image.end - module.image.start
        votes.update(
            at
            for at in range(_FIRST, _WORDS - _VISITOR)
            if words[at] == module.image.start and words[at + 1] == size
        )
    if not votes:
        return None
    at, count = votes.most_common(1)[0]
    if 2 * count <= len(blobs):
        return None
    deps: dict[int, tuple[int, ...]] = {}
    constructed, visited = set(), set()
    for here, words in blobs.items():
        flags = words[at + _FLAGS].to_bytes(8, "little")[:6]
        listed = _deps(memory, words[at + _DEPS], words[at + _DIRECT], blobs)
        if max(flags) > 1 or listed is None:
            return None
        deps[here] = listed
        if flags[1]:
            constructed.add(here)
        if words[at + _VISITOR]:
            visited.add(here)
    return Dsos(deps, frozenset(constructed), frozenset(visited))


def _deps(
    memory: Memory, at: int, count: int, known: Mapping[int, tuple[int, ...]]
) -> tuple[int, ...] | None:
    """The direct dependencies; None for what cannot be a list of them."""
    if not at or not count:
        return () if not count else None
    if count > _MOST_DEPS:
        return None
    try:
        listed = read_words(memory, at, count)
    except Unreadable:
        return None
    return listed if all(each in known for each in listed) else None
