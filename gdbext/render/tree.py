"""Trees of things that are shown once: what was shown before is a reference back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

NEW, ABOVE, CYCLE, ABSENT = "new", "above", "cycle", "absent"


class Child(NamedTuple):
    """What hangs below something: `key` says what it is, None where there is nothing to show."""

    key: int | None
    label: str


class Row(NamedTuple):
    """One line: several labels where all of them were shown above.

    `state`: new, above, cycle (it is also a node that this one hangs below), absent.
    """

    depth: int
    labels: tuple[str, ...]
    key: int | None
    state: str


def tree_rows(roots: Iterable[Child], children: Callable[[int], Sequence[Child]]) -> Iterator[Row]:
    """The rows of a forest, in linear time: each key is expanded the first time alone."""
    shown: set[int] = set()
    way: list[int] = []  # the keys that lead to the current one
    on_way: set[int] = set()
    work = [iter(roots)]
    above: list[str] = []
    while work:
        depth = len(work) - 1
        child = next(work[-1], None)
        state = NEW
        if child is None:
            state = ""
        elif child.key is None:
            state = ABSENT
        elif child.key in shown:
            state = CYCLE if child.key in on_way else ABOVE
        if state == ABOVE and child is not None:
            above.append(child.label)
            continue
        if above:
            yield Row(depth, tuple(above), None, ABOVE)
            above = []
        if child is None:
            work.pop()
            if way:
                on_way.discard(way.pop())
            continue
        yield Row(depth, (child.label,), child.key, state)
        if state == NEW and child.key is not None:
            shown.add(child.key)
            way.append(child.key)
            on_way.add(child.key)
            work.append(iter(children(child.key)))
