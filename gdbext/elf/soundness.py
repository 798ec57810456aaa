"""What ld.so would object to in a file before it maps it, in the order of its own checks.

Sources: glibc, elf/dl-load.c (open_verify, _dl_map_object_from_fd) and elf/dl-open.c; musl,
ldso/dynlink.c (map_library), which makes most of these one error, "Exec format error".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from gdbext.elf.file import FileData
from gdbext.elf.image import (
    DF_1_PIE,
    DT_FLAGS_1,
    ET_CORE,
    ET_DYN,
    ET_EXEC,
    HEADER_SIZE,
    PF_X,
    PT_DYNAMIC,
    PT_GNU_STACK,
    PT_LOAD,
    Image,
    Segment,
    decode_segments,
)
from gdbext.elf.reader import PAGE

NOT_ELF, TRUNCATED, WRONG_CLASS, WRONG_MACHINE, NOT_LOADABLE = (
    "not_elf", "truncated", "wrong_class", "wrong_machine", "not_loadable",
)  # fmt: skip
CANNOT_MAP = "cannot_map"
DF_1_NOOPEN = 0x40
_ADDRESSES = 1 << 40  # bytes; more than any library takes, less than any CPU has
_SEGMENT_SIZE = 56
_ET_REL = 1
_EM_X86_64 = 62
_ABI_SYSV, _ABI_GNU = 0, 3  # glibc, sysdeps/gnu/ldsodefs.h, VALID_ELF_OSABI
_GNU_VERSIONS = 4  # EI_ABIVERSION below which it takes GNU's (LIBC_ABI_MAX in 2.31 to 2.43)
_NOT_READ = "cannot read file data"
MACHINES = {
    2: "SPARC", 3: "Intel 80386", 8: "MIPS", 20: "PowerPC", 21: "PowerPC64", 22: "IBM S/390",
    40: "ARM (32-bit)", 43: "SPARC V9", 62: "x86-64", 183: "AArch64 (ARM64)", 243: "RISC-V",
    258: "LoongArch",
}  # fmt: skip


class Flaw(NamedTuple):
    """Why a file cannot be opened. `text` is glibc's message for it, `detail` what is there.

    `passed`: a search by name goes on to the next directory, as if the file were not there.
    """

    kind: str
    text: str
    detail: str
    passed: bool = False


def machine_name(machine: int) -> str:
    """What readelf calls e_machine, more or less."""
    return MACHINES.get(machine, f"machine {machine}")


def check_header(data: FileData, machine: int, by_glibc: bool = True) -> Flaw | None:
    """What open_verify finds wrong in the first bytes of a file, for a CPU's e_machine.

    Neither musl nor the kernel, which maps programs (fs/binfmt_elf.c), looks at versions and ABI.
    """
    size = len(data)
    head = bytes(data[:HEADER_SIZE])
    if size < HEADER_SIZE:
        if head[:4] == b"\x7fELF":
            return Flaw(TRUNCATED, "file too short", f"it ends after {size} bytes of an ELF header")
        what = "it is empty" if not size else f"it has {size} bytes and no ELF header"
        return Flaw(NOT_ELF, "file too short", what)
    if head[:4] != b"\x7fELF":
        return Flaw(NOT_ELF, "invalid ELF header", "it does not start with the ELF magic bytes")
    ident, kind, of, version = struct.unpack_from("<16sHHI", head)
    if ident[4] != 2:
        bits = {1: "32-bit (ELFCLASS32)"}.get(ident[4], f"of ELF class {ident[4]}")
        big = ident[5] == 2
        of = struct.unpack_from(">H" if big else "<H", head, 18)[0]
        return Flaw(
            WRONG_CLASS, "wrong ELF class: ELFCLASS32",
            f"it is {bits}, for {machine_name(of)}; this process is 64-bit", passed=True,
        )  # fmt: skip
    if ident[5] != 1:
        of = struct.unpack_from(">H", head, 18)[0]
        detail = f"it is big-endian, for {machine_name(of)}"
        return Flaw(WRONG_MACHINE, "ELF file data encoding not little-endian", detail)
    odd = _check_ident(ident, version) if by_glibc else None
    if odd is not None:
        return odd
    if of != machine:
        detail = f"it is made for {machine_name(of)}, and this process is {machine_name(machine)}"
        return Flaw(WRONG_MACHINE, "cannot open shared object file", detail, passed=True)
    if kind not in (ET_DYN, ET_EXEC):
        detail = {
            _ET_REL: "it is a relocatable object (.o), which was never linked",
            ET_CORE: "it is a core file",
        }.get(kind, f"its ELF type is {kind}")
        return Flaw(NOT_LOADABLE, "only ET_DYN and ET_EXEC can be loaded", detail)
    return _check_table(data, head)


def _check_ident(ident: bytes, version: int) -> Flaw | None:
    """The bytes behind class and encoding, and e_version."""
    abi, abi_version = ident[7], ident[8]
    if ident[6] != 1:
        text = "ELF file version ident does not match current one"
        return Flaw(NOT_LOADABLE, text, f"its header is of version {ident[6]}, not 1")
    if abi not in (_ABI_SYSV, _ABI_GNU):
        return Flaw(NOT_LOADABLE, "ELF file OS ABI invalid", f"its OS ABI is {abi}, not Linux")
    if abi_version >= (_GNU_VERSIONS if abi == _ABI_GNU else 1):
        text = "ELF file ABI version invalid"
        return Flaw(NOT_LOADABLE, text, f"it is made for version {abi_version} of its ABI")
    if any(ident[9:]):
        return Flaw(NOT_LOADABLE, "nonzero padding in e_ident", "its header is damaged (e_ident)")
    if version != 1:
        text = "ELF file version does not match current one"
        return Flaw(NOT_LOADABLE, text, f"its e_version is {version}, not 1")
    return None


def _check_table(data: FileData, head: bytes) -> Flaw | None:
    phoff, phentsize, phnum = (
        struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54)
    )  # fmt: skip
    if phentsize != _SEGMENT_SIZE:
        text = "ELF file's phentsize not the expected size"
        return Flaw(NOT_LOADABLE, text, f"its program headers have {phentsize} bytes each")
    if phoff + phnum * phentsize > len(data):
        return Flaw(TRUNCATED, _NOT_READ, "it ends before its program headers do")
    return None


def check_segments(data: FileData, segments: Sequence[Segment], program: bool) -> Flaw | None:
    """What _dl_map_object_from_fd finds wrong in the program headers.

    `program`: the kernel maps it, which takes fixed addresses and wants no PT_DYNAMIC.
    """
    loads = [s for s in segments if s.type == PT_LOAD]
    for segment in loads:
        if (segment.vaddr - segment.offset) % PAGE:
            text = "ELF load command address/offset not page-aligned"
            return Flaw(NOT_LOADABLE, text, "address and offset of a PT_LOAD do not agree")
    if not loads:
        text = "object file has no loadable segments"
        return Flaw(NOT_LOADABLE, text, "it has no PT_LOAD program header")
    kind = struct.unpack_from("<H", bytes(data[:HEADER_SIZE]), 16)[0]
    if kind == ET_EXEC and not program:
        detail = "it is a program for a fixed address (ET_EXEC), not a shared library"
        return Flaw(NOT_LOADABLE, "cannot dynamically load executable", detail)
    text = "failed to map segment from shared object"
    if any(s.vaddr + s.memsz > _ADDRESSES for s in loads):
        return Flaw(CANNOT_MAP, text, "a PT_LOAD has an absurd size or address")
    if any(two.vaddr < one.vaddr + one.memsz for one, two in zip(loads, loads[1:])):
        return Flaw(CANNOT_MAP, text, "its PT_LOAD segments overlap or are out of order")
    cut = _missing_bytes(data, loads)
    if cut is not None:
        return cut
    dynamic = next((s for s in segments if s.type == PT_DYNAMIC), None)
    if (dynamic is None or not dynamic.filesz or not dynamic.vaddr) and not program:
        detail = "it has no dynamic section"
        if dynamic is not None and not dynamic.filesz:
            detail += ": it is the separate debug file of a library"
        return Flaw(NOT_LOADABLE, "object file has no dynamic section", detail)
    return None


def _missing_bytes(data: FileData, loads: Sequence[Segment]) -> Flaw | None:
    """No error for mmap, but touching what is not there is SIGBUS."""
    size = len(data)
    end = max(s.offset + s.filesz for s in loads)
    if end <= size:
        return None
    detail = f"it has {size} bytes, and its segments need {end}: {end - size} are missing"
    return Flaw(TRUNCATED, "file too short", detail)


def check_flags(image: Image, opening: bool) -> Flaw | None:
    """What ld.so refuses by DT_FLAGS_1, after it has mapped the file; `opening`: by dlopen."""
    flags = image.value(DT_FLAGS_1) or 0
    if flags & DF_1_PIE:
        detail = "it is a program (position-independent, DF_1_PIE), not a shared library"
        return Flaw(NOT_LOADABLE, "cannot dynamically load position-independent executable", detail)
    if flags & DF_1_NOOPEN and opening:
        detail = "it was linked with -z nodlopen (DF_1_NOOPEN)"
        return Flaw(NOT_LOADABLE, "shared object cannot be dlopen()ed", detail)
    return None


def wants_executable_stack(image: Image) -> str | None:
    """Why ld.so would make the stacks executable for this object, None if it would not.

    Without PT_GNU_STACK the CPU's default counts (glibc, sysdeps/x86/stackinfo.h: executable;
    sysdeps/aarch64/stackinfo.h: not).
    """
    segment = image.segment(PT_GNU_STACK)
    if segment is not None:
        return "its PT_GNU_STACK asks for it" if segment.flags & PF_X else None
    if image.header.machine == _EM_X86_64:
        return "it has no PT_GNU_STACK, which means so on x86-64"
    return None


def segments_of(data: FileData) -> tuple[Segment, ...]:
    """The program headers of a file whose header is in order."""
    head = bytes(data[:HEADER_SIZE])
    phoff, phnum = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
    return decode_segments(bytes(data[phoff : phoff + phnum * _SEGMENT_SIZE]))
