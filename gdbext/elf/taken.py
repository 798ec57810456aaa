"""What pieces of machine code refer to: addresses that they form, load from and call."""

from __future__ import annotations

import struct
from typing import NamedTuple

from gdbext.elf.aarch64 import add, adrp, instructions, ldr


class Taken(NamedTuple):
    """Addresses in a piece of code: those it computes, those it loads 8 bytes from, and those
    that it calls or jumps to. There may be some too many, never one too few."""

    addresses: frozenset[int]
    cells: frozenset[int]
    calls: frozenset[int]


def _signed32(code: bytes, at: int) -> int:
    return int(struct.unpack_from("<i", code, at)[0])


def x86_64_taken(code: bytes, pc: int) -> Taken:
    """`lea rel(%rip)`, `mov rel(%rip)`, `mov $imm32` and `call`/`jmp rel`, at any offset."""
    addresses: set[int] = set()
    cells: set[int] = set()
    calls: set[int] = set()
    for at in range(len(code) - 4):
        first, second = code[at], code[at + 1]
        if first in (0xE8, 0xE9):
            calls.add(pc + at + 5 + _signed32(code, at + 1))
        elif 0xB8 <= first <= 0xBF:  # a program at a fixed address
            addresses.add(_signed32(code, at + 1))
        elif at + 6 <= len(code) and first in (0x8D, 0x8B) and second & 0xC7 == 5:
            target = pc + at + 6 + _signed32(code, at + 2)
            (addresses if first == 0x8D else cells).add(target)
        elif at + 6 <= len(code) and first == 0xC7 and second & 0xF8 == 0xC0:
            addresses.add(_signed32(code, at + 2))
    return Taken(frozenset(addresses), frozenset(cells), frozenset(calls))


def aarch64_taken(code: bytes, pc: int) -> Taken:
    """ADRP with ADD or LDR, ADR, and B or BL (Arm ARM C6.2)."""
    addresses, cells, calls = set(), set(), set()
    pages: dict[int, int] = {}
    sums: dict[int, int] = {}
    for index, word in enumerate(instructions(code)):
        here = pc + 4 * index
        page, total, load = adrp(word, here), add(word), ldr(word)
        if page:
            pages[page[0]] = page[1]
        elif total and total[1] in pages:
            sums[total[0]] = pages[total[1]] + total[2]
            addresses.add(sums[total[0]])
        elif load:
            cells |= {base[load[1]] + load[2] for base in (pages, sums) if load[1] in base}
        elif word & 0x9F000000 == 0x10000000:  # ADR
            offset = (word >> 29 & 3) | (word >> 5 & 0x7FFFF) << 2
            addresses.add(here + offset - ((offset & 1 << 20) << 1))
        elif word & 0x7C000000 == 0x14000000:
            offset = word & 0x3FFFFFF
            calls.add(here + 4 * (offset - ((offset & 1 << 25) << 1)))
    # a page alone is an address as well
    return Taken(frozenset(addresses | set(pages.values())), frozenset(cells), frozenset(calls))
