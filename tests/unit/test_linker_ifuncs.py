"""What a resolver's code shows that it can return."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbext.elf.arch import AARCH64, X86_64, Arch
from gdbext.elf.reader import BytesMemory
from gdbext.linker.lookup.ifuncs import result_finder
from tests.unit.lookups import Lib, world

PC = 0x401000


def assembled(arch: Arch, text: str, folder: Path) -> bytes:
    """The machine code of some lines of assembly, linked at PC; `far` is at PC + 0x3008."""
    prefix = "aarch64-linux-gnu-" if arch is AARCH64 else ""
    assert shutil.which(f"{prefix}as"), "binutils are not there"
    source, thing, linked, code = (folder / n for n in ("code.s", "code.o", "code", "code.bin"))
    source.write_text(f".globl _start, far\n_start:\n{text}\n.data\n.quad 0\nfar: .quad 0\n")
    subprocess.run([f"{prefix}as", "-o", thing, source], check=True)
    script = folder / "script"
    script.write_text(
        f"SECTIONS {{ . = {PC}; .text : {{ *(.text) }} . = {PC + 0x3000}; .data : {{ *(.data) }} }}"
    )
    subprocess.run([f"{prefix}ld", "-T", script, "-o", linked, thing], check=True)
    subprocess.run([f"{prefix}objcopy", "-O", "binary", "-j", ".text", linked, code], check=True)
    return code.read_bytes()


FAR = PC + 0x3008
X86_SNIPPETS = [
    ("lea far(%rip), %rax\nret", "addresses", FAR),
    ("lea far(%rip), %rdx\nret", "addresses", FAR),
    ("lea far(%rip), %r9\nret", "addresses", FAR),
    ("mov far(%rip), %rax\nret", "cells", FAR),
    ("mov $far, %eax\nret", "addresses", FAR),
    ("mov $far, %r8d\nret", "addresses", FAR),
    ("mov $far, %rax\nret", "addresses", FAR),
    ("call helper\nret\nnop\nhelper: ret", "calls", PC + 7),
    ("jmp helper\n.fill 200, 1, 0x90\nhelper: ret", "calls", PC + 205),
    ("test %eax, %eax\nlea far(%rip), %rax\ncmovne %rcx, %rax\nret", "addresses", FAR),
]
ARM_SNIPPETS = [
    ("adrp x0, far\nadd x0, x0, :lo12:far\nret", "addresses", FAR),
    ("adrp x3, far\ncmp x1, 2\nadd x0, x3, :lo12:far\nret", "addresses", FAR),
    ("adrp x0, far\nldr x0, [x0, :lo12:far]\nret", "cells", FAR),
    ("adr x0, helper\nret\nhelper: ret", "addresses", PC + 8),
    ("helper: ret\nadr x0, helper\nret", "addresses", PC),
    ("bl helper\nret\nhelper: ret", "calls", PC + 8),
    ("helper: ret\nb helper", "calls", PC),
    ("adrp x0, far\nret", "addresses", PC + 0x3000),
]
SNIPPETS = [(X86_64, *row) for row in X86_SNIPPETS] + [(AARCH64, *row) for row in ARM_SNIPPETS]


@pytest.mark.parametrize(("arch", "text", "where", "address"), SNIPPETS)
def test_what_code_takes(arch: Arch, text: str, where: str, address: int, tmp_path: Path) -> None:
    code = assembled(arch, text, tmp_path)
    assert address in getattr(arch.taken(code, PC), where)


@given(st.sampled_from([X86_64, AARCH64]), st.binary(max_size=64), st.integers(0, (1 << 64) - 1))
def test_random_code(arch: Arch, code: bytes, pc: int) -> None:
    taken = arch.taken(code, pc)
    assert len(taken.addresses) + len(taken.cells) + len(taken.calls) <= 3 * len(code) + 3
    arch.resolver(code)


# ----------------------------------------------------------------------------- the results

CELL = PC + 0x3008
NOBODY = world(Lib("main", [])).lookup


def results(found: BytesMemory, arch: Arch, resolver: int, size: int) -> frozenset[int]:
    """What a resolver in no module could return."""
    find = result_finder(found, arch, NOBODY.linker, NOBODY.tables)
    assert find(resolver, size).named - {0} <= find(resolver, size).all
    return find(resolver, size).all


def memory(arch: Arch, text: str, folder: Path, cell: int = 0x7F00) -> BytesMemory:
    code = assembled(arch, text, folder)
    return BytesMemory({PC: code.ljust(0x800, b"\0"), CELL: struct.pack("<Q", cell)})


@pytest.mark.parametrize(
    ("arch", "text"),
    [
        (X86_64, "mov far(%rip), %rax\nret"),
        (AARCH64, "adrp x0, far\nldr x0, [x0, :lo12:far]\nret"),
    ],
)
def test_a_result_that_is_loaded_from_a_cell(arch: Arch, text: str, tmp_path: Path) -> None:
    found = results(memory(arch, text, tmp_path, 0x7F0012345678), arch, PC, 16)
    assert 0x7F0012345678 in found
    assert 0x7F0012345679 not in found


@pytest.mark.parametrize(
    ("arch", "text", "size"),
    [
        (X86_64, "call helper\nret\n.fill 64, 1, 0x90\nhelper: lea far(%rip), %rax\nret", 6),
        (AARCH64, "bl helper\nret\n.fill 16, 4, 0xd503201f\nhelper: adrp x0, far\n"
         "add x0, x0, :lo12:far\nret", 8),
    ],
)  # fmt: skip
def test_a_result_that_a_helper_names(arch: Arch, text: str, size: int, tmp_path: Path) -> None:
    found = memory(arch, text, tmp_path)
    assert FAR in results(found, arch, PC, size)


def test_a_resolver_that_cannot_be_read_shows_nothing() -> None:
    find = result_finder(BytesMemory({}), X86_64, NOBODY.linker, NOBODY.tables)
    assert not find(PC, 64).read
    assert results(BytesMemory({}), X86_64, PC, 64) == frozenset()
    assert results(BytesMemory({}), AARCH64, 0, 0) == frozenset()


def test_a_cell_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    code = assembled(X86_64, "mov far(%rip), %rax\nlea _start(%rip), %rax\nret", tmp_path)
    found = results(BytesMemory({PC: code.ljust(64, b"\0")}), X86_64, PC, 0)
    assert PC in found


def test_code_at_the_end_of_memory_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    code = assembled(X86_64, "lea far(%rip), %rax\nret", tmp_path)
    found = results(BytesMemory({PC: code.ljust(64, b"\0")}), X86_64, PC, 2000)
    assert FAR in found


def test_real_resolvers_name_what_they_return() -> None:
    """glibc's strlen chooses among functions that its .symtab names, where that is there."""
    source = Path("/usr/lib/x86_64-linux-gnu/libc.so.6")
    said = subprocess.run(["readelf", "-sDW", source], capture_output=True, text=True).stdout
    ifuncs = re.findall(r"^ *\d+: ([0-9a-f]+) +(\d+) IFUNC .* (\w+)@@", said, re.MULTILINE)
    assert len(ifuncs) > 20
    data = source.read_bytes()  # libc's first segments are where the file has them
    named = 0
    for value, size, _ in ifuncs:
        start = int(value, 16)
        code = data[start : start + int(size)]
        taken = X86_64.taken(code, start)
        named += bool(taken.addresses | taken.cells)
    assert named == len(ifuncs)
