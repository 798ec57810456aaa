"""What lies at an address: module, segment, section, symbol, slot, PLT stub, TLS, stack, heap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from gdbext.elf.arch import Arch
from gdbext.elf.image import PF_X, Segment
from gdbext.elf.problem import Unreadable
from gdbext.linker.loaded.libc import libc_number
from gdbext.linker.loaded.modules import VDSO, Linker, Module
from gdbext.linker.loaded.tables import Definition, TableSet
from gdbext.linker.process.process import AT_EXECFN, Process, Region
from gdbext.linker.process.regions import kind_of_mapping, region_finder
from gdbext.linker.slots.got import read_slots
from gdbext.linker.slots.slots import Slot
from gdbext.linker.threads.threads import ControlBlock, Thread, TlsBlock, control_blocks
from gdbext.linker.tls.tls import read_tls, tls_blocks
from gdbext.linker.unloaded.freedmaps import Area, heap_areas, is_arena
from gdbext.linker.unloaded.unloaded import NOTHING, Ghost, UnloadedSet

_NULL_PAGE = 1 << 16  # vm.mmap_min_addr: nothing is ever mapped below
_SHF_ALLOC, _SHF_TLS = 2, 0x400  # gABI, section headers
_NEAR_STACK = 1 << 20
_LARGEST_STACK = 64 << 20  # where nobody lists the mappings
_RED_ZONE = 128  # bytes below SP that code may use (psABI x86-64, 3.2.2)
_LARGEST_CONTROL_BLOCK = 1 << 16


class Place(NamedTuple):
    """What lies at `address`. `kind` is module, tls, tcb, stack, below-stack, heap, anonymous,
    file, mapped (one of these two), null, unloaded, unmapped or unknown; fields that do not apply
    are None. `listed` says that all modules are known."""

    address: int
    kind: str
    module: Module | None = None
    segment: Segment | None = None
    section: str | None = None
    definition: Definition | None = None
    slot: Slot | None = None
    stub: Slot | None = None
    tls: TlsBlock | None = None
    control: ControlBlock | None = None
    thread: Thread | None = None
    region: Region | None = None
    ghost: Ghost | None = None
    listed: bool = True


@dataclass(frozen=True)
class Map:
    """The address space of one stopped process, read as far as questions need it.

    `threads` gives its threads; `function` may know a name that only debug info has;
    `read_unloaded` gives, for areas of the heap, the libraries that are gone. Without `probe`
    nothing is read that no table vouches for: after a SIGBUS, reading the page kills qemu.
    """

    process: Process
    arch: Arch
    linker: Linker | None
    tables: TableSet
    threads: Callable[[], Sequence[Thread]]
    function: Callable[[int], Definition | None]
    read_unloaded: Callable[[Linker, Sequence[Area]], UnloadedSet] = lambda *_: NOTHING
    scan: int = 0  # bytes of the heap that may be searched for traces of those
    probe: bool = True
    _slots: dict[int, list[Slot]] = field(default_factory=dict)

    def place(self, address: int) -> Place:
        """What lies at `address`."""
        found = self._find_module(address)
        if found is not None:
            return self._in_module(address, *found)
        if address < _NULL_PAGE:
            return Place(address, "null")
        region = self._find_region(address)
        for block in self._tls_blocks:
            if block.start <= address < block.end:
                return Place(address, "tls", block.module, tls=block, region=region)
        for control in self._control_blocks:
            if control.start <= address < control.end:
                return Place(address, "tcb", control=control, thread=control.thread, region=region)
        return self._outside(address, region)

    def slots(self, module: Module) -> list[Slot]:
        """The slots of one module, read once."""
        key = module.map.address
        if key not in self._slots and self.linker is not None:
            found = read_slots(self.process.memory, self.arch, self.linker, self.tables, [module])
            self._slots[key] = list(found[0].slots) if found else []
        return self._slots.get(key, [])

    def slot_at(self, address: int) -> tuple[Module, Slot] | None:
        """The slot at `address` and the module that it belongs to."""
        found = self._find_module(address)
        if found is None:
            return None
        return next(((found[0], s) for s in self.slots(found[0]) if s.address == address), None)

    def stub_at(self, module: Module, address: int) -> Slot | None:
        """The slot that the PLT entry around `address` jumps through.

        An entry has 16 bytes, 24 on ARM64 with BTI; whatever decodes as one must lead to a
        slot that the module's relocations name.
        """
        for start in range(address, address - 24, -1):
            try:
                code = self.process.memory.read(start, 24)
            except Unreadable:
                break
            target = self.arch.stub_slot(code, start)
            if target is not None:
                found = next((s for s in self.slots(module) if s.address == target), None)
                if found is not None:
                    return found
        return None

    def _find_module(self, address: int) -> tuple[Module, Segment] | None:
        return self.linker.find(address) if self.linker else None

    def _in_module(self, address: int, module: Module, segment: Segment) -> Place:
        definition = self.tables.name(module, address) or self.function(address)
        slot = stub = None
        if segment.flags & PF_X:
            if definition is None and module.kind != VDSO:
                stub = self.stub_at(module, address)
        else:
            slot = next(
                (s for s in self.slots(module) if s.address <= address < s.address + 8), None
            )
        return Place(
            address,
            "module",
            module,
            segment,
            self._section(module, address),
            definition,
            slot,
            stub,
            region=self._find_region(address),
        )

    def _section(self, module: Module, address: int) -> str | None:
        file = self.tables.file_of(module)
        place = address - module.bias
        for section in file.sections if file else ():
            # .tbss has an address but no memory
            template = section.flags & _SHF_TLS and section.type == "SHT_NOBITS"
            in_memory = section.flags & _SHF_ALLOC and not template
            if in_memory and section.address <= place < section.address + section.size:
                return section.name
        return None

    def _outside(self, address: int, region: Region | None) -> Place:
        if region is None:
            if not self.process.regions():
                return self._without_regions(address)
            above = self._next_region(address)
            if above is not None and above.start - address <= _NEAR_STACK:
                thread = self._stack_of(above)
                if thread is not None:
                    return Place(address, "below-stack", thread=thread, region=above)
            return self._nowhere(address, "unmapped")
        guarded = self._guarded_by(region)
        thread = self._stack_of(guarded or region)
        if guarded is not None and thread is not None:
            return Place(address, "below-stack", thread=thread, region=guarded)
        if thread is not None or region.path == "[stack]":
            return Place(address, "stack", thread=thread, region=region)
        if self._is_heap(region):
            return Place(address, "heap", region=region)
        kind = kind_of_mapping(region, self.process.regions())
        listed = self.linker is not None and bool(self.linker.namespaces)
        return Place(address, kind, region=region, listed=listed)

    def _without_regions(self, address: int) -> Place:
        """Where nobody lists the mappings, a stack is what is between SP and the stack's top."""
        readable = self._is_readable(address)
        for thread in self.threads():
            pointer = thread.stack_pointer
            if readable is not False and pointer - _RED_ZONE <= address < self._stack_top(thread):
                return Place(address, "stack", thread=thread)
            if readable is False and pointer - _NEAR_STACK <= address < self._stack_top(thread):
                return Place(address, "below-stack", thread=thread)
        if readable is None:
            return self._nowhere(address, "unknown")
        if readable and self._heap_start <= address < (self._program_break or 0):
            return Place(address, "heap")
        return Place(address, "unknown") if readable else self._nowhere(address, "unmapped")

    def ghost(self, address: int) -> Ghost | None:
        """The unloaded library that held `address`; None where something is mapped now."""
        known = self._find_module(address) or self._find_region(address)
        mapped = known or (not self.process.regions() and self._is_readable(address))
        return None if mapped else self.unloaded.at(address)

    def _nowhere(self, address: int, kind: str) -> Place:
        """Where nothing is now, a library may have been."""
        modules = self.linker.modules if self.linker else ()
        ghost = self.unloaded.near(address, [m.image.start for m in modules if m.image])
        if ghost is None:
            return Place(address, kind)
        return Place(address, "unloaded", definition=ghost.definition, ghost=ghost)

    @cached_property
    def unloaded(self) -> UnloadedSet:
        """The libraries that are gone, as far as anything tells of them."""
        if self.linker is None:
            return NOTHING
        regions = self.process.regions()
        own = (self._heap_start, min(self._program_break or 0, self._heap_start + self.scan))
        areas = heap_areas(regions, self.linker, self.scan) if regions else [own]
        return self.read_unloaded(self.linker, areas)

    def _is_readable(self, address: int) -> bool | None:
        if not self.probe:
            return None
        try:
            self.process.memory.read(address, 1)
        except Unreadable:
            return False
        return True

    def _stack_top(self, thread: Thread) -> int:
        """The end of a thread's stack at most: the main one has the program's name at its top
        (fs/binfmt_elf.c, create_elf_tables), the others their thread control block."""
        name = self.process.auxv.get(AT_EXECFN, 0)
        modules = (*self.linker.modules, *self.linker.unlisted) if self.linker else ()
        ends = [(name // 4096 + 1) * 4096, thread.thread_pointer or 0]
        ends += [m.image.start for m in modules if m.image]
        pointer = thread.stack_pointer
        above = [end for end in ends if pointer < end <= pointer + _LARGEST_STACK]
        return min(above, default=pointer + _NEAR_STACK)

    @cached_property
    def _heap_start(self) -> int:
        """Where the program break starts under qemu: behind the main program."""
        first = next(iter(self.linker.modules), None) if self.linker else None
        return first.image.end if first and first.image else 1 << 64

    @cached_property
    def _find_region(self) -> Callable[[int], Region | None]:
        return region_finder(self.process.regions())

    def _next_region(self, address: int) -> Region | None:
        return next((r for r in self.process.regions() if r.start > address), None)

    def _guarded_by(self, region: Region | None) -> Region | None:
        """What `region`, which nobody may access, lies right below, as a stack's guard does."""
        above = self._next_region(region.start) if region and region.flags == 0 else None
        return above if above and region and above.start == region.end else None

    def _stack_of(self, region: Region) -> Thread | None:
        """The thread whose SP is in `region`, or below it after an overflow, perhaps in its guard
        (allocate_stack in nptl/allocatestack.c), as a frame of more than a page gets there."""
        for thread in self.threads():
            if not region.start - _NEAR_STACK <= thread.stack_pointer < region.end:
                continue
            own = self._find_region(thread.stack_pointer)
            if own in (region, None) or self._guarded_by(own) == region:
                return thread
        return None

    @cached_property
    def _tls_blocks(self) -> list[TlsBlock]:
        if self.linker is None:
            return []
        tls = read_tls(self.process, self.arch, self.linker, self.tables)
        return list(tls_blocks(tls, self.threads()))

    @cached_property
    def _control_blocks(self) -> list[ControlBlock]:
        size = self._libc_number("_thread_db_sizeof_pthread", 4)
        if size is not None and size > _LARGEST_CONTROL_BLOCK:
            size = None
        return list(control_blocks(self.arch, self.threads(), size))

    def _is_heap(self, region: Region) -> bool:
        """`[heap]`; in a core, what ends at the program break, or an arena of malloc."""
        if region.path is not None:
            return region.path == "[heap]"
        limit = self._program_break
        if limit is not None and region.start < limit <= region.end:
            return True
        return is_arena(self.process.memory, region.start)

    @cached_property
    def _program_break(self) -> int | None:
        """`__curbrk`, which libc.so.6 exports."""
        return self._libc_number("__curbrk", 8)

    def _libc_number(self, name: str, size: int) -> int | None:
        if self.linker is None:
            return None
        return libc_number(self.process.memory, self.linker, self.tables, name, size)
