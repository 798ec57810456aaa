"""Libraries that are gone: what is known of them, and which one held an address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from gdbext.elf.file import ElfFile
from gdbext.elf.image import Image
from gdbext.elf.notes import read_build_id
from gdbext.elf.reader import PAGE
from gdbext.elf.symbols import SymbolTable
from gdbext.linker.loaded.tables import Definition, Tables

TRACE, EVENTS, LOG, MEMORY = "trace", "events", "log", "memory"
_NEIGHBOURS = 64 << 30  # bytes
_LOWEST = 1 << 32  # nothing maps a library below on a 64-bit machine, unless it is prelinked


class Unloaded(NamedTuple):
    """A library that lay in [start, end) and is no longer loaded.

    `path` is absolute where it is known, else the name that was asked for; "" is unknown.
    `evidence` is TRACE, EVENTS (GDB saw it come), LOG (ld.so's own) or MEMORY (pieced together from
    what ld.so left behind: probable, not certain). `cut` says that the end of `path` is lost.
    `headers` (e_phnum, l_entry) and `file_id` (st_dev, st_ino) tell which file it was, as
    `build_id` does.
    """

    path: str
    start: int
    end: int
    build_id: str | None = None
    evidence: str = TRACE
    cut: bool = False
    headers: tuple[int, int] | None = None
    file_id: tuple[int, int] | None = None

    @property
    def probable(self) -> bool:
        """Whether it was only pieced together."""
        return self.evidence == MEMORY

    def bias(self, image: Image) -> int:
        """Its load bias, if `image` is that of its file."""
        return self.start - image.start

    def fits(self, file: ElfFile) -> bool:
        """Whether a file may be the one that was loaded: by build-id, size and headers."""
        image = file.image
        if self.build_id is not None and self.build_id != read_build_id(file.memory, image):
            return False
        if image.end - image.start != -(-self.end // PAGE) * PAGE - self.start:
            return False
        return self.headers is None or self.headers == (
            len(image.segments),
            self.bias(image) + image.header.entry,
        )


class Ghost(NamedTuple):
    """An address in a library that is gone. `offset` is a file address where the file is here,
    else it counts from the library's first page; `definition` needs the file."""

    library: Unloaded
    offset: int
    definition: Definition | None


Search = Callable[[int], Sequence[Unloaded]]


@dataclass(frozen=True)
class UnloadedSet:
    """The unloaded libraries of one process.

    `records` are certain; `search` gives what memory still tells of the library that held an
    address, and is asked once for each page; `find_file` gives a library with its full path, and
    the file that it was loaded from, None when it is not here.
    """

    records: Sequence[Unloaded]
    search: Search
    find_file: Callable[[Unloaded], tuple[Unloaded, ElfFile | None]]
    find_symbols: Callable[[str | None], SymbolTable | None]
    _found: dict[int, Unloaded | None] = field(default_factory=dict)
    _files: dict[Unloaded, tuple[Unloaded, ElfFile | None]] = field(default_factory=dict)

    def near(self, address: int, starts: Sequence[int]) -> Ghost | None:
        """As at(), but without a search of the heap where no library can have been: mmap puts all
        side by side, and loaded ones begin at `starts`."""
        recorded = any(u.start <= address < u.end for u in self.records)
        if recorded or any(abs(address - start) < _NEIGHBOURS for start in starts):
            return self.at(address)
        return None

    def at(self, address: int) -> Ghost | None:
        """The library that held `address`, which no loaded module holds; None: none is known."""
        if not _LOWEST <= address < 1 << 56:
            return None
        page = address // PAGE
        if page not in self._found:
            self._found[page] = self._library(page * PAGE, page * PAGE + PAGE)
        library = self._found[page]
        if library is None:
            return None
        if library not in self._files:
            self._files[library] = self.find_file(library)
        library, file = self._files[library]
        if file is None:
            return Ghost(library, address - library.start, None)
        offset = address - library.bias(file.image)
        return Ghost(library, offset, self._name(file, offset))

    def _library(self, start: int, end: int) -> Unloaded | None:
        """The latest record first; of what memory tells, what has a name."""
        for library in reversed(self.records):
            if library.start < end and start < library.end:
                return library
        found = [u for u in self.search(start) if u.start < end and start < u.end]
        return max(found, key=lambda u: len(u.path), default=None)

    def _name(self, file: ElfFile, offset: int) -> Definition | None:
        tables = Tables(
            file.memory,
            file.image,
            lambda: file,
            lambda: self.find_symbols(read_build_id(file.memory, file.image)),
        )
        return tables.name(offset)


@dataclass(frozen=True)
class MemorySearch:
    """What ld.so left of unloaded libraries, read when first asked for."""

    freed: Callable[[], Sequence[Unloaded]]
    table: Callable[[int], Unloaded | None]

    @cached_property
    def _freed(self) -> Sequence[Unloaded]:
        return self.freed()

    def __call__(self, address: int) -> Sequence[Unloaded]:
        """The libraries that may have held the page at `address`."""
        found = [u for u in self._freed if u.start < address + PAGE and address < u.end]
        if found:
            return found
        entry = self.table(address)
        return [entry] if entry is not None else []


NOTHING = UnloadedSet((), lambda _: (), lambda u: (u, None), lambda _: None)
