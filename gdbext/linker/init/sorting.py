"""The orders into which ld.so sorts modules before it runs destructors.

Source: glibc, elf/dl-sort-maps.c, _dl_sort_maps_dfs (2.35 and newer) and
_dl_sort_maps_original (the only one before, and glibc.rtld.dynamic_sort=1 since). Modules are
link_map addresses; `needs` has l_initfini and `bound` l_reldeps of each, both in ld.so's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_MOST_ROUNDS = 4_000_000  # comparisons of the old sort; it is quadratic, and worse with cycles


def sort_by_depth(
    maps: Sequence[int],
    needs: Mapping[int, Sequence[int]],
    bound: Mapping[int, Sequence[int]],
    force_first: bool,
) -> list[int]:
    """The order of the depth-first sort: who depends on others is before them.

    With relocation dependencies a second pass goes over the result of the first by l_initfini
    alone, so that these dependencies win. With `force_first` the first module stays the first:
    that is the program.
    """
    never = frozenset(maps[:1]) if force_first else frozenset()
    order = _traverse(maps, needs, bound, never)
    if any(bound.get(each) for each in maps):
        order = _traverse(order, needs, {}, never)
    if force_first and maps:
        order.remove(maps[0])
        order.insert(0, maps[0])
    return order


def _traverse(
    maps: Sequence[int],
    needs: Mapping[int, Sequence[int]],
    bound: Mapping[int, Sequence[int]],
    never: frozenset[int],
) -> list[int]:
    """Depth first from the last module to the first; each one in front of what it needs."""
    unseen = set(maps)
    placed: list[int] = []
    for root in reversed(maps):
        if root not in unseen:
            continue
        unseen.discard(root)
        stack = [(root, iter((*needs.get(root, ()), *reversed(bound.get(root, ())))))]
        while stack:
            here, following = stack[-1]
            for each in following:
                if each in unseen and each not in never:
                    unseen.discard(each)
                    deeper = iter((*needs.get(each, ()), *reversed(bound.get(each, ()))))
                    stack.append((each, deeper))
                    break
            else:
                placed.append(here)
                stack.pop()
    return placed[::-1]


def sort_by_moves(
    maps: Sequence[int],
    needs: Mapping[int, Sequence[int]],
    bound: Mapping[int, Sequence[int]],
    force_first: bool,
) -> list[int] | None:
    """The order of the old sort: each module moves behind the last one that needs it.

    `seen` counts how often a place was looked at, which ends cycles. None for a list that takes
    longer than any real one.
    """
    order = list(maps)
    count = len(order)
    needed = {each: frozenset(needs.get(each, ())) for each in order}
    relocated = {each: frozenset(bound.get(each, ())) for each in order}
    seen = [0] * count
    here = 1 if force_first else 0
    rounds = 0
    while here < count:
        seen[here] += 1
        this = order[here]
        moved = False
        for last in range(count - 1, here, -1):
            rounds += 1
            other = order[last]
            if this in needed[other] or (this in relocated[other] and other not in needed[this]):
                order.insert(last, order.pop(here))
                if seen[here + 1] > count - here:
                    here += 1
                    seen[here:] = [0] * (count - here)
                else:
                    seen.insert(last, seen.pop(here))
                moved = True
                break
        if rounds > _MOST_ROUNDS:
            return None
        if not moved:
            here += 1
            seen[here:] = [0] * (count - here)
    return order
