"""Chains of link_maps: whole ones, broken ones, and every namespace."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence

from gdbext.elf.image import DT_HASH, DT_STRSZ, DT_STRTAB, DT_SYMTAB
from gdbext.elf.reader import BytesMemory
from gdbext.linker.loaded.linkmaps import RT_ADD, addresses, read_namespaces, walk_chain
from tests.unit import crafted
from tests.unit.crafted import words

A, B, C = 0x10000, 0x20000, 0x30000
BRK = 0x7F0000001234


def chain(*entries: tuple[int, int, int]) -> dict[int, bytes]:
    """Memory of (address, l_next, l_prev), each with its name behind it."""
    return {
        at: words(at + 1, at + 64, at + 2, following, before, at) + bytes(16) + b"/lib/%x\0" % at
        + bytes(256)
        for at, following, before in entries
    }  # fmt: skip


def walk(runs: dict[int, bytes], first: int = A) -> tuple[list[int], tuple[str, ...]]:
    maps, damage = walk_chain(BytesMemory(runs), first)
    return [m.address for m in maps], damage


def test_a_whole_chain() -> None:
    maps, damage = walk_chain(BytesMemory(chain((A, B, 0), (B, C, A), (C, 0, B))), A)
    assert damage == ()
    assert maps == (
        (A, A + 1, b"/lib/10000", A + 2, B, 0),
        (B, B + 1, b"/lib/20000", B + 2, C, A),
        (C, C + 1, b"/lib/30000", C + 2, 0, B),
    )
    assert walk({}, 0) == ([], ())


def test_chains_with_loops() -> None:
    found, damage = walk(chain((A, B, 0), (B, A, A)))
    assert found == [A, B]
    assert damage == ("the link_map chain loops back to 0x10000 after 2 entries",)
    found, damage = walk(chain((A, A, 0)))
    assert (found, len(damage)) == ([A], 1)
    found, damage = walk(chain((A, B, 0), (B, C, A), (C, B, B)))
    assert (found, damage) == ([A, B, C], ("the link_map chain loops back to 0x20000 after 3 "
                                           "entries",))  # fmt: skip


def test_chains_with_wild_pointers() -> None:
    found, damage = walk(chain((A, 0xDEAD0000, 0)))
    assert found == [A]
    assert damage == ("the link_map at 0xdead0000 (after entry 1) cannot be read",)
    assert walk({}, 0xDEAD0000) == (
        [],
        ("the link_map at 0xdead0000 (after r_debug) cannot be read",),
    )
    found, damage = walk(chain((A, (1 << 64) - 8, 0)))
    assert (found, len(damage)) == ([A], 1)


def test_a_wrong_l_prev_ends_the_chain() -> None:
    found, damage = walk(chain((A, B, 0), (B, C, C), (C, 0, B)))
    assert found == [A]
    assert "0x20000 is damaged: its l_prev is 0x30000" in damage[0]
    found, damage = walk(chain((A, 0, B)))
    assert (found, len(damage)) == ([], 1)


def test_names() -> None:
    runs = chain((A, B, 0), (B, C, A), (C, 0, B))
    runs[A] = words(0, 0, 0, B, 0)  # no name at all
    runs[B] = words(0, 0x5000 - 3, 0, C, A)
    runs[0x5000 - 3] = b"ok\0"  # nothing is mapped behind it
    runs[C] = words(0, 0x6000 - 3, 0, 0, B)
    runs[0x6000 - 3] = b"cut"  # runs out of memory
    maps, damage = walk_chain(BytesMemory(runs), A)
    assert [m.l_name for m in maps] == [b"", b"ok", None]
    assert damage == ("the name of the link_map at 0x30000 cannot be read",)
    runs[0x6000 - 3] = b"x" * (4096 + 3)  # longer than a path can be
    assert walk_chain(BytesMemory(runs), A)[0][2].l_name is None
    runs[0x6000 - 3] = b"\xff\n\x1b[0m\0" + bytes(256)
    assert walk_chain(BytesMemory(runs), A)[0][2].l_name == b"\xff\n\x1b[0m"


def test_a_chain_of_100001_entries_is_cut() -> None:
    count = 100_001
    body = bytearray(40 * count)
    for n in range(count):
        following = A + 40 * (n + 1) if n + 1 < count else 0
        before = A + 40 * (n - 1) if n else 0
        struct.pack_into("<5Q", body, 40 * n, 0, 0, 0, following, before)
    start = time.process_time()
    found, damage = walk({A: bytes(body)})
    assert time.process_time() - start < 10
    assert len(found) == 100_000
    assert damage == ("the link_map chain has more than 100000 entries",)
    assert walk({A: bytes(body)}, A + 40)[1] != ()  # its l_prev is not 0


def r_debug(version: int, first: int, state: int = 0, following: int = 0) -> bytes:
    """The upper half of r_state's word is padding and may hold anything."""
    return words(version, first, BRK, state | 0xABCD << 32, 0x7F0000000000, following)


def namespaces(runs: dict[int, bytes], first: int = 0x100) -> Sequence[tuple[int, int, list[int]]]:
    found = read_namespaces(BytesMemory(runs), first, None)
    assert all(n.brk == BRK for n in found)
    assert addresses(found) == {m.address for n in found for m in n.maps}
    return [(n.index, n.r_debug, [m.address for m in n.maps]) for n in found]


def test_version_1_has_no_r_next() -> None:
    runs = chain((A, 0, 0), (B, 0, 0))
    runs[0x100] = r_debug(1, A, RT_ADD, 0x200)
    runs[0x200] = r_debug(1, B)
    assert namespaces(runs) == [(0, 0x100, [A])]
    assert read_namespaces(BytesMemory(runs), 0x100, None)[0].state == RT_ADD


def test_version_2_lists_its_namespaces() -> None:
    runs = chain((A, 0, 0), (B, 0, 0), (C, 0, 0))
    runs[0x100] = r_debug(2, A, 0, 0x200)
    runs[0x200] = r_debug(2, B, 0, 0x300)
    runs[0x300] = r_debug(2, 0, 0, 0x400)  # emptied by dlclose: it stays on the list
    runs[0x400] = r_debug(2, C)
    assert namespaces(runs) == [(0, 0x100, [A]), (1, 0x200, [B]), (3, 0x400, [C])]


def test_damaged_lists_of_namespaces() -> None:
    runs = chain((A, 0, 0), (B, 0, 0))
    runs[0x100] = r_debug(2, A, 0, 0x200)
    assert namespaces(runs) == [(0, 0x100, [A])]  # r_next leads nowhere
    runs[0x200] = r_debug(2, B, 0, 0x100)  # and round and round
    assert namespaces(runs) == [(0, 0x100, [A]), (1, 0x200, [B])]
    runs[0x200] = r_debug(2, 0xDEAD0000)
    found = read_namespaces(BytesMemory(runs), 0x100, None)
    assert [len(n.damage) for n in found] == [0, 1]


def test_a_list_of_namespaces_without_end() -> None:
    runs = chain((A, 0, 0))
    body = b"".join(r_debug(2, A, 0, 0x100000 + 48 * (n + 1)) for n in range(1000))
    assert len(namespaces({**runs, 0x100000: body}, 0x100000)) == 256


def test_before_2_35_the_namespaces_are_found_in_rtld_global() -> None:
    runs = chain((A, 0, 0), (B, 0, 0))
    # _dl_ns[] as glibc has it: the r_debugs stand among other fields, the first elsewhere
    table = words(7, 8) + r_debug(1, B) + words(BRK, 9, 10) + bytes(64)
    symbols = crafted.symbol(0) + crafted.symbol(1, 0x100, 0x11, 1, len(table))
    parts = {
        1 << 40: bytes(0x800),
        DT_HASH: struct.pack("<II", 1, 2),
        DT_SYMTAB: symbols,
        DT_STRTAB: b"\0_rtld_global\0",
    }
    data = bytearray(crafted.make_elf(parts, [(DT_STRSZ, 14)]))
    at = 0x200
    struct.pack_into("<Q", data, bytes(data).index(symbols) + 24 + 8, at)
    data[at : at + len(table)] = table
    base = 0x700000
    memory, linker = crafted.load(bytes(data), base)
    del memory
    runs[base] = bytes(data)
    runs[0x100] = r_debug(1, A)
    found = read_namespaces(BytesMemory(runs), 0x100, linker)
    assert [(n.r_debug, [m.address for m in n.maps]) for n in found] == [
        (0x100, [A]),
        (base + at + 16, [B]),
    ]
    assert len(read_namespaces(BytesMemory(runs), 0x100, None)) == 1
    del runs[base]  # not in the core
    assert len(read_namespaces(BytesMemory(runs), 0x100, linker)) == 1
