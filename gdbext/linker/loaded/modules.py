"""The modules of a process: each link_map with its image, its private fields and its kind."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from gdbext.elf.core import decode_path
from gdbext.elf.image import Image, Segment, read_image
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory
from gdbext.linker.loaded.extents import read_extent
from gdbext.linker.loaded.images import linker_image, main_image, read_images
from gdbext.linker.loaded.layout import Layout
from gdbext.linker.loaded.linkmaps import LinkMap, Namespace, read_namespaces
from gdbext.linker.loaded.needed import Need, read_needed, resolve_needed, who_needs
from gdbext.linker.loaded.private import LT_LOADED, Private, read_private
from gdbext.linker.loaded.rendezvous import NOT_STARTED, find_r_debug
from gdbext.linker.process.once import once
from gdbext.linker.process.process import AT_BASE, AT_ENTRY, AT_SYSINFO_EHDR, Process, Region
from gdbext.linker.process.regions import region_finder

_LARGEST_VDSO = 1 << 14  # bytes in front of its dynamic section; Linux's have some hundred
MAIN, NEEDED, PRELOADED, DLOPENED, LINKER, VDSO = (
    "main", "needed", "preloaded", "dlopened", "linker", "vdso",
)  # fmt: skip


@dataclass(frozen=True)
class Module:
    """One link_map entry. `path` is resolved, `name` is l_name; both may hold any character.

    `extent` is where it lies as far as ld.so's own fields tell, for one without an image."""

    map: LinkMap
    namespace: int
    path: str
    name: str
    kind: str
    image: Image | None
    private: Private | None
    problem: str | None
    memory: Memory
    extent: tuple[Segment, ...] = ()

    @cached_property
    def _strings(self) -> tuple[str | None, tuple[str, ...] | None]:
        return read_needed(self.memory, self.image)

    @property
    def soname(self) -> str | None:
        """DT_SONAME."""
        return self._strings[0]

    @property
    def needed(self) -> tuple[str, ...] | None:
        """The names of DT_NEEDED; None where they cannot be read."""
        return self._strings[1]

    @cached_property
    def file_name(self) -> str:
        """The last part of its path."""
        return os.path.basename(self.path) or self.path or "?"

    @property
    def bias(self) -> int:
        """The load bias; ld.so's proxy in another namespace has no l_addr of its own."""
        return self.image.bias if self.image else self.map.l_addr

    @property
    def span(self) -> tuple[int, int] | None:
        """Its first address and the one behind its last, whole pages; None where nothing tells."""
        if self.image is not None:
            return self.image.start, self.image.end
        if not self.extent:
            return None
        first, last = self.extent[0], self.extent[-1]
        return self.bias + first.vaddr, self.bias + last.vaddr + last.memsz

    @property
    def loads(self) -> tuple[Segment, ...]:
        """What is mapped of it; empty where nothing tells."""
        return self.image.loads if self.image else self.extent


@dataclass(frozen=True)
class Linker:
    """The dynamic linker's state: namespaces, and their modules in order.

    `unlisted` holds images that no chain names (a vDSO). `layout` is None when the private
    fields could not be located (musl has none); `problems` says what could not be read.
    """

    namespaces: tuple[Namespace, ...]
    modules: tuple[Module, ...]
    unlisted: tuple[Module, ...]
    layout: Layout | None
    problems: tuple[str, ...]

    def first(self, namespace: int) -> Module:
        """The first module of a namespace: its searchlist is that namespace's global scope."""
        return self._first[namespace]

    @cached_property
    def _first(self) -> dict[int, Module]:
        return {m.namespace: m for m in reversed(self.modules)}

    def needed_by(self, module: Module) -> list[Module]:
        """The modules whose DT_NEEDED `module` satisfies by a name of its own.

        musl's linker is libc.so by rule, whatever it is called: that is in `needs` alone.
        """
        return self._needed_by.get(module.map.address, [])

    @cached_property
    def _needed_by(self) -> dict[int, list[Module]]:
        found = who_needs(self.modules, self.needs)
        itself = _musl_itself(self.modules)
        if itself is not None:
            found.pop(itself.map.address, None)
        return found

    @cached_property
    def needs(self) -> dict[int, tuple[Need, ...] | None]:
        """The DT_NEEDED of each module, by link_map; None where the names cannot be read."""
        return resolve_needed(self.modules, _musl_itself(self.modules))

    @cached_property
    def by_map(self) -> dict[int, Module]:
        """Modules by the address of their link_map."""
        return {m.map.address: m for m in self.modules}

    @cached_property
    def _segments(self) -> tuple[list[int], list[tuple[int, Module, Segment]]]:
        rows = []
        for module in (*self.modules, *self.unlisted):
            # ld.so in another namespace is the same memory; its own entry stands for it.
            if module.kind == LINKER and module.namespace:
                continue
            bias = module.bias
            for segment in module.loads:
                start = bias + segment.vaddr
                rows.append((start, bias + segment.vaddr + segment.memsz, module, segment))
        rows.sort(key=lambda row: row[0])
        return [row[0] for row in rows], [row[1:] for row in rows]

    def find(self, address: int) -> tuple[Module, Segment] | None:
        """The module and segment that hold `address`."""
        starts, rows = self._segments
        place = bisect_right(starts, address) - 1
        if place < 0:
            return None
        end, module, segment = rows[place]
        return (module, segment) if address < end else None

    def owner(self, address: int) -> Module | None:
        """The module that holds `address`."""
        found = self.find(address)
        return found[0] if found else None


@once
def read_linker(process: Process) -> Linker:
    """Read every namespace and module; raises Problem when there is no link_map chain."""
    main, problem = main_image(process)
    try:
        r_debug = find_r_debug(process, main)
    except Problem as error:
        raise (_why_no_main(problem) if problem else error) from None
    linker = linker_image(process)
    namespaces = read_namespaces(process.memory, r_debug, linker)
    if not namespaces:
        raise Problem(NOT_STARTED)
    maps = [(m, n.index) for n in namespaces for m in n.maps]
    problems = tuple(text for n in namespaces for text in n.damage)
    if not maps:
        raise Problem("; ".join(problems) or NOT_STARTED)
    images, layout = read_images(process, main, maps)
    modules = _describe(process, maps, images, layout)
    return Linker(tuple(namespaces), modules, _unlisted(process, modules), layout, problems)


def _why_no_main(problem: Problem) -> Problem:
    if not isinstance(problem, Unreadable):
        return problem
    return Problem(
        f"the program's dynamic section cannot be read ({problem}), and nothing else says what is "
        "loaded; a core needs the process's private memory (coredump_filter 0x33, the default)"
    )


def _describe(
    process: Process,
    maps: Sequence[tuple[LinkMap, int]],
    images: dict[int, Image | Problem],
    layout: Layout | None,
) -> tuple[Module, ...]:
    modules: list[Module] = []
    memory = process.memory
    find_region = region_finder(process.regions())
    for link_map, namespace in maps:
        found = images[link_map.address]
        problem, image = (str(found), None) if isinstance(found, Problem) else (None, found)
        private = read_private(memory, layout, link_map.address) if layout else None
        if private is not None and private.real != link_map.address:
            private = None  # a proxy has nothing of its own
        extent = read_extent(link_map, private, process.regions()) if image is None else ()
        name = decode_path(link_map.l_name) if link_map.l_name is not None else "?"
        module = Module(link_map, namespace, "", name, "", image, private, problem, memory, extent)
        kind = _own_kind(process, module, first=not modules)
        path = _resolve_path(process, find_region, module, kind)
        modules.append(replace(module, path=path, kind=kind))
    return _settle_kinds(modules)


def _resolve_path(
    process: Process, find_region: Callable[[int], Region | None], module: Module, kind: str
) -> str:
    """An absolute path where one can be had: ld.so's names may be empty or relative."""
    name = module.name
    if name.startswith("/"):
        return name
    if kind in (VDSO, LINKER) and name in ("", "?"):  # musl names no vDSO, a core may lack names
        return "[vdso]" if kind == VDSO else "[ld.so]"
    region = find_region(module.image.start) if module.image is not None else None
    if region is not None and region.path:
        return region.path if region.path.startswith("/") else name
    if kind == MAIN:
        return process.main_path() or name
    return name


def _own_kind(process: Process, module: Module, first: bool) -> str:
    """How a module came in, as far as it says so itself; otherwise ''."""
    if first:
        return MAIN
    if _is_vdso(process, module):
        return VDSO
    if _is_linker(process, module):
        return LINKER
    private = module.private
    if private is not None and private.type == LT_LOADED:
        # What dlopen itself is asked for has no loader (glibc, elf/dl-load.c, __RTLD_CALLMAP);
        # the open count changes later, and who needs it may have come later too.
        return NEEDED if private.loader else DLOPENED
    return ""


def _is_vdso(process: Process, module: Module) -> bool:
    start = process.auxv.get(AT_SYSINFO_EHDR)
    if not start or module.image is not None:
        return module.image is not None and module.image.start == start
    return 0 <= module.map.l_ld - start < _LARGEST_VDSO


def _settle_kinds(modules: Sequence[Module]) -> tuple[Module, ...]:
    """Tell what the program started with: needed or preloaded; in musl, dlopened as well."""
    started = [m for m in modules if not (m.private and m.private.type == LT_LOADED)]
    needs = who_needs(started, resolve_needed(started, _musl_itself(started)))
    complete = all(m.needed is not None for m in started)

    def settle(module: Module) -> Module:
        if module.kind:
            return module
        other = PRELOADED if module.private is not None else DLOPENED
        needed = needs.get(module.map.address) or not complete
        return replace(module, kind=NEEDED if needed else other)

    return tuple(map(settle, modules))


def _musl_itself(modules: Sequence[Module]) -> Module | None:
    """Musl's dynamic linker, which is its libc as well; None where ld.so is glibc's."""
    if any(m.private for m in modules):
        return None
    return next((m for m in modules if m.kind == LINKER), None)


def _is_linker(process: Process, module: Module) -> bool:
    """ld.so by AT_BASE; run as a program, it is what AT_ENTRY names."""
    base = process.auxv.get(AT_BASE)
    if base and module.image is not None:
        return module.image.start <= base < module.image.end
    place = (base or process.auxv.get(AT_ENTRY, 0)) - module.bias
    return any(s.vaddr <= place < s.vaddr + s.memsz for s in module.loads)


def _unlisted(process: Process, modules: Sequence[Module]) -> tuple[Module, ...]:
    start = process.auxv.get(AT_SYSINFO_EHDR)
    if not start or any(m.image and m.image.start == start for m in modules):
        return ()
    try:
        image = read_image(process.memory, start)
    except Problem:
        return ()
    link_map = LinkMap(0, image.bias, b"[vdso]", image.dynamic_address or 0, 0, 0)
    return (Module(link_map, 0, "[vdso]", "[vdso]", VDSO, image, None, None, process.memory),)
