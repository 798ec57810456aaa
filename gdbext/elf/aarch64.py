"""ARM64 instructions that form addresses (Arm ARM, C6.2)."""

from __future__ import annotations

import struct


def instructions(code: bytes) -> tuple[int, ...]:
    """The 32-bit words of code; a part of one at the end is left out."""
    return struct.unpack(f"<{len(code) // 4}I", code[: len(code) // 4 * 4])


def adrp(word: int, pc: int) -> tuple[int, int] | None:
    """(register, page) of an ADRP instruction (Arm ARM C6.2, ADRP)."""
    if word & 0x9F000000 != 0x90000000:
        return None
    immediate = (word >> 29 & 3) | (word >> 5 & 0x7FFFF) << 2
    if immediate & 1 << 20:
        immediate -= 1 << 21
    return word & 31, (pc & ~0xFFF) + (immediate << 12)


def ldr(word: int) -> tuple[int, int, int] | None:
    """(target, base, byte offset) of a 64-bit LDR with an unsigned offset."""
    if word & 0xFFC00000 != 0xF9400000:
        return None
    return word & 31, word >> 5 & 31, (word >> 10 & 0xFFF) * 8


def add(word: int) -> tuple[int, int, int] | None:
    """(target, source, bytes) of a 64-bit ADD of a number that is not shifted."""
    if word & 0xFFC00000 != 0x91000000:
        return None
    return word & 31, word >> 5 & 31, word >> 10 & 0xFFF


def loads_by_page(code: bytes, pc: int) -> list[tuple[int, int, int]]:
    """(instruction index, register, address) of each load through an ADRP of the same code,
    with an ADD in between or not, as far as the base register is not written to again."""
    pages: dict[int, int] = {}
    loads = []
    for index, word in enumerate(instructions(code)):
        page, load, total = adrp(word, pc + 4 * index), ldr(word), add(word)
        if load and load[1] in pages:
            loads.append((index, load[0], pages[load[1]] + load[2]))
        base = pages.get(total[1]) if total else None
        if word & 0xFC000000 == 0x94000000 or word & 0xFFFFFC1F == 0xD63F0000:
            pages.clear()  # a call may change them all
        else:
            pages.pop(word & 31, None)  # what most instructions write to
        if page:
            pages[page[0]] = page[1]
        elif total and base is not None:
            pages[total[0]] = base + total[2]
    return loads
