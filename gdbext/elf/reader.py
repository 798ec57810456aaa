"""Readers: the one way in which the pure layers ask for bytes."""

from __future__ import annotations

import struct
from typing import Protocol

from gdbext.elf.problem import Unreadable

WORD = 8  # both CPUs are 64-bit little-endian
PAGE = 4096  # the smallest page of both; ARM64 may use larger ones, which are multiples
_CHUNK = 64  # words that are read at a time; most lists are shorter


class Memory(Protocol):
    """Bytes at addresses: a process, a core, or one file laid out at its virtual addresses."""

    def read(self, address: int, size: int) -> bytes:
        """Return exactly `size` bytes at `address`, or raise Unreadable."""


class BytesMemory:
    """Memory made of separate runs of bytes, {address: bytes}."""

    def __init__(self, runs: dict[int, bytes]) -> None:
        self._runs = sorted(runs.items())

    def read(self, address: int, size: int) -> bytes:
        for start, data in self._runs:
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise Unreadable(address, size)


def read_word(memory: Memory, address: int) -> int:
    """The 64-bit word at `address`."""
    return int.from_bytes(memory.read(address, WORD), "little")


def read_words(memory: Memory, address: int, count: int) -> tuple[int, ...]:
    """`count` consecutive 64-bit words."""
    return struct.unpack(f"<{count}Q", memory.read(address, count * WORD))


def read_pointers(memory: Memory, address: int, most: int) -> tuple[int, ...]:
    """The words at `address` up to a zero, which is left out.

    Raises Unreadable when no zero comes before unreadable memory, or within `most` words.
    """
    found: list[int] = []
    size = _CHUNK
    while len(found) < most:
        try:
            chunk = read_words(memory, address + WORD * len(found), size)
        except Unreadable:
            if size == 1:
                raise
            size = 1  # the end of the mapping is near
            continue
        if 0 in chunk:
            return (*found, *chunk[: chunk.index(0)])
        found += chunk
    raise Unreadable(address, WORD * most, f"hold no list of at most {most} pointers")


def read_string(memory: Memory, address: int, limit: int = 4096) -> bytes:
    """The NUL-terminated string at `address`, at most `limit` bytes, without its NUL.

    Never reads past a page that it need not touch: a string may end right before an unmapped
    page (musl's program name is at the very top of the stack). Raises Unreadable when no NUL
    comes before unreadable memory, or within `limit`.
    """
    text = b""
    while len(text) < limit:
        here = address + len(text)
        chunk = memory.read(here, min(PAGE - here % PAGE, 256, limit - len(text)))
        end = chunk.find(b"\0")
        if end >= 0:
            return text + chunk[:end]
        text += chunk
    raise Unreadable(address, limit, f"hold no string of at most {limit} bytes")


class BlockCache:
    """Memory read once in aligned blocks: thousands of small reads become a few large ones.

    It is for one look at a stopped process. A block that cannot be read whole is read as asked.
    """

    def __init__(self, memory: Memory, block: int) -> None:
        self._memory = memory
        self._block = block
        self._blocks: dict[int, bytes] = {}

    def read(self, address: int, size: int) -> bytes:
        block = self._block
        inside = address % block
        if inside + size > block:
            return self._memory.read(address, size)
        data = self._blocks.get(address - inside)
        if data is None:
            try:
                data = self._memory.read(address - inside, block)
            except Unreadable:
                data = b""
            self._blocks[address - inside] = data
        return data[inside : inside + size] if data else self._memory.read(address, size)
