"""The executable that a core is of, found by what the core says of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gdbext.elf.core import Core, decode_path
from gdbext.elf.file import map_file
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import PAGE, read_string

_AT_PHDR, _AT_EXECFN = 3, 31  # getauxval(3)


class Program(NamedTuple):
    """The executable of a core: its path, None where it is not here; `note` is for the user."""

    path: str | None
    note: str | None


def find_program(core: Core, exe: str | None, sysroot: str | None) -> Program:
    """The executable that a core is of: as given, or where the core's own notes say that it was.

    A file is taken if its first page is the one in the core.
    """
    if exe is not None:
        data = map_file(exe)  # a missing file is the user's mistake
        if _is_same(core, data[:PAGE]) is False:
            return Program(exe, f"{exe} is not the program that wrote this core")
        return Program(exe, None)
    named: list[str] = []
    for path in _names(core):
        local = (sysroot or "").rstrip("/") + path
        named.append(local)
        try:
            data = map_file(local)
        except Problem:
            continue
        if _is_same(core, data[:PAGE]) is False:
            return Program(None, f"{local} is another build than the one that wrote this core")
        return Program(local, None)
    what = f"{named[0]} is not here" if named else "the core does not say which program it is of"
    return Program(None, f"{what}; name it by --exe for symbols")


def _names(core: Core) -> Iterator[str]:
    header = _program_file(core)
    if header is not None:
        yield header[1]
    try:
        yield decode_path(read_string(_Dumped(core), core.auxv[_AT_EXECFN]))
    except (KeyError, Unreadable):
        return


def _program_file(core: Core) -> tuple[int, str] | None:
    """(address of the first byte, path) of what is mapped where the program headers are."""
    phdr = core.auxv.get(_AT_PHDR, 0)
    for file in core.files:
        if file.start <= phdr < file.end:
            return file.start - file.offset, file.path
    return None


def _is_same(core: Core, page: bytes) -> bool | None:
    """Whether a file begins as the program in the core does; None where the core left that out."""
    header = _program_file(core)
    dumped = core.read(header[0], len(page)) if header and page else None
    return dumped == page if dumped is not None else None


class _Dumped:
    """The memory that a core holds, and nothing else."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def read(self, address: int, size: int) -> bytes:
        data = self._core.read(address, size)
        if data is None:
            raise Unreadable(address, size, "are not in the core")
        return data
