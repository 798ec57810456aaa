"""The oracles' parsers, on text that the tools really wrote, and on this machine's own files."""

from __future__ import annotations

import os
import struct

from tests import dwarf, oracles
from tests.dwarf import Member
from tests.oracles import Loaded, Mapping, NmSymbol, Slot

READELF = """
Relocation section '.rela.dyn' at offset 0x4b8 contains 6 entries:
    Offset             Info             Type               Symbol's Value  Symbol's Name + Addend
0000000000003e18  0000000000000008 R_X86_64_RELATIVE                         1110
0000000000003fc8  0000000100000006 R_X86_64_GLOB_DAT      0000000000000000 wait4@GLIBC_2.2.5 + 0
0000000000004008  0000000000000025 R_X86_64_IRELATIVE                        113c
0000000000004018  0000000000000010 R_X86_64_DTPMOD64                         0
0000000000004020  0000000000000012 R_X86_64_TPOFF64                          fffffffffffffff8
0000000000003ed8  0000000200000101 R_AARCH64_ABS64        00000000000002d8 pointers_text - 8
0000000000003ee0  0000000300000007 R_X86_64_JUMP_SLOT     load@@V_1.0() load@@V_1.0 + 0
Relocation section '.relr.dyn' at offset 0x5d0 contains 2 entries:
  3 offsets
0000000000003d60
0000000000003d68
"""


def test_readelf_relocations() -> None:
    assert oracles.parse_readelf_relocations(READELF) == [
        Slot(0x3E18, "R_X86_64_RELATIVE", "", "", 0x1110),
        Slot(0x3FC8, "R_X86_64_GLOB_DAT", "wait4", "GLIBC_2.2.5", 0),
        Slot(0x4008, "R_X86_64_IRELATIVE", "", "", 0x113C),
        Slot(0x4018, "R_X86_64_DTPMOD64", "", "", 0),
        Slot(0x4020, "R_X86_64_TPOFF64", "", "", -8),
        Slot(0x3ED8, "R_AARCH64_ABS64", "pointers_text", "", -8),
        Slot(0x3EE0, "R_X86_64_JUMP_SLOT", "load", "V_1.0", 0),
        Slot(0x3D60, "RELR", "", "", 0),
        Slot(0x3D68, "RELR", "", "", 0),
    ]


def test_nm() -> None:
    text = (
        "0000000000000000 A GLIBC_2.36\n"
        "00000000000d3e80 T fork@@GLIBC_2.2.5\n"
        "00000000000d3e80 T old@GLIBC_2.2\n"
        "                 w __gmon_start__\n"
        "00000000001160e0 i memcpy\n"
    )
    assert oracles.parse_nm(text) == [
        NmSymbol("GLIBC_2.36", "", "A", 0, default=False),
        NmSymbol("fork", "GLIBC_2.2.5", "T", 0xD3E80, default=True),
        NmSymbol("old", "GLIBC_2.2", "T", 0xD3E80, default=False),
        NmSymbol("__gmon_start__", "", "w", None, default=False),
        NmSymbol("memcpy", "", "i", 0x1160E0, default=False),
    ]


def test_maps() -> None:
    text = (
        "00400000-00452000 r-xp 00001000 08:02 173521                     /usr/bin/a b\\012c\n"
        "7ffff7ff0000-7ffff7ff4000 r--p 00000000 00:00 0                  [vvar]\n"
        "7ffff7ff4000-7ffff7ff5000 rw-p 00000000 00:00 0 \n"
    )
    assert oracles.parse_maps(text) == [
        Mapping(0x400000, 0x452000, "r-xp", 0x1000, 173521, "/usr/bin/a b\nc"),
        Mapping(0x7FFFF7FF0000, 0x7FFFF7FF4000, "r--p", 0, 0, "[vvar]"),
        Mapping(0x7FFFF7FF4000, 0x7FFFF7FF5000, "rw-p", 0, 0, ""),
    ]


def test_auxv() -> None:
    data = struct.pack("<6Q", 9, 0x401000, 7, 0x7F0000000000, 0, 0)
    assert oracles.parse_auxv(data) == {9: 0x401000, 7: 0x7F0000000000}


def test_maps_and_auxv_of_this_process() -> None:
    entry = oracles.proc_auxv(os.getpid())[oracles.AT_ENTRY]
    assert any(one.start <= entry < one.end for one in oracles.proc_maps(os.getpid()))


LD_DEBUG = (
    "     31671:\t\n"
    "     31671:\tfile=libc.so.6 [0];  needed by /x/host [0]\n"
    "     31671:\tfile=libc.so.6 [0];  generating link map\n"
    "     31671:\t  dynamic: 0x00007f56334f1b60  base: 0x00007f563331f000"
    "   size: 0x00000000001e1f50\n"
    "     31671:\t    entry: 0x00007f5633346410  phdr: 0x00007f563331f040  phnum:      14\n"
    "     31671:\tfile=./a\nb.so [1];  dynamically loaded by /x/host [0]\n"
    "     31671:\tfile=./a\nb.so [1];  generating link map\n"
    "     31671:\t  dynamic: 0x00007f5633508de8  base: 0x00007f5633505000"
    "   size: 0x0000000000004018\n"
    "     31671:\tfile=ld-linux-x86-64.so.2 [1];  needed by /lib/libc.so.6 [1]\n"
    "     31671:\tcalling init: /lib/libc.so.6\n"
)


def test_ld_debug_files() -> None:
    assert oracles.parse_ld_debug_files(LD_DEBUG) == [
        Loaded("libc.so.6", 0, "/x/host", "needed", 0x7F563331F000, 0x1E1F50, 0x7F56334F1B60),
        Loaded("./a\nb.so", 1, "/x/host", "dlopened", 0x7F5633505000, 0x4018, 0x7F5633508DE8),
    ]


def test_layout() -> None:
    text = "sizeof 9536 0 1192\nl_addr 0 0 8\nl_type 6368 2 4\nl_relocated 6371 1 4\n"
    assert dwarf.parse_layout(text) == {
        "sizeof": Member(1192, 1192),
        "l_addr": Member(0, 8),
        "l_type": Member(796, 4, 0, 2),
        "l_relocated": Member(796, 4, 3, 1),
    }
