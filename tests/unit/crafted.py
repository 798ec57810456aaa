"""Images, cores and processes made of bytes, for what no real file has."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gdbext.elf.arch import X86_64, Arch
from gdbext.elf.file import ElfFile
from gdbext.elf.image import Image, read_image
from gdbext.elf.reader import BytesMemory, Memory
from gdbext.linker.process.process import Region

PT_LOAD, PT_DYNAMIC, PT_NOTE, PT_PHDR, PT_TLS, PT_GNU_RELRO = 1, 2, 4, 6, 7, 0x6474E552
DT_STRTAB, DT_SYMTAB, DT_STRSZ = 5, 6, 10
NT_AUXV, NT_FILE = 6, 0x46494C45


def words(*values: int) -> bytes:
    """64-bit words; negative ones as two's complement."""
    return struct.pack(f"<{len(values)}Q", *(v & (1 << 64) - 1 for v in values))


def segment(
    kind: int, address: int, size: int, flags: int = 6, align: int = 8, memsz: int | None = None
) -> bytes:
    """A program header of a segment whose file offset is its address."""
    memory = size if memsz is None else memsz
    return struct.pack("<IIQQQQQQ", kind, flags, address, address, address, size, memory, align)


def header(
    kind: int, machine: int, phnum: int, phoff: int = 64, shoff: int = 0, shnum: int = 0
) -> bytes:
    """An Elf64_Ehdr."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    rest = (kind, machine, 1, 0, phoff, shoff, 0, 64, 56, phnum, 64, shnum, 0)
    return struct.pack("<16sHHIQQQIHHHHHH", ident, *rest)


def symbol(name: int, value: int = 0, info: int = 0x12, shndx: int = 1, size: int = 0) -> bytes:
    """An Elf64_Sym; a global function unless told otherwise."""
    return struct.pack("<IBBHQQ", name, info, 0, shndx, value, size)


def rela(offset: int, kind: int, symbol_index: int = 0, addend: int = 0) -> bytes:
    """An Elf64_Rela."""
    return struct.pack("<QQq", offset, symbol_index << 32 | kind, addend)


def make_elf(
    parts: Mapping[int, bytes] | None = None,
    values: Sequence[tuple[int, int]] = (),
    segments: Sequence[bytes] = (),
    machine: int = 62,
    tail: int = 0,
) -> bytes:
    """A shared object in one PT_LOAD at address 0, with PT_PHDR and a dynamic section.

    `parts` are the tables by dynamic tag, placed in that order; `values` further dynamic
    entries, which come first; `segments` further program headers; `tail` bytes of .bss.
    """
    count = 3 + len(segments)
    at = 64 + 56 * count
    body = b""
    entries = list(values)
    for tag, data in (parts or {}).items():
        body += bytes(-(at + len(body)) % 8)
        entries.append((tag, at + len(body)))
        body += data
    body += bytes(-(at + len(body)) % 8)
    dynamic_at = at + len(body)
    dynamic = b"".join(words(*entry) for entry in (*entries, (0, 0)))
    size = dynamic_at + len(dynamic)
    table = (
        segment(PT_PHDR, 64, 56 * count)
        + segment(PT_LOAD, 0, size, 7, 4096, size + tail)
        + segment(PT_DYNAMIC, dynamic_at, len(dynamic))
        + b"".join(segments)
    )
    return header(3, machine, count) + table + body + dynamic


def load(data: bytes, base: int = 0x10000) -> tuple[BytesMemory, Image]:
    """The image of an ELF file's bytes as they stand at `base`."""
    memory = BytesMemory({base: data})
    return memory, read_image(memory, base)


def note(owner: bytes, kind: int, data: bytes, align: int = 4) -> bytes:
    """One note, the name and the data each padded to `align`."""
    name = owner + b"\0"
    text = struct.pack("<III", len(name), len(data), kind) + name
    text += bytes(-len(text) % align)
    return text + data + bytes(-len(data) % align)


def file_note(rows: Sequence[tuple[int, int, int, bytes]], page: int = 4096) -> bytes:
    """The data of NT_FILE: (start, end, offset in pages, name)."""
    table = b"".join(words(*row[:3]) for row in rows)
    return words(len(rows), page) + table + b"".join(row[3] + b"\0" for row in rows)


def make_core(
    memory: Mapping[int, bytes],
    notes: bytes = b"",
    machine: int = 62,
    undumped: Sequence[tuple[int, int]] = (),
    many: bool = False,
) -> bytes:
    """A core with these runs of memory; `undumped` (address, size) were mapped but left out.

    `many` says the number of program headers as PN_XNUM does, in section 0.
    """
    count = 1 + len(memory) + len(undumped)
    at = 64 + 56 * count + (64 if many else 0)
    table = struct.pack("<IIQQQQQQ", PT_NOTE, 4, at, 0, 0, len(notes), 0, 4)
    body = notes
    for address, data in memory.items():
        place = at + len(body)
        table += struct.pack("<IIQQQQQQ", PT_LOAD, 6, place, address, 0, len(data), len(data), 4096)
        body += data
    for address, size in undumped:
        table += struct.pack("<IIQQQQQQ", PT_LOAD, 5, at, address, 0, 0, size, 4096)
    if not many:
        return header(4, machine, count) + table + body
    shoff = 64 + 56 * count
    section = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 1, 0, count, 0, 0)
    return header(4, machine, 0xFFFF, shoff=shoff, shnum=1) + table + section + body


@dataclass
class FakeProcess:
    """A process as the linker model sees it, from plain values."""

    memory: Memory
    auxv: Mapping[int, int] = field(default_factory=dict)
    arch: Arch = X86_64
    areas: Sequence[Region] = ()
    symbols: Mapping[str, int] = field(default_factory=dict)
    files: Callable[[str], ElfFile | None] = lambda _: None
    backed: list[tuple[Image, ElfFile]] = field(default_factory=list)
    kept: dict[tuple[object, ...], Any] = field(default_factory=dict)

    def regions(self) -> Sequence[Region]:
        return self.areas

    def symbol_address(self, name: str) -> int | None:
        return self.symbols.get(name)

    def open_file(self, path: str) -> ElfFile | None:
        return self.files(path)

    def main_path(self) -> str | None:
        return "/bin/main"

    def main_file(self) -> ElfFile | None:
        return self.files("/bin/main")

    def unchanged_on_disk(self, address: int) -> bool | None:  # noqa: ARG002
        return None

    def back_with_file(self, image: Image, file: ElfFile) -> None:
        self.backed.append((image, file))


def spread(runs: Mapping[int, bytes]) -> BytesMemory:
    """Memory of runs, where bordering and overlapping ones are joined: later ones win."""
    joined: dict[int, bytearray] = {}
    for start, data in sorted(runs.items()):
        last = max(joined, default=None)
        if last is not None and start <= last + len(joined[last]):
            run = joined[last]
            run[start - last : start - last + len(data)] = data
        else:
            joined[start] = bytearray(data)
    return BytesMemory({start: bytes(run) for start, run in joined.items()})
