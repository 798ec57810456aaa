"""Cycles and ways, against the plain definition of both."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gdbext.linker.needs.graph import components, cycle_through, reachable, ways_to

GRAPHS = st.integers(1, 8).flatmap(
    lambda size: st.fixed_dictionaries(
        {node: st.lists(st.integers(0, size - 1), max_size=4) for node in range(size)}
    )
)


def beyond(graph: dict[int, list[int]], node: int) -> set[int]:
    """What one or more steps lead to."""
    return reachable(graph, graph[node]) if graph[node] else set()


@given(GRAPHS)
def test_components_are_what_leads_back(graph: dict[int, list[int]]) -> None:
    expected = []
    for node in graph:
        members = [m for m in graph if m in beyond(graph, node) and node in beyond(graph, m)]
        if node in members and members not in expected:
            expected.append(members)
    assert components(graph) == expected
    for members in expected:
        way = cycle_through(graph, members[0], members)
        assert way[0] == way[-1] == members[0]
        assert len(way) > 1
        assert all(b in graph[a] for a, b in zip(way, way[1:]))


@given(GRAPHS)
def test_ways_are_shortest(graph: dict[int, list[int]]) -> None:
    following = ways_to(graph, 0)
    assert set(following) == {node for node in graph if 0 in reachable(graph, [node])}
    distance = {0: 0}
    while len(distance) < len(following):
        distance.update(
            {n: min(distance[t] for t in graph[n] if t in distance) + 1
             for n in graph if n not in distance and any(t in distance for t in graph[n])}
        )  # fmt: skip
    for node in following:
        at, steps = node, 0
        while at:
            assert following[at] in graph[at]
            at, steps = following[at], steps + 1
        assert steps == distance[node]


def test_a_long_chain_and_a_long_ring_need_no_recursion() -> None:
    chain = {node: [node + 1] for node in range(50_000)}
    assert components({**chain, 50_000: []}) == []
    ring = {**chain, 50_000: [0]}
    assert components(ring) == [list(range(50_001))]
    assert len(cycle_through(ring, 0, range(50_001))) == 50_002
    assert reachable(chain, [49_999]) == {49_999, 50_000}
