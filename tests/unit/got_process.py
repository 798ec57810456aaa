"""A made-up process with a slot of every kind, for tests of what stands on slots."""

from __future__ import annotations

import struct

from gdbext.elf.arch import X86_64
from gdbext.linker.loaded.modules import Linker, read_linker
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.places import Map
from gdbext.linker.process.process import Region
from gdbext.linker.threads.threads import Thread
from tests.unit import crafted, glibc
from tests.unit.crafted import FakeProcess, rela, symbol, words
from tests.unit.glibc import Glibc, Object

STACK = 0x7FFF00000000
STRINGS = b"\0function\0variable\0"
FUNCTION, VARIABLE = 1, 10
PLT0 = b"\xff\x35" + struct.pack("<i", 0x408 - (0x300 + 6)) + bytes(10)


def made() -> tuple[Glibc, FakeProcess, Linker, TableSet]:
    """A program with one library; each of its slots is of another kind.

    PLT0 is at 0x300 with one entry behind it, the GOT at 0x400, relocations at 0x600, symbols
    at 0x800.
    """
    user = Object("/lib/user.so", "user.so", ("own.so",))
    owner = Object("/lib/own.so", "own.so", tls=(8, 16, 8), tls_modid=1, tls_offset=32)
    objects = [Object("", needed=("user.so",), type=0, tls=(8, 8, 8), tls_modid=2), user, owner]
    made = glibc.make("2.36-x86-64", objects)
    base, there = user.base, owner.base
    slots = [
        (0x418, 7, 1, there + 0x40),  # JUMP_SLOT, resolved
        (0x420, 7, 1, base + 0x310 + 6),  # JUMP_SLOT, lazy
        (0x428, 6, 2, there + 0x48),  # GLOB_DAT
        (0x430, 6, 2, 0),
        (0x438, 1, 2, 0xDEAD0000),  # R_X86_64_64 outside RELRO: the program's own value
        (0x440, 6, 2, 0xDEAD0000),
        (0x448, 16, 0, 1),  # DTPMOD64
        (0x450, 8, 0, base),  # RELATIVE: not a slot
        (0x458, 37, 0, there + 0x44),  # IRELATIVE
        (0x1_0000, 6, 2, 0),  # outside of the image
    ]
    table = b"".join(rela(at, kind, index) for at, kind, index, _ in slots)
    body = bytearray(0x1000)
    body[0x300:0x310] = PLT0
    body[0x310:0x320] = b"\xff\x25" + struct.pack("<i", 0x420 - 0x316) + b"\x68\1\0\0\0" + bytes(5)
    body[0x600 : 0x600 + len(table)] = table
    for at, _, _, value in slots[:-1]:
        body[at : at + 8] = words(value)
    body[0x400:0x418] = words(1, user.address, 2)
    plant(
        made,
        user,
        body,
        [(23, 0x600), (2, 48), (7, 0x630), (8, len(table) - 48), (3, 0x400)],
        symbol(FUNCTION, 0, shndx=0) + symbol(VARIABLE, 0, shndx=0),
    )
    plant(
        made,
        owner,
        bytearray(0x1000),
        [],
        symbol(FUNCTION, 0x40, size=8) + symbol(VARIABLE, 0x48, 0x11, size=8),
    )
    process = made.process()
    linker = read_linker(process)
    tables = TableSet(process.memory, lambda _: None, lambda _: None)
    return made, process, linker, tables


def plant(
    made: Glibc, each: Object, body: bytearray, values: list[tuple[int, int]], symbols: bytes
) -> None:
    """Replace an object's image by `body` with headers, symbols and a dynamic section."""
    symbols = bytes(24) + symbols
    strings = STRINGS + each.soname.encode() + b"\0" + b"\0".join(n.encode() for n in each.needed)
    body[0x800 : 0x800 + len(symbols)] = symbols
    body[0x900:0x908] = struct.pack("<II", 1, len(symbols) // 24)
    body[0xA00 : 0xA00 + len(strings)] = strings
    dynamic = words(
        *(w for pair in values for w in pair),
        *(6, 0x800, 4, 0x900, 5, 0xA00, 10, len(strings) + 1, 14, len(STRINGS)),
        *(1, len(STRINGS) + len(each.soname) + 1) * bool(each.needed),
        *(0, 0),
    )
    body[0xC00 : 0xC00 + len(dynamic)] = dynamic
    segments = [crafted.segment(6, 64, 56 * 4), crafted.segment(1, 0, 0x1000, 7, 4096)]
    segments.append(crafted.segment(2, 0xC00, len(dynamic)))
    segments.append(crafted.segment(7, 0x148, 8, 4, 8, 16) if each.tls else segments[0])
    body[:64] = crafted.header(3, 62, 4)
    body[64 : 64 + 56 * 4] = b"".join(segments)
    made.runs[each.base] = bytes(body)
    made.write(each, 16, words(each.base + 0xC00))


def places() -> tuple[Map, Linker]:
    build, process, linker, tables = made()
    areas = [
        *process.areas,
        Region(0x900000, 0x901000, 6, 0, "[heap]", None),
        Region(0x910000, 0x912000, 4, 0x3000, "/usr/share/x", (1, 2)),
        Region(0x920000, 0x921000, 6, 0, None, None),
        Region(STACK - 0x1000, STACK, 0, 0, None, None),
        Region(STACK, STACK + 0x3000, 6, 0, None, None),
    ]
    process.areas = sorted(areas)
    build.runs[STACK] = bytes(0x3000)
    process.memory = crafted.spread(build.runs)
    thread = Thread(4, 99, STACK + 0x1800, STACK + 0x2000)
    return Map(process, X86_64, linker, tables, lambda: [thread], lambda _: None), linker


def with_tables(process: FakeProcess) -> tuple[Map, Linker]:
    """The address space of a process without threads."""
    linker = read_linker(process)
    tables = TableSet(process.memory, lambda _: None, lambda _: None)
    return Map(process, X86_64, linker, tables, tuple, lambda _: None), linker
