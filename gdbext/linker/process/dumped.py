"""The memory of a core: what was dumped, and what files that are known to match can add.

The kernel leaves file-backed memory that nobody wrote out of a core (core(5)), so most code and
symbol tables are in the files alone. A file may be another build by now: it is used only if the
bytes that the core does hold are the file's own.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

from gdbext.elf.core import Core, MappedFile
from gdbext.elf.file import ElfFile, FileData
from gdbext.elf.image import PF_W, Image
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import PAGE


class _Backing(NamedTuple):
    """[start, end) is `data` from `offset` on. What was dumped before `same` is known to be so."""

    start: int
    end: int
    data: FileData
    offset: int
    same: int = 0


class DumpedMemory:
    """Implements Memory over a core and the files of its mappings.

    `candidates(path)` yields the files that may be the one mapped as `path`.
    """

    def __init__(self, core: Core, candidates: Callable[[str], Iterator[FileData]]) -> None:
        self._core = core
        self._candidates = candidates
        self._files = sorted(core.files)
        self._starts = [f.start for f in self._files]
        self._matching: dict[tuple[str, int], FileData | None] = {}
        self._backings: list[_Backing] = []
        self._last = _Backing(0, 0, b"", 0)  # reads come in runs within one mapping

    def read(self, address: int, size: int) -> bytes:
        last = self._last
        if last.start <= address and address + size <= last.end:
            start = last.offset + address - last.start
            data = last.data[start : start + size]
            if len(data) == size:
                return data
        dumped = self._core.read(address, size)
        if dumped is not None:
            return dumped
        parts = []
        while size > 0:
            part = self._read_here(address, size)
            parts.append(part)
            address, size = address + len(part), size - len(part)
        return b"".join(parts)

    def _read_here(self, address: int, size: int) -> bytes:
        """As many bytes from `address` on as one source has, at least one."""
        load = self._core.load_at(address)
        dumped = min(size, load.filesz - (address - load.vaddr)) if load else 0
        if dumped > 0:
            data = self._core.read(address, dumped)
            if data is None:
                raise Unreadable(address, size, "are missing: the core is truncated")
            return data
        size = min(size, load.vaddr + load.memsz - address) if load else size
        backing = self._backing(address)
        if backing is None:
            raise Unreadable(address, size, "are not in the core")
        start = backing.offset + address - backing.start
        size = min(size, backing.end - address)
        data = backing.data[start : start + size]
        if not data:
            # mmap(2): in the last page, zeros follow the file's end
            data = bytes(max(0, min(size, -(-len(backing.data) // PAGE) * PAGE - start)))
        if not data:
            raise Unreadable(address, size, "are past the end of the file")
        if load is not None:
            # what was dumped must come from the core, also where a truncated one lacks it
            first = load.vaddr + load.filesz
            first = max(backing.start, load.vaddr if first <= backing.same else first)
            last = min(backing.end, load.vaddr + load.memsz)
            offset = backing.offset + first - backing.start
            self._last = _Backing(first, last, backing.data, offset)
        return data

    def _backing(self, address: int) -> _Backing | None:
        for backing in self._backings:
            if backing.start <= address < backing.end:
                return backing
        place = bisect_right(self._starts, address) - 1
        if place < 0 or address >= self._files[place].end:
            return None
        start, end, offset, _ = self._files[place]
        data = self._file_of(place)
        return _Backing(start, end, data, offset, 0 if offset else start + PAGE) if data else None

    def _file_of(self, place: int) -> FileData | None:
        """The file of a mapping, if its first page is the one in the core."""
        path = self._files[place].path
        while place > 0 and self._files[place].offset and self._files[place - 1].path == path:
            place -= 1
        first = self._files[place]
        key = path, first.start
        if key not in self._matching:
            self._matching[key] = self._find_matching(first)
        return self._matching[key]

    def _find_matching(self, first: MappedFile) -> FileData | None:
        load = self._core.load_at(first.start)
        size = min(load.filesz, PAGE) if load else 0
        header = self._core.read(first.start, size) if size else None
        for data in self._candidates(first.path) if header else ():
            if data[first.offset : first.offset + size] == header:
                return data
        return None

    def has_matching_file(self, address: int) -> bool | None:
        """Whether the file mapped at `address` is on disk as it was; None where no note tells."""
        place = bisect_right(self._starts, address) - 1
        if place < 0 or address >= self._files[place].end:
            return None
        return self._file_of(place) is not None

    def matching(self, path: str) -> FileData | None:
        """The file that is mapped as `path`, or under its name, if one that matches is here."""
        place = self._places.get(path, self._places.get(os.path.basename(path)))
        return self._file_of(place) if place is not None else None

    @cached_property
    def _places(self) -> dict[str, int]:
        """Which mapping is the first one of a path, and of a file name that one path alone has:
        qemu-user's own core has the libc of both CPUs."""
        paths: dict[str, int] = {}
        names: dict[str, list[int]] = {}
        for place, file in enumerate(self._files):
            if not file.offset and file.path not in paths:
                paths[file.path] = place
                names.setdefault(os.path.basename(file.path), []).append(place)
        return {name: at[0] for name, at in names.items() if len(at) == 1} | paths

    def back_with_file(self, image: Image, file: ElfFile) -> None:
        """Let the read-only segments of `image` be read from `file`, which is known to match."""
        for segment in image.loads:
            if not segment.flags & PF_W:
                start = image.bias + segment.vaddr
                self._backings.append(
                    _Backing(start, start + segment.filesz, file.data, segment.offset)
                )
