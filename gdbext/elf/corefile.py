"""A core file put together: the counterpart of elf.core (core(5), Linux fs/binfmt_elf.c)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gdbext.elf.core import (
    NAME,
    NT_AUXV,
    NT_FILE,
    NT_NAMES,
    NT_PRPSINFO,
    NT_PRSTATUS,
    OWNER,
    MappedFile,
)
from gdbext.elf.image import ET_CORE, PT_LOAD, PT_NOTE

NT_PRFPREG = 2
_PAGE = 4096
_PN_XNUM = 0xFFFF  # more segments than e_phnum can say: sh_info of section 0 has the number
_HEADER = struct.Struct("<4s5B7x2HI3QI6H")
_SEGMENT = struct.Struct("<2I6Q")
_SECTION = struct.Struct("<2I4Q2I2Q")
_PRSTATUS_HEAD = struct.Struct("<3ihHQQ4i64x")  # elf_prstatus up to pr_reg
_PRPSINFO = struct.Struct("<bcbb4xQIIiiii16s80s")


class Stretch(NamedTuple):
    """[start, end) of an address space, mapped with `flags` (PF_*).

    `runs` are (address, bytes) of what was copied, in order; the rest of it is zeros. None: the
    core has nothing of it.
    """

    start: int
    end: int
    flags: int
    runs: Sequence[tuple[int, bytes]] | None


class ThreadState(NamedTuple):
    """One thread; `registers` is {NT_*: bytes} as PTRACE_GETREGSET gives them."""

    tid: int
    name: bytes
    registers: dict[int, bytes]


def core_notes(
    threads: Sequence[ThreadState],
    pid: int,
    program: bytes,
    auxv: bytes,
    files: Sequence[MappedFile],
) -> bytes:
    """The notes of a process that no signal ended; its first thread is the one to look at."""
    notes = []
    for number, thread in enumerate(threads):
        notes.append(_note(b"CORE", NT_PRSTATUS, _prstatus(thread, pid)))
        if number == 0:
            notes.append(_note(b"CORE", NT_PRPSINFO, _psinfo(pid, program)))
            notes.append(_note(b"CORE", NT_AUXV, auxv))
            notes.append(_note(b"CORE", NT_FILE, _file_note(files)))
        for kind, data in thread.registers.items():
            if kind != NT_PRSTATUS:
                notes.append(_note(b"CORE" if kind == NT_PRFPREG else b"LINUX", kind, data))
    names = b"".join(NAME.pack(thread.tid, thread.name) for thread in threads)
    notes.append(_note(OWNER, NT_NAMES, names))
    return b"".join(notes)


def core_file(
    machine: int, notes: bytes, stretches: Sequence[Stretch]
) -> Iterator[tuple[int, bytes]]:
    """The file as (offset, bytes); what lies between is zeros. The last piece ends it."""
    count = len(stretches) + 1
    table = 64 + _SEGMENT.size * count
    large = count >= _PN_XNUM
    yield 0, _HEADER.pack(
        b"\x7fELF", 2, 1, 1, 0, 0, ET_CORE, machine, 1, 0, 64, table if large else 0, 0,
        64, _SEGMENT.size, _PN_XNUM if large else count, _SECTION.size, int(large), 0,
    )  # fmt: skip
    section = _SECTION.pack(0, 0, 0, 0, 0, int(large), 0, count, 0, 0) if large else b""
    notes_at = table + len(section)
    segments = [_SEGMENT.pack(PT_NOTE, 0, notes_at, 0, 0, len(notes), 0, 4)]
    at = first = -(-(notes_at + len(notes)) // _PAGE) * _PAGE
    for stretch in stretches:
        size = stretch.end - stretch.start
        held = size if stretch.runs is not None else 0
        segments.append(
            _SEGMENT.pack(PT_LOAD, stretch.flags, at, stretch.start, 0, held, size, _PAGE)
        )
        at += held
    yield 64, b"".join(segments) + section + notes
    last = at
    at = first
    for stretch in stretches:
        if stretch.runs is not None:
            for address, data in stretch.runs:
                yield at + address - stretch.start, data
            at += stretch.end - stretch.start
    yield last, b""


def _note(owner: bytes, kind: int, data: bytes) -> bytes:
    def padded(raw: bytes) -> bytes:
        return raw + bytes(-len(raw) % 4)

    name = owner + b"\0"
    return struct.pack("<3I", len(name), len(data), kind) + padded(name) + padded(data)


def _prstatus(thread: ThreadState, pid: int) -> bytes:
    head = _PRSTATUS_HEAD.pack(0, 0, 0, 0, 0, 0, 0, thread.tid, 0, pid, pid)
    return (
        head + thread.registers[NT_PRSTATUS] + struct.pack("<i4x", NT_PRFPREG in thread.registers)
    )


def _psinfo(pid: int, program: bytes) -> bytes:
    return _PRPSINFO.pack(0, b"t", 0, 0, 0, 0, 0, pid, 0, pid, pid, program, program)


def _file_note(files: Sequence[MappedFile]) -> bytes:
    rows = b"".join(struct.pack("<QQQ", f.start, f.end, f.offset // _PAGE) for f in files)
    names = b"".join(f.path.encode("utf-8", "surrogateescape") + b"\0" for f in files)
    return struct.pack("<QQ", len(files), _PAGE) + rows + names
