"""Reading words and strings, at the edges of what is mapped."""

from __future__ import annotations

import struct

import pytest

from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import (
    BlockCache,
    BytesMemory,
    read_pointers,
    read_string,
    read_word,
    read_words,
)


class Recorder:
    """Memory that records what was asked of it."""

    def __init__(self, runs: dict[int, bytes]) -> None:
        self.memory = BytesMemory(runs)
        self.asked: list[tuple[int, int]] = []

    def read(self, address: int, size: int) -> bytes:
        self.asked.append((address, size))
        return self.memory.read(address, size)


def test_bytes_memory_has_what_it_was_given_and_nothing_else() -> None:
    memory = BytesMemory({0x2000: b"later", 0x1000: b"early"})
    assert memory.read(0x1001, 4) == b"arly"
    assert memory.read(0x2000, 5) == b"later"
    for address, size in ((0xFFF, 1), (0x1001, 5), (0x1005, 1), (0x1FFF, 2), (-1, 1)):
        with pytest.raises(Unreadable, match=f"{size} bytes at {address:#x} cannot be read"):
            memory.read(address, size)


def test_words() -> None:
    memory = BytesMemory({0: bytes(range(24))})
    assert read_word(memory, 0) == 0x0706050403020100
    assert read_words(memory, 8, 2) == (0x0F0E0D0C0B0A0908, 0x1716151413121110)
    assert read_words(memory, 0, 0) == ()
    with pytest.raises(Unreadable) as caught:
        read_words(memory, 8, 3)
    assert (caught.value.address, caught.value.size) == (8, 24)
    assert isinstance(caught.value, Problem)


@pytest.mark.parametrize("length", [0, 1, 7, 255, 256, 257, 4095])
def test_a_string_may_end_where_memory_ends(length: int) -> None:
    text = b"x" * length
    start = 0x2000 - length - 1
    memory = BytesMemory({start: text + b"\0"})
    assert read_string(memory, start) == text


def test_a_string_may_cross_pages() -> None:
    memory = Recorder({0x1FF0: b"y" * 300 + bytes(0x1000)})
    assert read_string(memory, 0x1FF0) == b"y" * 300
    assert all(a // 4096 == (a + n - 1) // 4096 for a, n in memory.asked)


def test_a_string_that_does_not_end() -> None:
    memory = BytesMemory({0x1000: b"z" * 8192})
    with pytest.raises(Unreadable):  # runs out of memory
        read_string(memory, 0x1000, 1 << 20)
    with pytest.raises(Unreadable, match="no string of at most 100 bytes"):
        read_string(memory, 0x1000, 100)
    with pytest.raises(Unreadable):
        read_string(memory, 0x9000)
    assert read_string(BytesMemory({0: b"z" * 99 + b"\0"}), 0, 100) == b"z" * 99


def test_a_block_is_read_once() -> None:
    memory = Recorder({0x1000: bytes(range(256)) * 16})
    cache = BlockCache(memory, 256)
    assert [cache.read(0x1000 + n, 8) for n in range(0, 248, 8)] == [
        bytes(range(n, n + 8)) for n in range(0, 248, 8)
    ]
    assert memory.asked == [(0x1000, 256)]
    assert cache.read(0x10FC, 8) == bytes((252, 253, 254, 255, 0, 1, 2, 3))  # over two blocks
    assert memory.asked[1:] == [(0x10FC, 8)]


def test_a_block_that_is_not_there_as_a_whole_is_read_as_asked() -> None:
    memory = Recorder({0x1010: b"part"})
    cache = BlockCache(memory, 256)
    assert cache.read(0x1010, 4) == b"part"
    assert cache.read(0x1012, 2) == b"rt"
    assert memory.asked == [(0x1000, 256), (0x1010, 4), (0x1012, 2)]
    with pytest.raises(Unreadable):
        cache.read(0x1014, 1)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 300])
@pytest.mark.parametrize("behind", [0, 8, 4096])
def test_pointers_end_at_the_zero_wherever_memory_ends(count: int, behind: int) -> None:
    listed = tuple(range(1, count + 1))
    data = struct.pack(f"<{count + 1}Q", *listed, 0) + b"\xff" * behind
    memory = BytesMemory({0x1000: data})
    assert read_pointers(memory, 0x1000, 1000) == listed
    with pytest.raises(Unreadable):
        read_pointers(BytesMemory({0x1000: data[: 8 * count]}), 0x1000, 1000)


def test_pointers_without_an_end_are_no_list() -> None:
    with pytest.raises(Unreadable, match="no list of at most 100"):
        read_pointers(BytesMemory({0x1000: b"\x01" * 8000}), 0x1000, 100)
