"""The one door to GDB for facts: memory, registers, threads, frames, auxv, mappings, coverage.

An Inferior is made anew for each command and never kept: it caches what it reads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import gdb

from gdbext.elf.core import decode_auxv, decode_path, open_core
from gdbext.elf.file import ElfFile, FileData, FileView, map_file, open_elf, read_elf
from gdbext.elf.image import Image
from gdbext.elf.mapped import dumped_build_id, mapped_programs
from gdbext.elf.notes import read_build_id
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import BlockCache, Memory, read_string
from gdbext.elf.storage import below, kept_paths
from gdbext.elf.symbols import SymbolTable
from gdbext.inferior import remote
from gdbext.inferior.callsites import make_unwinding
from gdbext.inferior.frames import function_at, read_selected_thread, read_threads
from gdbext.inferior.memory import GdbMemory
from gdbext.inferior.otherbuilds import other_builds
from gdbext.inferior.procfs import read_proc, read_region, read_regions
from gdbext.inferior.symbolfiles import SymbolLoader
from gdbext.inferior.target import NO_PROCESS, core_path, find_arch, given_program, target_kind
from gdbext.inferior.unloads import debug_symbols, read_unloaded
from gdbext.inferior.unwinding import Unwinding
from gdbext.linker.loaded.disk import matching_file
from gdbext.linker.loaded.modules import Linker, Module
from gdbext.linker.loaded.tables import Definition, TableSet
from gdbext.linker.places import Map
from gdbext.linker.process.dumped import DumpedMemory
from gdbext.linker.process.once import once
from gdbext.linker.process.process import AT_EXECFN, AT_PHDR, Region
from gdbext.linker.process.regions import core_regions
from gdbext.linker.threads.threads import Thread
from gdbext.linker.unloaded.filelog import LoggedLoad

# The fastest with 1,000 plugins: 64 KiB copies too much, 4 KiB asks too often.
_NATIVE_BLOCK = 1 << 13
_REMOTE_BLOCK = 1 << 12  # a remote packet holds about a page
# Of the heap, for what ld.so left there of unloaded libraries.
_NATIVE_SCAN, _REMOTE_SCAN = 64 << 20, 4 << 20


class Inferior:
    """The selected inferior; implements linker.process.Process."""

    def __init__(self) -> None:
        self.gdb = gdb.selected_inferior()
        if not self.gdb.pid and not self.gdb.threads():
            raise Problem(NO_PROCESS)
        self.target = target_kind(self.gdb)
        self.core = open_core(core_path(self.gdb)) if self.target == "core" else None
        self.arch = find_arch(self.gdb, self.core)
        self.logged: Sequence[LoggedLoad] = ()  # of ld.so's own log, where somebody has that
        # who loads symbols into GDB; nobody, unless that was asked for
        self.symbols: SymbolLoader | None = None
        self.kept: dict[tuple[object, ...], Any] = {}

    def release(self) -> None:
        """Drop what was read. Without this only the garbage collector could: the tables and
        the inferior refer to each other, and a sweep over 60,000 slots takes 0.1 s."""
        self.__dict__.clear()

    @cached_property
    def memory(self) -> Memory:
        """The process's memory. Bytes that a core left out are read from files that match."""
        if self.core is not None:
            return DumpedMemory(self.core, self._candidates)
        block = _NATIVE_BLOCK if self.target == "native" else _REMOTE_BLOCK
        return BlockCache(GdbMemory(self.gdb), block)

    @cached_property
    def auxv(self) -> Mapping[int, int]:
        """The auxiliary vector, {AT_*: value}."""
        if self.core is not None:
            return self.core.auxv
        data = read_proc(self.gdb, self.target, "auxv") or remote.read_auxv(self.gdb)
        return decode_auxv(data) or remote.printed_auxv()

    def regions(self) -> Sequence[Region]:
        return self._regions

    @cached_property
    def _regions(self) -> Sequence[Region]:
        if self.core is not None:
            return core_regions(self.core)
        return read_regions(self.gdb, self.target)

    def region_from(self, start: int) -> Region | None:
        """The region that begins at an address; None where none does."""
        if self.core is None:
            return read_region(self.gdb, self.target, start)
        return next((region for region in self._regions if region.start == start), None)

    def symbol_address(self, name: str) -> int | None:
        """By the main program's .symtab, for static programs; no debug info is needed."""
        file = self.main_file()
        table = file.symbols() if file else None
        if file is None or table is None:
            return None
        for index in table.indices_by_name.get(name.encode(), ()):
            if table.entry(index).shndx:
                return table.entry(index).value + self._main_bias(file)
        return None

    def _main_bias(self, file: ElfFile) -> int:
        headers = file.image.loads[0].vaddr - file.image.loads[0].offset + file.image.header.phoff
        return self.auxv.get(AT_PHDR, headers) - headers

    def main_path(self) -> str | None:
        """What is mapped where the program headers are, else GDB's own idea, else AT_EXECFN."""
        phdr = self.auxv.get(AT_PHDR, 0)
        for region in self._regions:
            if region.start <= phdr < region.end and region.path and region.path[0] == "/":
                return region.path
        if program := given_program():
            return program
        try:
            return decode_path(read_string(self.memory, self.auxv[AT_EXECFN]))
        except (KeyError, Unreadable):
            return None

    def main_file(self) -> ElfFile | None:
        """The program that GDB was given, else the file that has its path here. A static one can
        be compared by its first page alone, and is not taken where a core lacks that."""
        given, path = given_program(), self.main_path()
        if given:
            return self.open_file(given)
        file = self.open_file(path) if path else None
        if file is None or self.core is None or file.image.dynamic_address is not None:
            return file
        return file if self.unchanged_on_disk(self.auxv.get(AT_PHDR, 0)) else None

    def open_file(self, path: str) -> ElfFile | None:
        memory = self.memory
        data = memory.matching(path) if isinstance(memory, DumpedMemory) else None
        if isinstance(data, FileView):
            return read_elf(data.path, data)
        return next(self._open_candidates(path), None)

    def _open_candidates(self, path: str) -> Iterator[ElfFile]:
        """The ELF files of this CPU that may be the one that the process calls `path`."""
        for local in self._local_paths(path):
            try:
                file = open_elf(local)
            except Problem:
                continue
            if file.image.header.machine == self.arch.machine:
                yield file

    def _candidates(self, path: str) -> Iterator[FileData]:
        """The contents of the files that may be the one that the process calls `path`."""
        for local in self._local_paths(path):
            try:
                yield map_file(local)
            except Problem:
                continue

    def unchanged_on_disk(self, address: int) -> bool | None:
        """Whether the file mapped at `address` of a core is the one on disk; None: not known."""
        memory = self.memory
        return memory.has_matching_file(address) if isinstance(memory, DumpedMemory) else None

    def local_path(self, path: str) -> str:
        """Where this machine would find a path of a native process."""
        own = re.sub(r"^/(proc/(self|thread-self)|dev/fd)(?=/)", self._own_proc, path)
        if not own.startswith("/"):
            return own
        root = f"/proc/{self.gdb.pid}/root"
        return below(root, own) if self._has_other_root else root + own

    @cached_property
    def _has_other_root(self) -> bool:
        """Whether absolute links lead elsewhere for the process; a thousand paths are resolved in
        30 ms."""
        own = f"/proc/{self.gdb.pid}"
        try:
            same = os.readlink(f"{own}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
            return not (same and os.path.samefile(f"{own}/root", "/"))
        except OSError:
            return True

    def _own_proc(self, match: re.Match[str]) -> str:
        """/proc/self is GDB when GDB opens it: name the process instead."""
        return f"/proc/{self.gdb.pid}" + ("/fd" if match.group(1) == "dev/fd" else "")

    @cached_property
    def _search(self) -> tuple[str, tuple[str, ...], str | None]:
        """(sysroot, solib-search-path, the program that GDB was given)."""
        folders = str(gdb.parameter("solib-search-path") or "").split(":")
        return str(gdb.parameter("sysroot") or ""), tuple(filter(None, folders)), given_program()

    def _local_paths(self, path: str) -> Iterator[str]:
        if self.target == "native":
            yield self.local_path(path)
            return
        if path.startswith(("/proc/", "/dev/")):
            return  # those are of the machine and moment of the process
        sysroot, folders, program = self._search
        if sysroot and not sysroot.startswith("target:"):
            yield below(sysroot, path)
        for folder in folders:
            yield os.path.join(folder, os.path.basename(path))
        if program and os.path.basename(program) == os.path.basename(path):
            yield program
        if self.core is not None and not path.startswith("/"):
            yield os.path.join(os.path.dirname(os.path.abspath(self.core.path)), path)
        yield path
        if build_id := self._build_ids.get(path):
            yield from kept_paths(build_id, sysroot, os.environ)

    @cached_property
    def _build_ids(self) -> dict[str, str]:
        """Those that the core tells, by path: asked for when no file at its path matches."""
        core = self.core
        if core is None:
            return {}
        files = mapped_programs(core)
        found = ((file.path, dumped_build_id(core, file.start)) for file in files)
        return {path: build_id for path, build_id in found if build_id is not None}

    def threads(self) -> Sequence[Thread]:
        """Every thread with its SP and TP; the selected thread and frame stay selected."""
        return self._threads

    @property
    def thread_names(self) -> Mapping[int, str]:
        """{thread id: name} that a core knows and GDB does not."""
        return self.core.thread_names if self.core is not None else {}

    def selected_thread(self) -> Thread | None:
        """The selected thread with its SP and TP; None when there is none."""
        return read_selected_thread(self.arch)

    @cached_property
    def _threads(self) -> Sequence[Thread]:
        return read_threads(self.gdb, self.arch)

    @cached_property
    def unwinding(self) -> Unwinding:
        """What makes GDB's frames right."""
        return make_unwinding(self)

    @once
    def map(self, linker: Linker | None) -> Map:
        """What tells what lies at an address."""
        scan = _NATIVE_SCAN if self.target in ("native", "core") else _REMOTE_SCAN
        return Map(
            self,
            self.arch,
            linker,
            self.tables,
            self.threads,
            self._function_at,
            partial(read_unloaded, self),
            scan,
        )

    @cached_property
    def is_other_build(self) -> Callable[[int], bool]:
        """Whether GDB reads another build at an address than the core is of."""
        return other_builds(self)

    def _function_at(self, address: int) -> Definition | None:
        return None if self.is_other_build(address) else function_at(address)

    @cached_property
    def tables(self) -> TableSet:
        """The symbol tables of the modules."""
        return TableSet(self.memory, partial(matching_file, self), self._debug_symbols)

    def _debug_symbols(self, module: Module) -> SymbolTable | None:
        """The .symtab of a module's separate debug file."""
        return debug_symbols(read_build_id(self.memory, module.image) if module.image else None)

    def back_with_file(self, image: Image, file: ElfFile) -> None:
        if isinstance(self.memory, DumpedMemory):
            self.memory.back_with_file(image, file)


def has_process() -> bool:
    """Whether the selected inferior has a process or a core."""
    inferior = gdb.selected_inferior()
    return bool(inferior.pid or inferior.threads())
