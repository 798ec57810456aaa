"""What the linker model asks of a process, live, remote or dead. inferior.py answers with GDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from gdbext.elf.arch import Arch
from gdbext.elf.file import ElfFile
from gdbext.elf.image import Image
from gdbext.elf.reader import Memory

# getauxval(3); the numbers are in the kernel's include/uapi/linux/auxvec.h
AT_PHDR, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_ENTRY = 3, 5, 6, 7, 9
AT_PLATFORM, AT_SECURE, AT_RANDOM, AT_EXECFN, AT_SYSINFO_EHDR = 15, 23, 25, 31, 33


class Region(NamedTuple):
    """One mapping of the address space; `flags` are PF_* bits, None where they are not known.

    `path` is None for anonymous memory, `[stack]`, `[heap]` and so on as in proc(5).
    """

    start: int
    end: int
    flags: int | None
    offset: int
    path: str | None
    inode: tuple[int, int] | None


class Process(Protocol):
    """One process as the linker model sees it."""

    arch: Arch

    @property
    def kept(self) -> dict[tuple[object, ...], Any]:
        """What was worked out of it so far (once.py)."""

    @property
    def memory(self) -> Memory:
        """The process's memory."""

    @property
    def auxv(self) -> Mapping[int, int]:
        """The auxiliary vector, {AT_*: value}; {} where the target does not tell."""

    def regions(self) -> Sequence[Region]:
        """The address space, sorted; () where nobody can tell (qemu-user)."""

    def symbol_address(self, name: str) -> int | None:
        """The address of a symbol of the main program that only its .symtab has."""

    def open_file(self, path: str) -> ElfFile | None:
        """The ELF file at a path of the process's own file system, None when it is not here."""

    def main_path(self) -> str | None:
        """The main program's path, as well as it is known."""

    def main_file(self) -> ElfFile | None:
        """The file of the main program."""

    def unchanged_on_disk(self, address: int) -> bool | None:
        """Whether the file mapped at `address` of a core is the one on disk; None: not known."""

    def back_with_file(self, image: Image, file: ElfFile) -> None:
        """Let memory that a core did not dump be read from a file that is known to match."""
