"""The orders of destructors: laws that hold for every graph, and one that a real ld.so gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbext.linker.init.sorting import sort_by_depth, sort_by_moves

Graph = Mapping[int, Sequence[int]]
SORTS = (sort_by_depth, sort_by_moves)


@st.composite
def graphs(draw: st.DrawFn, cycles: bool) -> tuple[list[int], dict[int, list[int]]]:
    """Modules in the order of the chain, and what each one needs: itself first, as l_initfini."""
    count = draw(st.integers(1, 12))
    maps = draw(st.permutations(range(count)))
    needs = {}
    for each in range(count):
        others = range(count) if cycles else range(each + 1, count)
        wanted = st.lists(st.sampled_from(others), unique=True) if others else st.just([])
        needs[each] = [each, *draw(wanted)]
    return list(maps), needs


@pytest.mark.parametrize("sort", SORTS)
@given(graph=graphs(cycles=False))
def test_each_one_is_before_what_it_needs(
    sort: Callable[..., list[int]], graph: tuple[list[int], dict[int, list[int]]]
) -> None:
    maps, needs = graph
    order = sort(maps, needs, {}, False)
    assert sorted(order) == sorted(maps)
    for each in maps:
        assert all(order.index(each) <= order.index(need) for need in needs[each])


@pytest.mark.parametrize("sort", SORTS)
@given(graph=graphs(cycles=True), bound=graphs(cycles=True), first=st.booleans())
def test_cycles_end_and_lose_nothing(
    sort: Callable[..., list[int]],
    graph: tuple[list[int], dict[int, list[int]]],
    bound: tuple[list[int], dict[int, list[int]]],
    first: bool,
) -> None:
    maps, needs = graph
    reldeps = {k: [m for m in v if m in maps and m != k] for k, v in bound[1].items()}
    order = sort(maps, needs, reldeps, first)
    assert sorted(order) == sorted(maps)
    if first:
        assert order[0] == maps[0]


# testprogs/initorder on glibc 2.36: the chain, each l_initfini, and the orders of "calling fini"
CHAIN = [
    "main",
    "vdso",
    "left",
    "first",
    "libc",
    "right",
    "leaf",
    "ld",
    "tree",
    "twig",
    "global",
    "opener",
    "inner",
    "bound",
    "tail",
]
NEEDS = {
    "main": "first right left leaf libc ld",
    "left": "right leaf libc",
    "first": "libc",
    "libc": "ld",
    "right": "left leaf libc",
    "leaf": "libc",
    "tree": "twig left right leaf libc ld",
    "twig": "leaf libc",
    "global": "libc ld",
    "opener": "libc ld",
    "inner": "twig leaf libc ld",
    "bound": "libc ld",
    "tail": "libc ld",
}
DEPTH = "main first tree right left opener inner twig leaf bound global tail libc ld"
MOVES = "main first tree left right opener inner twig leaf bound global tail libc ld"


@pytest.mark.parametrize(("sort", "told"), [(sort_by_depth, DEPTH), (sort_by_moves, MOVES)])
def test_what_ld_so_does(sort: Callable[..., list[int]], told: str) -> None:
    number = {name: i for i, name in enumerate(CHAIN)}
    needs = {
        number[name]: [number[name], *(number[n] for n in text.split())]
        for name, text in NEEDS.items()
    }
    bound = {number["bound"]: [number["global"]]}
    order = sort(list(range(len(CHAIN))), needs, bound, True)
    assert [CHAIN[each] for each in order if CHAIN[each] != "vdso"] == told.split()


def test_a_long_chain_needs_no_deep_stack() -> None:
    count = 5000
    needs = {i: [i, i + 1] for i in range(count - 1)}
    assert sort_by_depth(range(count), needs, {}, True) == list(range(count))


def test_the_old_sort_is_given_up_when_it_takes_too_long() -> None:
    count = 4000
    assert sort_by_moves(range(count), {}, {}, False) is None
