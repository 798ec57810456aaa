"""Directed graphs of link_maps, {address: addresses}: cycles and shortest ways, in linear time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

Graph = Mapping[int, Sequence[int]]


def components(graph: Graph) -> list[list[int]]:
    """The strongly connected components that hold a cycle, each in the order of `graph`.

    R. Tarjan, Depth-first search and linear graph algorithms (1972), without recursion.
    """
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    waiting: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    place = {node: at for at, node in enumerate(graph)}

    def enter(node: int) -> tuple[int, Iterator[int]]:
        number[node] = low[node] = len(number)
        waiting.append(node)
        on_stack.add(node)
        return node, iter(graph.get(node, ()))

    for start in graph:
        if start in number:
            continue
        work = [enter(start)]
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in number:
                    work.append(enter(target))
                    break
                if target in on_stack:
                    low[node] = min(low[node], number[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    members = _pop_to(node, waiting)
                    on_stack.difference_update(members)
                    if len(members) > 1 or node in graph.get(node, ()):
                        found.append(sorted(members, key=lambda m: place.get(m, 0)))
    return sorted(found, key=lambda members: place.get(members[0], 0))


def _pop_to(node: int, waiting: list[int]) -> list[int]:
    members = []
    while True:
        members.append(waiting.pop())
        if members[-1] == node:
            return members


def cycle_through(graph: Graph, start: int, members: Iterable[int]) -> list[int]:
    """A shortest way from `start` back to it within `members`; both ends are `start`."""
    inside = set(members)
    before: dict[int, int] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for target in graph.get(node, ()):
            if target == start:
                way = [start]
                while node != start:
                    way.append(node)
                    node = before[node]
                return [start, *reversed(way[1:]), start]
            if target in inside and target not in before:
                before[target] = node
                queue.append(target)
    return []


def ways_to(graph: Graph, target: int) -> dict[int, int]:
    """{node: the next node on a shortest way from it to `target`}; `target` leads to itself."""
    back: dict[int, list[int]] = {}
    for node, targets in graph.items():
        for each in targets:
            back.setdefault(each, []).append(node)
    following = {target: target}
    queue = deque([target])
    while queue:
        node = queue.popleft()
        for source in back.get(node, ()):
            if source not in following:
                following[source] = node
                queue.append(source)
    return following


def reachable(graph: Graph, starts: Iterable[int]) -> set[int]:
    """Every node that `starts` lead to, themselves included."""
    seen = set(starts)
    waiting = list(seen)
    while waiting:
        for target in graph.get(waiting.pop(), ()):
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    return seen
