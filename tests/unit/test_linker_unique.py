"""ld.so's tables of unique symbols, found among the words of a made-up _rtld_global."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbext.elf.problem import Problem
from gdbext.linker.lookup.unique import Unique, read_unique_symbols
from tests.unit.crafted import words
from tests.unit.lookups import IMAGES, MAPS, UNIQUE, Lib, Sym, World, image_of, world

HEAP, FREE = 0x560000000000, 0x7F00DEAD0000
NAMES = 0x560000010000
ONE_MAP = MAPS + 0x1000  # the module behind ld.so
Row = tuple[int, int, int, int]  # hash, name, symbol, link_map


def entries(rows: Sequence[Row | None], room: int = 0) -> bytes:
    """struct unique_sym {uint32_t hashval; const char *name; sym; map}; None is empty."""
    data = b"".join(struct.pack("<IxxxxQQQ", *(row or (0, 0, 0, 0))) for row in rows)
    return data + bytes(room)


def process(global_words: Sequence[int], more: Mapping[int, bytes]) -> World:
    """ld.so with these words in _rtld_global, and a library with two unique symbols."""
    tail = words(*global_words)
    ld = Lib("ld.so", [Sym("_rtld_global", 0, size=len(tail))], kind="linker", tail=tail)
    start = len(image_of(ld)) - len(tail)
    named = Sym("_rtld_global", start, size=len(tail))
    ld = Lib("ld.so", [named], kind="linker", tail=tail)
    one = Lib("one", [Sym("first", bind=UNIQUE), Sym("second", bind=UNIQUE)])
    return world(ld, one, more={NAMES: b"first\0second\0".ljust(4096, b"\0"), **more})


def read(made: World) -> Unique:
    lookup = made.lookup
    memory = made.modules["one"].memory
    return read_unique_symbols(memory, lookup.linker, lookup.tables)


def symbol_at(made: World, number: int) -> int:
    image = made.modules["one"].image
    assert image is not None
    return (image.pointer(6) or 0) + 24 * number


def rows(count: int = 2) -> list[Row | None]:
    """A table of three with the library's symbols; the image does not depend on the words."""
    made = process([0], {})
    found: list[Row | None] = [
        (1, NAMES + at, symbol_at(made, n), ONE_MAP) for n, at in ((1, 0), (2, 6))
    ]
    return [*found[:count], *[None] * (3 - count)]


TABLE = (HEAP, 3, 2, FREE)  # entries, size, n_elements, free


@pytest.mark.parametrize("before", [0, 1, 7])
def test_the_table_is_found_wherever_it_stands(before: int) -> None:
    made = process([*[0x1234] * before, *TABLE, 5], {HEAP: entries(rows())})
    assert read(made) == {
        (0, b"first"): (ONE_MAP, symbol_at(made, 1)),
        (0, b"second"): (ONE_MAP, symbol_at(made, 2)),
    }


def test_no_table_is_no_problem() -> None:
    assert read(process([0] * 20, {})) == {}


def test_ld_so_without_rtld_global_is_a_problem() -> None:
    made = world(Lib("ld.so", [Sym("other")], kind="linker"), Lib("one", []))
    with pytest.raises(Problem, match="could not be located"):
        read(made)
    made = world(Lib("main", []), Lib("one", []))
    with pytest.raises(Problem, match="could not be located"):
        read(made)


def test_an_rtld_global_past_its_image_is_a_problem() -> None:
    huge = Sym("_rtld_global", 0x40, size=1 << 40)
    with pytest.raises(Problem, match="could not be located"):
        read(world(Lib("ld.so", [huge], kind="linker"), Lib("one", [])))


def changed(place: int, value: int) -> list[Row | None]:
    """The table with one field of its first entry changed."""
    first, *others = rows()
    assert first is not None
    fields = list(first)
    fields[place] = value
    return [(fields[0], fields[1], fields[2], fields[3]), *others]


@pytest.mark.parametrize(
    ("table", "found"),
    [
        (TABLE, rows(1)),  # fewer entries than n_elements says
        ((HEAP, 3, 1, FREE), rows(2)),  # more
        ((HEAP, 3, 4, FREE), rows(2)),  # more elements than places
        ((HEAP, 1 << 21, 2, FREE), rows(2)),  # too large
        ((HEAP, 3, 2, 0), rows(2)),  # no function to free it
        ((HEAP + 8, 3, 2, FREE), rows(2)),
        ((HEAP + 0x100000, 3, 2, FREE), rows(2)),  # not readable
        (TABLE, changed(3, 0x1234)),  # no link_map
        (TABLE, changed(1, 0x1234)),  # no name
        (TABLE, changed(2, 0x1234)),  # no symbol
        (TABLE, changed(2, IMAGES + 0x100001)),
    ],
)
def test_what_only_looks_like_a_table_is_none(
    table: tuple[int, ...], found: list[Row | None]
) -> None:
    made = process([7, *table, 7], {HEAP: entries(found)})
    assert read(made) == {}


def test_a_look_alike_does_not_hide_the_table() -> None:
    other = HEAP + 0x20000
    made = process([other, 3, 2, FREE, *TABLE], {HEAP: entries(rows()), other: bytes(96)})
    assert len(read(made)) == 2


@given(st.lists(st.sampled_from([0, 1, 2, 3, HEAP, NAMES, FREE, ONE_MAP, (1 << 64) - 1]),
                min_size=4, max_size=12), st.binary(min_size=96, max_size=96))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_random_words(global_words: list[int], heap: bytes) -> None:
    for (namespace, name), (address, _) in read(process(global_words, {HEAP: heap})).items():
        assert namespace == 0
        assert isinstance(name, bytes)
        assert address in (MAPS, ONE_MAP)


def test_the_namespace_of_a_static_program() -> None:
    namespace = words(*[0] * 8, *TABLE, *[0] * 8)
    made = process([0], {HEAP: entries(rows()), HEAP + 0x1000: namespace})
    memory, lookup = made.modules["one"].memory, made.lookup
    assert read_unique_symbols(memory, lookup.linker, lookup.tables, HEAP + 0x1000) == {
        (0, b"first"): (ONE_MAP, symbol_at(made, 1)),
        (0, b"second"): (ONE_MAP, symbol_at(made, 2)),
    }
