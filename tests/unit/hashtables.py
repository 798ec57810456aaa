"""Hash tables as linkers write them, and lookups as ld.so does them, word by word."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def reference_gnu_hash(name: bytes) -> int:
    """One byte after the other, as elf/dl-new-hash.h says it first."""
    value = 5381
    for byte in name:
        value = (value * 33 + byte) % (1 << 32)
    return value


def reference_sysv_hash(name: bytes) -> int:
    """The function that the gABI prints, with 32-bit arithmetic."""
    value = 0
    for byte in name:
        value = ((value << 4) + byte) % (1 << 32)
        top = value & 0xF0000000
        if top:
            value ^= top >> 24
        value &= ~top & 0xFFFFFFFF
    return value


def gnu_order(names: Sequence[bytes], nbuckets: int) -> list[bytes]:
    """The names in the order that DT_GNU_HASH wants .dynsym to have: bucket by bucket."""
    return sorted(names, key=lambda name: reference_gnu_hash(name) % nbuckets)


def gnu_table(
    names: Sequence[bytes], nbuckets: int = 3, first: int = 1, bloom_size: int = 2, shift: int = 6
) -> bytes:
    """DT_GNU_HASH of names in gnu_order(), the first of which is symbol `first`."""
    hashes = [reference_gnu_hash(name) for name in names]
    bloom = [0] * bloom_size
    buckets = [0] * nbuckets
    chains = []
    for place, value in enumerate(hashes):
        bloom[value // 64 % bloom_size] |= 1 << value % 64 | 1 << (value >> shift) % 64
        bucket = value % nbuckets
        buckets[bucket] = buckets[bucket] or first + place
        last = place + 1 == len(hashes) or hashes[place + 1] % nbuckets != bucket
        chains.append(value & ~1 | last)
    header = struct.pack("<IIII", nbuckets, first, bloom_size, shift)
    return (
        header
        + struct.pack(f"<{bloom_size}Q", *bloom)
        + struct.pack(f"<{nbuckets + len(chains)}I", *buckets, *chains)
    )


def sysv_table(names: Sequence[bytes], nbuckets: int = 2, first: int = 1) -> bytes:
    """DT_HASH of names, the first of which is symbol `first`; the last one heads its bucket."""
    buckets = [0] * nbuckets
    chains = [0] * (first + len(names))
    for index, name in enumerate(names, first):
        bucket = reference_sysv_hash(name) % nbuckets
        chains[index], buckets[bucket] = buckets[bucket], index
    return struct.pack(f"<{2 + nbuckets + len(chains)}I", nbuckets, len(chains), *buckets, *chains)
