"""Which module of one snapshot is which of another: by namespace, path, build-id and soname."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from gdbext.findings.snapshots.snapshot import ModuleFacts

# Of so many that have one name, each is compared with each; of more, they pair in their order.
_FEW = 16
_ENOUGH = 512  # characters of a path


class Pairs(NamedTuple):
    """Modules as indices: `after` gives the partner of one before, `before` that of one after."""

    after: dict[int, int]
    before: dict[int, int]


def pair_modules(before: Sequence[ModuleFacts], after: Sequence[ModuleFacts]) -> Pairs:
    """The modules that are one and the same, or one in the other's place.

    The surest marks count first. Nothing pairs across namespaces.
    """
    pairs = Pairs({}, {})
    for mark in _MARKS:
        _pair(before, after, mark, pairs)
    return pairs


def same_build(before: ModuleFacts, after: ModuleFacts) -> bool | None:
    """Whether two modules are one build; None where that cannot be known."""
    if before.build_id is not None and after.build_id is not None:
        return before.build_id == after.build_id
    if before.dynamic is None or after.dynamic is None:
        return None
    # A core may lack the page with the note, and then the dynamic section tells: it has the
    # places and sizes of all tables.
    return before.dynamic == after.dynamic


_Mark = Callable[[ModuleFacts], Hashable]


def _path_and_build(module: ModuleFacts) -> Hashable:
    return module.path, module.build_id


def _path(module: ModuleFacts) -> Hashable:
    return module.path


def _role(module: ModuleFacts) -> Hashable:
    """The program, ld.so and the vDSO are there once."""
    return module.kind if module.kind in ("main", "linker", "vdso") else None


def _build(module: ModuleFacts) -> Hashable:
    return module.build_id


def _soname(module: ModuleFacts) -> Hashable:
    return module.soname or None


def _file_name(module: ModuleFacts) -> Hashable:
    return module.path.rpartition("/")[2] or None


# A path without a build-id must not take the place of one that has the same build elsewhere, so
# both together come first.
_MARKS: tuple[_Mark, ...] = (_path_and_build, _path, _role, _build, _soname, _file_name)


def _pair(
    before: Sequence[ModuleFacts], after: Sequence[ModuleFacts], mark: _Mark, pairs: Pairs
) -> None:
    """Pair what has this mark in common and no partner yet."""
    choices: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, module in enumerate(after):
        if index not in pairs.before and mark(module) is not None:
            choices[module.namespace, mark(module)].append(index)
    for index, module in enumerate(before):
        free = choices.get((module.namespace, mark(module)))
        if index in pairs.after or not free:
            continue
        chosen = free[0]
        if 1 < len(free) <= _FEW:
            chosen = max(free, key=lambda other: _likeness(module, after[other]))
        free.remove(chosen)
        pairs.after[index], pairs.before[chosen] = chosen, index


def _likeness(one: ModuleFacts, other: ModuleFacts) -> tuple[bool, int]:
    """How much two modules with a mark in common are alike: the build, then the last folders."""
    left, right = (m.path[-_ENOUGH:].split("/")[::-1] for m in (one, other))
    common = next((n for n, (a, b) in enumerate(zip(left, right)) if a != b), len(left))
    return one.build_id == other.build_id, common
