"""The hash tables through which a dynamic linker finds symbols: DT_GNU_HASH, else DT_HASH.

What is in neither table is invisible to every lookup, however .dynsym describes it.
Sources: gABI chapter 5 (Hash Table); binutils, bfd/elflink.c; glibc, elf/dl-lookup.c
(do_lookup_x) and elf/dl-setup_hash.c.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Set
from dataclasses import dataclass
from operator import mul

from gdbext.elf.image import DT_GNU_HASH, DT_HASH, LARGEST_TABLE, Image
from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory, read_word

_CHUNK = 4096


_LONGEST = 512  # bytes of a name that are hashed in one step
_POWERS: list[int] = [
    pow(33, k, 1 << 32) for k in range(_LONGEST, -1, -1)
]  # of 33, down to 33 ** 0
_SEED = 5381
_is_last = (1).__and__  # in DT_GNU_HASH, of a chain


def gnu_hash(name: bytes) -> int:
    """The hash of DT_GNU_HASH, 32 bits: h = h * 33 + c, from 5381 (glibc, elf/dl-new-hash.h)."""
    size = len(name)
    if size <= _LONGEST:
        # the same polynomial, written out: it takes half the time
        at = _LONGEST + 1 - size
        digits: int = sum(map(mul, name, _POWERS[at:]))
        return (_SEED * _POWERS[at - 1] + digits) & 0xFFFFFFFF
    value = _SEED
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def sysv_hash(name: bytes) -> int:
    """The hash of DT_HASH, 28 bits (gABI, chapter 5)."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        value ^= value >> 24 & 0xF0
        value &= 0xFFFFFFF
    return value


@dataclass(frozen=True)
class GnuHash:
    """DT_GNU_HASH. `chains[i]` is the hash of symbol `first + i`, its lowest bit set at the end
    of a chain; `bloom` holds 64-bit words."""

    first: int
    shift: int
    bloom: array[int]
    buckets: array[int]
    chains: array[int]

    def among(self, wanted: Set[int]) -> list[tuple[int, int]]:
        """(hash, index) of the symbols whose hash, as it is in the table, is in `wanted`."""
        if not self.buckets:
            return []  # glibc skips an object with l_nbuckets 0
        return [(h, index) for index, h in enumerate(self.chains, self.first) if h in wanted]

    def leads_to(self, value: int, index: int) -> bool:
        """Whether a lookup of a name with the hash `value` gets as far as symbol `index`."""
        if self.bloom:
            word = self.bloom[value // 64 % len(self.bloom)]
            if not word >> value % 64 & word >> (value >> self.shift) % 64 & 1:
                return False
        start = self.buckets[value % len(self.buckets)]
        if start == index:
            return start >= self.first
        if not self.first <= start < index:
            return False
        return not any(map(_is_last, self.chains[start - self.first : index - self.first]))


@dataclass(frozen=True)
class SysvHash:
    """DT_HASH: `chains[i]` is the symbol after symbol i in its bucket's list."""

    buckets: array[int]
    chains: array[int]

    def indices(self) -> Iterator[int]:
        """Every symbol that a lookup can reach, bucket by bucket."""
        for bucket in self.buckets:
            yield from self._list(bucket)

    def _list(self, index: int) -> Iterator[int]:
        for _ in self.chains:
            if not 0 < index < len(self.chains):
                return
            yield index
            index = self.chains[index]

    def bucket(self, name: bytes) -> Iterator[int]:
        """The symbols that a lookup of `name` meets, in its order."""
        return self._list(self.buckets[sysv_hash(name) % len(self.buckets)])


def read_hash_table(memory: Memory, image: Image) -> GnuHash | SysvHash | None:
    """The table that glibc and musl use: DT_GNU_HASH where there is one.

    Raises Problem for a damaged table, Unreadable for one that is not there.
    """
    table = image.pointer(DT_GNU_HASH)
    if table is not None:
        return _read_gnu_hash(memory, image, table)
    table = image.pointer(DT_HASH)
    if table is None:
        return None
    nbuckets, nchains = struct.unpack("<II", memory.read(table, 8))
    words = _words(memory, image, table + 8, nbuckets + nchains, "I")
    return SysvHash(words[:nbuckets], words[nbuckets:])


def _read_gnu_hash(memory: Memory, image: Image, table: int) -> GnuHash:
    nbuckets, first, bloom_size, shift = struct.unpack("<IIII", memory.read(table, 16))
    bloom = _words(memory, image, table + 16, bloom_size, "Q")
    buckets_at = table + 16 + bloom_size * 8
    buckets = _words(memory, image, buckets_at, nbuckets, "I")
    highest = max(buckets, default=0)
    if highest < first:
        return GnuHash(first, shift & 63, bloom, buckets, array("I"))
    chains = _words(memory, image, buckets_at + nbuckets * 4, highest - first, "I")
    tail = _last_chain(memory, image, buckets_at + (nbuckets + highest - first) * 4)
    chains.extend(tail)
    return GnuHash(first, shift & 63, bloom, buckets, chains)


def _last_chain(memory: Memory, image: Image, at: int) -> list[int]:
    """The table ends with the chain of its highest bucket (elf_gnu_hash_process_symidx)."""
    found: list[int] = []
    room = min(image.room(at), LARGEST_TABLE)
    while room >= 4:
        size = min(_CHUNK, room) // 4 * 4
        for (chain,) in struct.iter_unpack("<I", memory.read(at, size)):
            found.append(chain)
            if chain & 1:
                return found
        at, room = at + size, room - size
    raise Problem("damaged DT_GNU_HASH: its last chain has no end")


def _words(memory: Memory, image: Image, at: int, count: int, form: str) -> array[int]:
    size = count * struct.calcsize(form)
    if size > min(image.room(at), LARGEST_TABLE):
        raise Problem(f"damaged image: a hash table of {size} bytes runs past its segment")
    words = array(form, memory.read(at, size))
    if sys.byteorder == "big":
        words.byteswap()
    return words


def probe(memory: Memory, image: Image, name: bytes) -> list[int]:
    """The symbols that a lookup of `name` meets, by their hashes, in its order.

    It reads what ld.so would read and no more: most modules are done after one word of the
    bloom filter. Names are not compared, so a few of the symbols may have another one.
    """
    table = image.pointer(DT_GNU_HASH)
    if table is not None:
        return _probe_gnu(memory, image, table, gnu_hash(name))
    hashes = read_hash_table(memory, image)
    if not isinstance(hashes, SysvHash) or not hashes.buckets:
        return []
    return list(hashes.bucket(name))


def _probe_gnu(memory: Memory, image: Image, table: int, value: int) -> list[int]:
    nbuckets, first, bloom_size, shift = struct.unpack("<IIII", memory.read(table, 16))
    if not nbuckets:
        return []
    if bloom_size:
        word = read_word(memory, table + 16 + value // 64 % bloom_size * 8)
        if not word >> value % 64 & word >> (value >> (shift & 63)) % 64 & 1:
            return []
    buckets_at = table + 16 + bloom_size * 8
    (start,) = struct.unpack("<I", memory.read(buckets_at + value % nbuckets * 4, 4))
    if start < first or not start:
        return []
    found: list[int] = []
    at = buckets_at + (nbuckets + start - first) * 4
    for index in range(start, start + min(image.room(at), LARGEST_TABLE) // 4):
        (chain,) = struct.unpack("<I", memory.read(at + (index - start) * 4, 4))
        if chain | 1 == value | 1:
            found.append(index)
        if chain & 1:
            return found
    raise Problem("damaged DT_GNU_HASH: a chain has no end")
