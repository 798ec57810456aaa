"""The CPU level that an object needs: GNU property notes (x86-64 psABI, 3.1.1 and the Linux
extensions' .note.gnu.property)."""

from __future__ import annotations

import struct

from gdbext.elf.image import Image
from gdbext.elf.notes import image_notes
from gdbext.elf.reader import Memory

NT_GNU_PROPERTY_TYPE_0 = 5
_X86_ISA_1_NEEDED = 0xC0008002  # binutils, include/elf/common.h, GNU_PROPERTY_X86_ISA_1_NEEDED
_EM_X86_64 = 62
LEVELS = ("x86-64-baseline", "x86-64-v2", "x86-64-v3", "x86-64-v4")
# The flags of proc(5)'s cpuinfo that make a level (psABI, table 3.1); what is not listed there by
# a name of its own is left out.
_FLAGS = (
    frozenset({"cmov", "cx8", "fpu", "fxsr", "mmx", "sse", "sse2"}),
    frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}),
    frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)


def read_needed_levels(memory: Memory, image: Image) -> int:
    """The bits of GNU_PROPERTY_X86_ISA_1_NEEDED: bit n is LEVELS[n]; 0 where it says nothing."""
    if image.header.machine != _EM_X86_64:
        return 0
    needed = 0
    for note in image_notes(memory, image):
        if note.owner == b"GNU" and note.type == NT_GNU_PROPERTY_TYPE_0:
            needed |= _levels(note.data)
    return needed


def _levels(data: bytes) -> int:
    """Properties are {type, size, data} in steps of 8 bytes."""
    at, needed = 0, 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind == _X86_ISA_1_NEEDED and size == 4 and at + 12 <= len(data):
            needed |= struct.unpack_from("<I", data, at + 8)[0]
        at += 8 + -(-size // 8) * 8
    return needed


def cpu_levels(cpuinfo: str) -> int | None:
    """The levels that a CPU has, as bits, by the text of /proc/cpuinfo; None if it has no flags."""
    line = next((x for x in cpuinfo.splitlines() if x.startswith("flags\t")), None)
    if line is None:
        return None
    flags = set(line.partition(":")[2].split())
    found = 0
    for bit, wanted in enumerate(_FLAGS):
        if not wanted <= flags:
            break
        found |= 1 << bit
    return found


def missing_levels(needed: int, present: int) -> list[str]:
    """The names of the levels that are needed and not there."""
    bits = [b for b in range(32) if needed >> b & 1 and not present >> b & 1]
    return [LEVELS[b] if b < len(LEVELS) else f"an unknown level (bit {b})" for b in bits]
