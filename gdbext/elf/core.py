"""A core file: which memory it holds, and what its notes say (core(5), Linux fs/binfmt_elf.c)."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from gdbext.elf.file import FileData, FileView, map_file
from gdbext.elf.image import ET_CORE, PT_LOAD, PT_NOTE, Segment, decode_header, decode_segments
from gdbext.elf.notes import Note, decode_notes
from gdbext.elf.problem import Problem

NT_PRSTATUS, NT_PRPSINFO, NT_AUXV, NT_FILE = 1, 3, 6, 0x46494C45
_CURSIG_AT = 12  # offset of pr_cursig in struct elf_prstatus (Linux, include/linux/elfcore.h)
_PN_XNUM = 0xFFFF  # more segments than e_phnum can say: sh_info of section 0 has the number
_SEGMENT_SIZE = 56
_PID_AT = 24  # offset of pr_pid in struct elf_prpsinfo
OWNER, NT_NAMES = b"gdbext", 1  # what gdbext adds to the cores that it writes: elf.corefile
NAME = struct.Struct("<q16s")  # of NT_NAMES: a thread's id and its name (TASK_COMM_LEN)
_SECTION_INFO_AT = 44  # offset of sh_info in Elf64_Shdr


class MappedFile(NamedTuple):
    """A line of NT_FILE: [start, end) maps `path` from byte `offset` on."""

    start: int
    end: int
    offset: int
    path: str


@dataclass(frozen=True)
class Core:
    """An open core file; `loads` are its PT_LOADs, sorted by address. Without `whole_notes` it
    ends within its notes."""

    path: str
    machine: int
    data: FileData
    loads: tuple[Segment, ...]
    notes: tuple[Note, ...]
    whole_notes: bool = True

    @cached_property
    def _starts(self) -> list[int]:
        return [s.vaddr for s in self.loads]

    @cached_property
    def truncated(self) -> bool:
        """Whether the file ends before its last segment does."""
        return any(s.offset + s.filesz > len(self.data) for s in self.loads)

    @cached_property
    def auxv(self) -> dict[int, int]:
        """The auxiliary vector, {AT_*: value}; {} when the core has none."""
        data = next((n.data for n in self.notes if n.type == NT_AUXV), b"")
        return decode_auxv(data)

    @cached_property
    def signal(self) -> int | None:
        """The number of the signal that ended the process; its thread's note is the first."""
        data = next((n.data for n in self.notes if n.type == NT_PRSTATUS), b"")
        number = int.from_bytes(data[_CURSIG_AT : _CURSIG_AT + 2], "little")
        return number or None

    @cached_property
    def pid(self) -> int | None:
        """The process's id, as it saw it itself; None where no note tells."""
        data = next((n.data for n in self.notes if n.type == NT_PRPSINFO), b"")
        return int.from_bytes(data[_PID_AT : _PID_AT + 4], "little") or None

    @cached_property
    def thread_names(self) -> dict[int, str]:
        """{thread id: name}; {} for the kernel's cores, which have no such note."""
        notes = (n for n in self.notes if (n.owner, n.type) == (OWNER, NT_NAMES))
        data = next((n.data for n in notes), b"")
        rows = NAME.iter_unpack(data[: len(data) // NAME.size * NAME.size])
        return {tid: name.rstrip(b"\0").decode("utf-8", "replace") for tid, name in rows}

    @cached_property
    def is_snapshot(self) -> bool:
        """Whether gdbext wrote it of a process that was to go on."""
        return any(n.owner == OWNER for n in self.notes)

    @cached_property
    def files(self) -> tuple[MappedFile, ...]:
        """The mapped files; () for writers that have no NT_FILE (qemu-user)."""
        data = next((n.data for n in self.notes if n.type == NT_FILE), b"")
        return decode_mapped_files(data)

    def load_at(self, address: int) -> Segment | None:
        """The PT_LOAD that was mapped at `address`, dumped or not."""
        place = bisect_right(self._starts, address) - 1
        if place < 0 or address >= self.loads[place].vaddr + self.loads[place].memsz:
            return None
        return self.loads[place]

    def read(self, address: int, size: int) -> bytes | None:
        """The dumped bytes; None when any of them is not in the core."""
        place = bisect_right(self._starts, address) - 1
        if place >= 0:
            load = self.loads[place]
            inside = address - load.vaddr
            if inside + size <= load.filesz:
                data = self.data[load.offset + inside : load.offset + inside + size]
                return data if len(data) == size else None
        if size > len(self.data):
            return None
        parts = []
        while size > 0:
            segment = self.load_at(address)
            if segment is None:
                return None
            inside = address - segment.vaddr
            here = min(size, segment.filesz - inside)
            if here <= 0:
                return None
            part = self.data[segment.offset + inside : segment.offset + inside + here]
            if len(part) < here:
                return None
            parts.append(part)
            address, size = address + here, size - here
        return b"".join(parts)


def decode_auxv(data: bytes) -> dict[int, int]:
    """{AT_*: value} of raw (u64, u64) pairs up to AT_NULL."""
    vector: dict[int, int] = {}
    for key, value in struct.iter_unpack("<QQ", data[: len(data) // 16 * 16]):
        if key == 0:
            break
        vector[key] = value
    return vector


def decode_mapped_files(data: bytes) -> tuple[MappedFile, ...]:
    """NT_FILE: count, page size, count * (start, end, offset in pages), count names."""
    if len(data) < 16:
        return ()
    count, page = struct.unpack_from("<QQ", data)
    names_at = 16 + count * 24
    if names_at > len(data):
        return ()
    names = data[names_at:].split(b"\0")
    paths = {name: decode_path(name) for name in set(names)}  # a library has four or five lines
    rows = struct.iter_unpack("<QQQ", data[16:names_at])
    return tuple(
        MappedFile(start, end, offset * page, paths[name])
        for (start, end, offset), name in zip(rows, names)
    )


def decode_path(raw: bytes) -> str:
    """A path as Python's own file functions take it: bytes that are not UTF-8 are kept."""
    return raw.decode("utf-8", "surrogateescape")


def open_core(path: str) -> Core:
    """Open a core file; raises Problem for anything else. A truncated core is opened."""
    view = map_file(path)
    data = view.map() if isinstance(view, FileView) else view
    header = decode_header(bytes(data[:64]))
    if header.type != ET_CORE:
        raise Problem(f"{path!r} is an ELF file but not a core")
    count = header.phnum
    if count == _PN_XNUM:
        info_at = header.shoff + _SECTION_INFO_AT
        raw = bytes(data[info_at : info_at + 4])
        count = int.from_bytes(raw, "little")
    table = bytes(data[header.phoff : header.phoff + count * _SEGMENT_SIZE])
    segments = decode_segments(table)
    loads = sorted((s for s in segments if s.type == PT_LOAD), key=lambda s: s.vaddr)
    notes = _read_notes(data, segments)
    whole = all(s.offset + s.filesz <= len(data) for s in segments if s.type == PT_NOTE)
    return Core(path, header.machine, data, tuple(loads), notes, whole)


def _read_notes(data: FileData, segments: Sequence[Segment]) -> tuple[Note, ...]:
    notes: list[Note] = []
    left = len(data)  # the segments of a hostile core could all be the same bytes
    for segment in segments:
        if segment.type == PT_NOTE and left > 0:
            raw = bytes(data[segment.offset : segment.offset + min(segment.filesz, left)])
            left -= len(raw)
            notes.extend(decode_notes(raw, segment.align))
    return tuple(notes)
