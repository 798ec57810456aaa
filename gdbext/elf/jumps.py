"""Jumps out of a function, and calls through a register, told by the bytes of the code."""

from __future__ import annotations

import struct
from typing import NamedTuple

from gdbext.elf.aarch64 import instructions, loads_by_page


class Jumps(NamedTuple):
    """The jumps in a piece of code: `cells` are the addresses that indirect ones take their target
    from, `targets` where direct ones lead, `computed` whether one takes it from elsewhere."""

    cells: frozenset[int]
    targets: frozenset[int]
    computed: bool


_X86_64_NAMES = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                 "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")  # fmt: skip


def x86_64_jumps(code: bytes, pc: int) -> Jumps:
    """`jmp *rel(%rip)` (FF 25), `jmp rel32` (E9) and the other FF /4, at any offset: there may be
    some too many, never one too few (Intel SDM, JMP)."""
    cells: set[int] = set()
    targets: set[int] = set()
    computed = False
    for at in range(len(code) - 1):
        if code[at] == 0xE9 and at + 5 <= len(code):
            targets.add(pc + at + 5 + int(struct.unpack_from("<i", code, at + 1)[0]))
        elif code[at] == 0xFF and code[at + 1] == 0x25:
            if at + 6 <= len(code):
                cells.add(pc + at + 6 + int(struct.unpack_from("<i", code, at + 2)[0]))
        elif code[at] == 0xFF and code[at + 1] & 0x38 == 0x20:
            # the FF at the end of a displacement is no opcode
            computed = computed or code[max(at - 1, 0) : at] != b"\xff"
    return Jumps(frozenset(cells), frozenset(targets), computed)


def aarch64_jumps(code: bytes, pc: int) -> Jumps:
    """B, and BR with or without a load of its register by way of an ADRP (Arm ARM, C6.2)."""
    cells: set[int] = set()
    targets: set[int] = set()
    computed = False
    loaded: dict[int, int] = {}
    loads = {index: (register, cell) for index, register, cell in loads_by_page(code, pc)}
    for index, word in enumerate(instructions(code)):
        if word & 0xFC000000 == 0x14000000:
            offset = word & 0x3FFFFFF
            targets.add(pc + 4 * index + 4 * (offset - ((offset & 1 << 25) << 1)))
        elif word & 0xFFFFFC1F == 0xD61F0000:
            cell = loaded.get(word >> 5 & 31)
            computed = computed or cell is None
            cells |= {cell} if cell is not None else set()
        loaded.pop(word & 31, None)  # what most instructions write to
        if index in loads:
            loaded[loads[index][0]] = loads[index][1]
    return Jumps(frozenset(cells), frozenset(targets), computed)


def x86_64_call_register(code: bytes) -> str | None:
    """The register of the `call *%REG` (FF D0 to FF D7, R8 to R15 behind 41) that `code` ends
    with."""
    if len(code) < 3 or code[-2] != 0xFF or code[-1] & 0xF8 != 0xD0:
        return None
    return _X86_64_NAMES[(code[-1] & 7) + (8 if code[-3] == 0x41 else 0)]


def aarch64_call_register(code: bytes) -> str | None:
    """The register of the BLR that `code` ends with."""
    word = instructions(code[-4:])[0] if len(code) >= 4 else 0
    return f"x{word >> 5 & 31}" if word & 0xFFFFFC1F == 0xD63F0000 else None
