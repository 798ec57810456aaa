"""PLT entries and call instructions: objdump and readelf judge the real ones."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gdbext.elf import aarch64
from gdbext.elf.arch import AARCH64, ARCHES, X86_64, Arch
from gdbext.elf.file import ElfFile, open_elf
from gdbext.elf.image import DT_PLTGOT
from gdbext.elf.relocations import Relocation, read_relocations
from gdbext.elf.symbols import read_dynamic_symbols
from tests import programs
from tests.oracles import said_by
from tests.unit import samples

PLT_ENTRY = re.compile(r"^([0-9a-f]+) <([^@>]+?)(?:@[^>]*)?@plt>:$", re.MULTILINE)
X86_CALL = re.compile(
    r"^ +([0-9a-f]+):\t((?:[0-9a-f]{2} )+) *\t(?:bnd |notrack )?call +"
    r"(?:([0-9a-f]+) <|\*0x[0-9a-f]+\(%rip\) +# ([0-9a-f]+))",
    re.MULTILINE,
)
BL = re.compile(r"^ +([0-9a-f]+):\t[0-9a-f]{8} \tbl\t([0-9a-f]+) <", re.MULTILINE)


@cache
def files() -> tuple[tuple[Path, ElfFile, Arch], ...]:
    """Every program and library of testprogs and some of the system's, with its CPU."""
    arches = {arch.machine: arch for arch in ARCHES}
    paths = samples.built() + samples.system()[::6]
    elves = [(path, open_elf(str(path))) for path in paths]
    return tuple((path, elf, arches[elf.image.header.machine]) for path, elf in elves)


def disassembly(path: Path, arch: Arch) -> str:
    return said_by_objdump("aarch64-linux-gnu-objdump" if arch is AARCH64 else "objdump", path)


@cache
def said_by_objdump(tool: str, path: Path) -> str:
    return said_by(tool, "-dw", str(path))


def kind(arch: Arch, relocation: Relocation) -> str:
    return arch.relocations[relocation.type][0] if relocation.type else ""


def slots_by_name(elf: ElfFile, arch: Arch) -> dict[str, set[int]]:
    """{the name that objdump gives the PLT entry: its slots}."""
    table = read_dynamic_symbols(elf.memory, elf.image)
    slots: dict[str, set[int]] = {}
    for relocation in read_relocations(elf.memory, elf.image):
        if kind(arch, relocation) == "IRELATIVE":
            name = f"*ABS*+{relocation.addend:#x}"
        else:
            name = table.name(relocation.symbol)
        if kind(arch, relocation) == "TLSDESC":
            continue  # has no PLT entry
        slots.setdefault(name, set()).add(relocation.offset)
    return slots


@pytest.mark.usefixtures("built")
def test_every_plt_entry_leads_to_the_slot_of_its_symbol() -> None:
    entries = dict.fromkeys(("x86_64", "aarch64", "musl"), 0)
    for path, elf, arch in files():
        if not elf.sections or not elf.image.dynamic:
            continue
        slots = slots_by_name(elf, arch)
        for address, name in PLT_ENTRY.findall(disassembly(path, arch)):
            start = int(address, 16)
            code = elf.memory.read(start, 24)
            slot = arch.stub_slot(code, start)
            # objdump also calls the trampoline behind the entries, for lazy TLSDESC, an entry
            assert slot in slots.get(name, {None}), (path, address, name)
            if path in samples.built():
                entries[path.relative_to(programs.BUILDS).parts[0]] += 1
    assert min(entries.values()) > 100, entries


@pytest.mark.usefixtures("built")
def test_nothing_else_is_a_plt_entry() -> None:
    for path, elf, arch in files():
        text = next((s for s in elf.sections if s.name == ".text"), None)
        if text is None or path not in samples.built() or "static" in path.parts:
            continue
        code = elf.memory.read(text.address, text.size)
        starts = [text.address, *(int(a, 16) for a in functions(disassembly(path, arch)))]
        for start in starts:
            inside = start - text.address
            if 0 <= inside < len(code):
                assert arch.stub_slot(code[inside : inside + 24], start) is None, (path, start)


def functions(text: str) -> list[str]:
    """Where they begin, but for one of shapes/other.c that is nothing but a jump by a pointer."""
    return re.findall(r"^([0-9a-f]+) <(?!call_back>)[^@>]+>:$", text, re.MULTILINE)


@pytest.mark.usefixtures("built")
def test_every_lazy_slot_starts_at_its_own_stub() -> None:
    slots = 0
    for path, elf, arch in files():
        got = elf.image.pointer(DT_PLTGOT)
        lazy = [r for r in read_relocations(elf.memory, elf.image) if kind(arch, r) == "JUMP_SLOT"]
        text = next((s for s in elf.sections if s.name == ".text"), None)
        for relocation in lazy:
            index = relocation.plt_index
            assert index is not None
            assert got is not None
            value = struct.unpack("<Q", elf.memory.read(relocation.offset, 8))[0]
            if value == 0:
                continue  # linked -z now without a lazy PLT
            code = elf.memory.read(value, 32)
            assert arch.lazy_stub(code, value, index, got), (path, hex(relocation.offset))
            assert not arch.lazy_stub(code, value, index, got + 8) or arch is X86_64
            assert not arch.lazy_stub(code, value, index + 1, got) or arch is AARCH64
            if text:
                own = elf.memory.read(text.address, 32)
                assert not arch.lazy_stub(own, text.address, index, got)
            slots += 1
    assert slots > 1000


@pytest.mark.usefixtures("built")
def test_calls_lead_where_objdump_says() -> None:
    seen = dict.fromkeys(("slot", "stub"), 0)
    for path, elf, arch in files():
        if path not in samples.built() or path.name.startswith("static"):
            continue
        for pc, expected in calls(disassembly(path, arch), arch):
            code = elf.memory.read(pc - 24, 24)
            assert arch.call_slot(code, pc) == expected, (path, hex(pc))
            seen[expected[0]] += 1
    assert seen["stub"] > 1000
    assert seen["slot"] > 50


def calls(text: str, arch: Arch) -> Iterator[tuple[int, tuple[str, int]]]:
    """(return address, what call_slot should say) of each direct or PC-relative call."""
    if arch is AARCH64:
        for at, target in BL.findall(text):
            yield int(at, 16) + 4, ("stub", int(target, 16))
        return
    for at, code, stub, slot in X86_CALL.findall(text):
        end = int(at, 16) + len(code.split())
        yield end, ("stub", int(stub, 16)) if stub else ("slot", int(slot, 16))


@pytest.mark.usefixtures("built")
def test_arm64_calls_without_a_plt_load_their_slot_first() -> None:
    path = programs.BUILDS / "aarch64" / "noplt" / "libplugin.so"
    elf = open_elf(str(path))
    slots = set.union(*slots_by_name(elf, AARCH64).values())
    ends = re.findall(r"^ +([0-9a-f]+):\t[0-9a-f]{8} \tblr\t", disassembly(path, AARCH64), re.M)
    through = [
        AARCH64.call_slot(elf.memory.read(int(at, 16) - 20, 24), int(at, 16) + 4) for at in ends
    ]
    found = {way[1] for way in through if way is not None and way[0] == "slot"}
    assert found
    assert found <= slots


@pytest.mark.usefixtures("built")
def test_arm64_instructions_are_decoded_as_objdump_decodes_them() -> None:
    pattern = re.compile(
        r"^ +([0-9a-f]+):\t([0-9a-f]{8}) \t(?:adrp\tx(\d+), ([0-9a-f]+)"
        r"|ldr\tx(\d+), \[x(\d+)(?:, #(\d+))?\]$|)",
        re.MULTILINE,
    )
    decoded = 0
    for path, _, arch in files():
        if arch is not AARCH64 or path not in samples.built() or path.name.startswith("static"):
            continue
        for at, code, register, page, target, base, offset in pattern.findall(
            disassembly(path, arch)
        ):
            word, pc = int(code, 16), int(at, 16)
            adrp = (int(register), int(page, 16)) if register else None
            load = (int(target), int(base), int(offset or 0)) if target else None
            assert aarch64.adrp(word, pc) == adrp, (path, at)
            if load or not is_load(word):  # ldr from sp is no concern
                assert aarch64.ldr(word) == load, (path, at)
            decoded += bool(adrp or load)
    assert decoded > 1000


def is_load(word: int) -> bool:
    """A 64-bit LDR whose base is SP, or whose target is XZR."""
    return word & 0xFFC00000 == 0xF9400000 and (word >> 5 & 31 == 31 or word & 31 == 31)


def test_adrp_goes_backward_too() -> None:
    # adrp x16, pc - 1 page: immhi and immlo all ones
    assert aarch64.adrp(0xF0FFFFF0, 0x412345) == (16, 0x411000)


BTI_ENTRY = struct.pack("<6I", 0xD503245F, 0xF00000F0, 0xF947FE11, 0x913FE210, 0xD61F0220, 0)


def test_a_plt_entry_behind_bti() -> None:
    assert AARCH64.stub_slot(BTI_ENTRY, 0x3C0) == 0x1FFF8
    assert AARCH64.stub_slot(BTI_ENTRY[4:], 0x3C4) == 0x1FFF8
    assert AARCH64.stub_slot(BTI_ENTRY[:16], 0x3C0) is None  # cut before its branch


IBT_ENTRY = b"\xf3\x0f\x1e\xfa\xff\x25\x96\x2f\x00\x00"


@pytest.mark.parametrize("prefix", [b"", b"\xf2", b"\x3e"])
def test_x86_plt_entries_with_prefixes(prefix: bytes) -> None:
    code = IBT_ENTRY[:4] + prefix + IBT_ENTRY[4:]
    assert X86_64.stub_slot(code, 0x1060) == 0x4000 + len(prefix)
    assert X86_64.stub_slot(code[:-1], 0x1060) is None


def test_lazy_stub_of_mold_is_plt0() -> None:
    plt0 = b"\xf3\x0f\x1e\xfa\x41\x53\xff\x35" + struct.pack("<i", 0x4008 - 0x100C) + bytes(8)
    assert X86_64.lazy_stub(plt0, 0x1000, 3, 0x4000)
    assert not X86_64.lazy_stub(plt0, 0x1000, 3, 0x4008)


@pytest.mark.parametrize("arch", ARCHES, ids=lambda a: a.name)
@pytest.mark.parametrize("code", [b"", b"\x68", b"\xff\x25\0", bytes(24), b"\xff" * 24])
def test_code_that_is_cut_short_or_none(arch: Arch, code: bytes) -> None:
    assert arch.stub_slot(code, 0x1000) is None
    assert not arch.lazy_stub(code, 0x1000, 0, 0x4000)
    assert arch.call_slot(code, 0x1000) is None


def test_code_addresses_lose_what_is_no_address() -> None:
    assert AARCH64.code_address(0x00AA_7FFF_1234_5678) == 0x000A_7FFF_1234_5678
    assert AARCH64.code_address(0xFF00_0000_0040_0000) == 0x400000
    assert X86_64.code_address(0x00AA_7FFF_1234_5678) == 0x00AA_7FFF_1234_5678


def test_a_call_through_a_variable_of_its_own() -> None:
    """adrp x0; add x0, x0, #0xf8; ldr x1, [x0]; mov w0, #1; blr x1: no GOT slot at the page."""
    words = (0xF00000E0, 0x9103E000, 0xF9400001, 0x52800020, 0xD63F0020)
    code = struct.pack("<5I", *words)
    assert AARCH64.call_slot(code, 0x1258) == ("slot", 0x200F8)
    # bl in between: x0 is another one's
    words = (0xF00000E0, 0x97FFFF31, 0xF9400001, 0xD503201F, 0xD63F0020)
    assert AARCH64.call_slot(struct.pack("<5I", *words), 0x1258) is None
    # ldr x0, [x0] after it: the slot holds the address of a variable
    code = struct.pack("<4I", 0xF00000E0, 0xF9400000, 0xF9400000, 0xD63F0000)
    assert AARCH64.call_slot(code, 0x1258) is None


@pytest.mark.parametrize(
    ("trap", "error", "found"),
    [
        (14, 0x4, (11, 1, 0x1000)),  # SIGSEGV, SEGV_MAPERR
        (14, 0x7, (11, 2, 0x1000)),  # SEGV_ACCERR
        (13, 0, (11, 128, 0)),  # SI_KERNEL
        (6, 0, (4, 2, 0)),  # SIGILL, ILL_ILLOPN
        (0, 0, None),  # division by zero, or nothing happened at all
    ],
)
def test_the_cpus_exception_in_a_signal_frame(
    trap: int, error: int, found: tuple[int, int, int] | None
) -> None:
    """As gcc lays struct ucontext out: uc_mcontext at 40, gregs[REG_ERR] being its 20th."""
    context = bytearray(304)
    struct.pack_into("<4Q", context, 40 + 8 * 19, error, trap, 0, 0x1000)
    assert X86_64.trap(bytes(context)) == found
