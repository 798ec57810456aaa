"""What would be loaded with a file, in a process as it is now: files as modules beside its own.

A file that is not loaded becomes a module at an address that no process can have, so that
lookup.py and all else that knows modules can be asked about it. Sources: glibc, elf/dl-deps.c
(_dl_map_object_deps), elf/dl-open.c (dl_open_worker), elf/dl-load.c (_dl_map_object).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gdbext.elf.core import decode_path
from gdbext.elf.file import ElfFile
from gdbext.elf.image import DT_AUXILIARY, PT_INTERP, Image
from gdbext.elf.pointers import check_pointers
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import PAGE, Memory, read_string
from gdbext.elf.soundness import Flaw, check_flags, check_segments, segments_of
from gdbext.linker.loaded.linkmaps import LinkMap
from gdbext.linker.loaded.modules import DLOPENED, LINKER, MAIN, Linker, Module
from gdbext.linker.loaded.needed import read_filters
from gdbext.linker.loaded.private import read_names
from gdbext.linker.lookup.scopes import real
from gdbext.linker.opening.filesystem import Contents
from gdbext.linker.opening.locate import Located, Lost, Search

_FIRST = 1 << 60  # no user address of any CPU
_ROOM = 1 << 40  # for each file
_MOST = 4096  # files
# Names that musl takes for itself (ldso/dynlink.c, load_library)
_RESERVED = re.compile(r"lib(?:c|pthread|rt|m|dl|util|xnet)\.")


class Layers:
    """The memory of a process, and files at addresses from _FIRST on."""

    def __init__(self, process: Memory | None) -> None:
        self._process = process
        self._files: list[ElfFile] = []

    def add(self, file: ElfFile) -> int:
        """The load bias of a file that is put beside the others."""
        if any(s.vaddr + s.memsz > _ROOM for s in file.image.loads):
            raise Problem(f"the segments of {file.path} are at absurd addresses")
        self._files.append(file)
        return _FIRST + (len(self._files) - 1) * _ROOM

    def read(self, address: int, size: int) -> bytes:
        if address >= _FIRST:
            number, at = divmod(address - _FIRST, _ROOM)
            if number < len(self._files):
                return _read_pages(self._files[number], at, size)
        elif self._process is not None:
            return self._process.read(address, size)
        raise Unreadable(address, size)


def _read_pages(file: ElfFile, address: int, size: int) -> bytes:
    """Bytes as they would be mapped: a segment goes on to the end of its last page."""
    try:
        return file.memory.read(address, size)
    except Unreadable:
        for segment in file.image.loads:
            end = segment.vaddr + segment.memsz
            if segment.vaddr <= address < end and address + size <= -(-end // PAGE) * PAGE:
                return file.memory.read(address, end - address) + bytes(address + size - end)
        raise


class Arrival(NamedTuple):
    """A file that would be mapped: for `name`, which `needed_by` (None: nobody) needs."""

    module: Module
    located: Located
    name: str
    needed_by: Module | None


class Failure(NamedTuple):
    """A name for which nothing can be mapped. `located` is the file that has the flaw.

    `asked`: dlopen itself is asked for it, by `needed_by`, if that is known.
    """

    name: str
    needed_by: Module | None
    asked: bool
    lost: Lost | None
    located: Located | None
    flaw: Flaw | None


@dataclass
class Prospect:
    """What comes in with one dlopen, breadth first. `needs` has the modules that each name of a
    module's DT_NEEDED would be, loaded ones as well; `root` is None when it cannot be mapped, and
    `opening` whether dlopen asks, rather than the start of the program."""

    search: Search
    linker: Linker
    layers: Layers
    namespace: int
    live: bool
    arrivals: list[Arrival] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    opening: bool = False
    root: Module | None = None
    order: list[Module] = field(default_factory=list)
    loaders: dict[int, Module | None] = field(default_factory=dict)
    _names: dict[str, Module] = field(default_factory=dict)

    def add_root(self, name: str, asker: Module | None, kind: str, program: bool = False) -> None:
        """Map `name` as the first file; `asker` is who calls dlopen."""
        self.opening |= kind == DLOPENED
        found = self._get(name, asker, kind, program, True)
        if found is not None and self.root is None:
            self.root = found
        if found is not None and found not in self.order:
            self.order.append(found)

    def add_aside(self, name: str, kind: str) -> None:
        """Map a file that is in no searchlist by itself: the dynamic linker of a program."""
        self._get(name, self.root, kind, False, True)

    def follow(self, kind: str) -> None:
        """Map what is needed, and what that needs; what a filter stands for comes before it."""
        place = 0
        seen, done = {m.map.address for m in self.order}, set()
        while place < len(self.order) and len(self.order) < _MOST:
            module = self.order[place]
            if module.map.address in done:
                place += 1
                continue
            done.add(module.map.address)
            filtees = [m for m in self._filtees(module, kind) if m.map.address not in seen]
            self.order[place:place] = filtees
            needs = (self._get(name, module, kind, False, False) for name in module.needed or ())
            for target in (*filtees, *needs):
                if target is not None and target.map.address not in seen:
                    seen.add(target.map.address)
                    self.order += [] if target in filtees else [target]

    def _filtees(self, module: Module, kind: str) -> list[Module]:
        """What a filter stands for: an auxiliary one (-f) does without, another one does not."""
        found = []
        for tag, name in () if self.search.musl else read_filters(module.memory, module.image):
            before = len(self.failures)
            target = self._get(name, module, kind, False, False)
            if target is not None:
                found.append(target)
            elif tag == DT_AUXILIARY:
                del self.failures[before:]
        return found

    def everything(self) -> Linker:
        """The process's modules and those that would come in."""
        modules = (*self.linker.modules, *(a.module for a in self.arrivals))
        return replace(self.linker, modules=modules)

    def known(self, name: str) -> Module | None:
        """What is loaded, or would be by then, under a name (glibc, _dl_name_match_p)."""
        if not name and not self.search.musl and self.namespace == 0:
            return self._program()
        if not self._names:
            for module in reversed(self.linker.modules):
                if module.namespace == self.namespace or module.kind == LINKER:
                    for each in _names_of(module):
                        self._names[each] = module
        found = self._names.get(name)
        if found is None and self.search.musl and _RESERVED.match(name):
            arrivals = (a.module for a in self.arrivals)
            return next((m for m in (*self.linker.modules, *arrivals) if m.kind == LINKER), None)
        return found

    def arrival(self, module: Module) -> Arrival | None:
        """How a file that is not loaded yet would come in."""
        return next((a for a in self.arrivals if a.module is module), None)

    def chain(self, module: Module | None) -> list[Module]:
        """`module`, who asked for it and so on; last the program."""
        found: list[Module] = []
        while module is not None and module not in found:
            found.append(module)
            key = module.map.address
            if key in self.loaders:
                module = self.loaders[key]
            else:
                loader = module.private.loader if module.private else 0
                module = self.linker.by_map.get(loader)
        first = self._program()
        if first is not None and first not in found:
            found.append(first)
        return found

    def _program(self) -> Module | None:
        if self.linker.modules:
            return self.linker.modules[0]
        return self.arrivals[0].module if self.arrivals else None

    def _get(
        self, name: str, asker: Module | None, kind: str, program: bool, asked: bool
    ) -> Module | None:
        found = self.known(name)
        if found is not None:
            return found
        lost = self.search.find(name, self.chain(asker), program)
        if isinstance(lost, Lost):
            self.failures.append(Failure(name, asker, asked, lost, None, None))
            return None
        same = self._same_file(lost.contents)
        if same is not None:
            self._names[name] = same
            return same
        flaw = self._flaw(lost, program)
        if flaw is not None:
            self.failures.append(Failure(name, asker, asked, None, lost, flaw))
            return None
        return self._arrive(lost, name, None if asked else asker, kind)

    def _flaw(self, located: Located, program: bool) -> Flaw | None:
        data = located.contents.data
        image = located.file.image
        flaw = check_segments(data, segments_of(data), program) or (
            None if program and image.dynamic_address is None else check_pointers(image)
        )
        # musl loads what was linked with -z nodlopen, and programs as well
        return flaw or (None if program or self.search.musl else check_flags(image, self.opening))

    def _arrive(self, located: Located, name: str, needed_by: Module | None, kind: str) -> Module:
        bias = self.layers.add(located.file)
        own = located.file.image
        dynamic = None if own.dynamic_address is None else own.dynamic_address + bias
        image = Image(own.header, own.segments, bias, own.dynamic, dynamic)
        path = located.contents.path
        link_map = LinkMap(bias, bias, os.fsencode(path), dynamic or 0, 0, 0)
        module = Module(
            link_map, self.namespace, path, path, kind, image, None, None, self.layers
        )  # fmt: skip
        self.arrivals.append(Arrival(module, located, name, needed_by))
        self.loaders[bias] = needed_by
        for each in (name, *_names_of(module)) if kind != MAIN else ():
            self._names.setdefault(each, module)
        return module

    def _same_file(self, contents: Contents) -> Module | None:
        """ld.so compares device and inode with what it has (_dl_map_object_from_fd)."""
        for arrival in self.arrivals:
            same = arrival.located.contents.identity == contents.identity
            if same and arrival.module.kind != MAIN:
                return arrival.module
        for module in self.linker.modules:
            if module.namespace != self.namespace and module.kind != LINKER:
                continue
            if module.kind == MAIN:
                continue  # the kernel mapped it: ld.so knows neither its name nor its inode
            if module.private is not None and module.private.file_id == contents.identity:
                return module
            by_path = module.private is None or not self.live
            if by_path and contents.path in (module.path, module.name):
                return module
        return None


def _names_of(module: Module) -> Sequence[str]:
    """The names under which ld.so knows a module; the program's l_name is empty."""
    if module.kind == MAIN:
        return [module.soname] if module.soname else []
    names = [module.name, module.path, module.soname or ""]
    if module.private is not None:
        names += [os.fsdecode(n) for n in read_names(module.memory, module.private)]
    if module.private is None and module.kind != LINKER:
        names.append(os.path.basename(module.path))  # musl's short names
    return [n for n in names if n]


def interpreter_of(memory: Memory, image: Image | None) -> str | None:
    """The dynamic linker that a program names in PT_INTERP."""
    segment = image.segment(PT_INTERP) if image else None
    if image is None or segment is None:
        return None
    try:
        return decode_path(read_string(memory, image.bias + segment.vaddr))
    except Unreadable:
        return None


def searchlist(prospect: Prospect) -> tuple[Module, ...]:
    """What a lookup in the opened file's own scope goes through: it and its needs, in order."""
    return tuple(real(prospect.linker, m) for m in prospect.order)
