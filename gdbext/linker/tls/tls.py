"""Thread-local storage of one process: modules, each thread's blocks, static TLS used and left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from gdbext.elf.arch import Arch
from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory, read_words
from gdbext.elf.variables import read_variable
from gdbext.linker.loaded.libc import libc_number
from gdbext.linker.loaded.modules import LINKER, VDSO, Linker, Module
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.process.process import Process
from gdbext.linker.threads.threads import Thread, TlsBlock
from gdbext.linker.tls.dtv import Dtv, read_dtv
from gdbext.linker.tls.statictls import (
    StaticTls,
    find_control,
    find_static,
    planned_control,
    with_surplus,
)
from gdbext.linker.tls.tlsmodules import MOST_IDS, STATIC, TlsModule, read_tls_modules
from gdbext.linker.tls.tlsneeds import Asks, Blocks, read_asks
from gdbext.linker.tls.tlsstate import Slot, TlsState, Variables, find_state, read_slots

NO_POINTER = "this target does not tell the thread pointer"
NO_GENERATIONS = (
    "ld.so's list of module ids was not found, so that an older module's block cannot be told apart"
)
NOT_YET = "not allocated in this thread: it is when the thread first uses it"
NO_STATE = "ld.so's variables about TLS were not found"
NO_STATIC = "no words of ld.so's variables agree with the static blocks that are there"
NO_CONTROL = "the size of the thread control block, which is part of it, is not known here"
MUSL = "musl keeps no room for more: what is dlopened never gets static TLS"


class Block(NamedTuple):
    """Where one module's block is in one thread, or why it is nowhere."""

    start: int | None
    reason: str | None


@dataclass(frozen=True)
class Tls:
    """What is the same for all threads."""

    memory: Memory
    arch: Arch
    linker: Linker
    tables: TableSet
    modules: tuple[TlsModule, ...]
    state: TlsState | None
    variables: Variables | None

    @property
    def musl(self) -> bool:
        return self.linker.layout is None

    @property
    def unread(self) -> int:
        """How many modules there are of which nothing tells whether they have TLS."""
        return sum(m.image is None and m.kind != VDSO for m in self.linker.modules)

    @cached_property
    def largest(self) -> int:
        """The largest module id in use."""
        return max((m.id for m in self.modules if m.id is not None), default=0)

    @cached_property
    def asks(self) -> dict[int, Asks]:
        """What each module asks for, by the address of its link_map."""
        blocks = Blocks(self.modules)
        rows = (
            read_asks(self.memory, self.arch, self.tables, module, blocks)
            for module in self.linker.modules
            if not (module.kind == LINKER and module.namespace)
        )
        return {row.module.map.address: row for row in rows}

    def asked_by(self, module: Module) -> list[tuple[str, Module]]:
        """(TPOFF or TLSDESC, who) of all whose relocations need `module`'s block to be static."""
        return self._askers.get(module.map.address, [])

    @cached_property
    def _askers(self) -> dict[int, list[tuple[str, Module]]]:
        found: dict[int, list[tuple[str, Module]]] = {}
        for row in self.asks.values():
            for need in row.needs:
                if need.owner is not None:
                    askers = found.setdefault(need.owner.map.address, [])
                    if (need.kind, row.module) not in askers:
                        askers.append((need.kind, row.module))
        return found

    def dtv(self, thread: Thread) -> Dtv | None:
        """The thread's DTV; None when it is not there or cannot be read."""
        if not thread.thread_pointer:
            return None
        return read_dtv(self.memory, self.arch, thread.thread_pointer, self.largest, self.musl)

    def block(self, module: TlsModule, thread: Thread, dtv: Dtv | None) -> Block:
        """Where `module`'s block is in `thread`, whose DTV is `dtv`."""
        if not thread.thread_pointer:
            return Block(None, NO_POINTER)
        if module.storage == STATIC and module.offset is not None:
            return Block(thread.thread_pointer + module.offset, None)
        if module.id is None:
            return Block(None, "its module id is not known")
        if dtv is None:
            return Block(None, "this thread's vector of blocks (DTV) cannot be read")
        if not self.musl:
            if self.state is None:
                return Block(None, NO_GENERATIONS)
            slot = self.state.slots.get(module.id)
            if not _is_current(slot, module, dtv):
                return Block(None, NOT_YET)
        start = dtv.start(module.id)
        return Block(start, None if start is not None else NOT_YET)


def _is_current(slot: Slot | None, module: TlsModule, dtv: Dtv) -> bool:
    """Whether the DTV's entry is this module's: ids are used again, and a thread's entry is left
    as it is until that thread uses TLS (glibc, elf/dl-tls.c, _dl_update_slotinfo)."""
    if slot is None or slot.map != module.module.map.address:
        return False
    return dtv.generation is not None and slot.generation <= dtv.generation


def read_tls(process: Process, arch: Arch, linker: Linker, tables: TableSet) -> Tls:
    """What is the same for all threads."""
    memory = process.memory
    modules = read_tls_modules(memory, arch, linker)
    variables = state = None
    if linker.layout is not None:
        variables = _variables(memory, linker, tables)
        if variables is not None:
            state = find_state(memory, variables, modules)
        else:
            variables, state = _static_program(process, modules)
    return Tls(memory, arch, linker, tables, tuple(modules), state, variables)


def _variables(memory: Memory, linker: Linker, tables: TableSet) -> Variables | None:
    """`_rtld_global` and `_rtld_global_ro`, which ld.so exports for libc.so.6."""
    for module in linker.modules:
        if module.kind == LINKER and not module.namespace:
            words = _words(memory, tables, module, b"_rtld_global")
            constants = _words(memory, tables, module, b"_rtld_global_ro")
            return Variables(words, constants) if words else None
    return None


def _words(memory: Memory, tables: TableSet, module: Module, name: bytes) -> tuple[int, ...]:
    own = tables.of(module)
    try:
        found = read_variable(memory, own.image, name, own.symbols) if own else None
    except Problem:
        return ()  # ld.so's tables are not in this core
    return found.words if found else ()


def _static_program(
    process: Process, modules: Sequence[TlsModule]
) -> tuple[Variables | None, TlsState | None]:
    """The same of a static program, which has them as variables of its own (.symtab)."""

    def number(name: str) -> int | None:
        address = process.symbol_address(name)
        try:
            return read_words(process.memory, address, 1)[0] if address else None
        except Problem:
            return None

    largest, at = number("_dl_tls_max_dtv_idx"), number("_dl_tls_dtv_slotinfo_list")
    generation = number("_dl_tls_generation")
    if largest is None or not at or generation is None or largest >= MOST_IDS:
        return None, None
    slots = read_slots(process.memory, at, largest)
    names = ("_dl_tls_static_nelem", "_dl_tls_static_size", "_dl_tls_static_used",
             "_dl_tls_static_align", "_dl_tls_static_optional")  # fmt: skip
    numbers = tuple(n for n in map(number, names) if n is not None)
    if slots is None or len(numbers) != len(names):
        return None, None
    owners = {m.id: m.module.map.address for m in modules}
    if any(slot.map not in (0, owners.get(n)) for n, slot in slots.items()):
        return None, None
    surplus = number("_dl_tls_static_surplus")
    constants = (surplus,) if surplus is not None else ()
    return Variables((), constants), TlsState(largest, generation, slots, numbers)


class Room(NamedTuple):
    """Static TLS, or why it is not known. `start` is `used` when the program started."""

    area: StaticTls | None
    start: int | None
    reason: str | None


def read_room(tls: Tls, threads: Iterable[Thread]) -> Room:
    """The static TLS area. `threads` may be asked for the main one."""
    if tls.musl:
        return Room(None, None, MUSL)
    if tls.state is None:
        return Room(None, None, NO_STATE)
    variables = tls.variables or Variables((), ())
    below = tls.arch.tls_below_pointer
    first = max((m.end for m in tls.modules if m.at_start), default=0)
    control = _control(tls, tls.state, threads) if below else None
    if below and control is None and not variables.words and variables.constants:
        control = planned_control(tls.state, variables.constants[0], first)
    if below and control is None:
        return Room(None, None, NO_CONTROL)
    lowest = max((m.end for m in tls.modules), default=0)
    area = find_static(tls.state, variables, below, control or 0, lowest)
    if area is None:
        return Room(None, None, NO_STATIC)
    area = with_surplus(area, variables, first)
    return Room(area, _used_at_start(tls, area, first), None)


def _control(tls: Tls, state: TlsState, threads: Iterable[Thread]) -> int | None:
    """The size of struct pthread: libc.so.6 tells from 2.34 on, before it the main thread."""
    size = libc_number(tls.memory, tls.linker, tls.tables, "_thread_db_sizeof_pthread", 4)
    if size is not None:
        return size
    for thread in threads:
        size = (
            find_control(tls.memory, thread.thread_pointer, state) if thread.thread_pointer else 0
        )
        if size:
            return size
    return None


def _used_at_start(tls: Tls, area: StaticTls, first: int) -> int | None:
    """`used` before the first dlopen; from 2.41 on the area of rseq(2) is behind the blocks
    (glibc, elf/dl-tls.c, _dl_extra_tls_get_size), where __rseq_offset says."""
    later = any(m.storage == STATIC and not m.at_start for m in tls.modules)
    if not later and area.used in area.starts and area.used == first:
        return first
    place = libc_number(tls.memory, tls.linker, tls.tables, "__rseq_offset", 8)
    if place == 0:
        return None  # not set: the program has a copy of it, or it is too early
    offset = place - (1 << 64) if place and place >> 63 else place or 0
    reach = -offset if area.below else offset
    if reach < first:  # in the control block (2.35 to 2.40), or there is none
        return first if first in area.starts else None
    if area.below:
        return reach if reach in area.starts else None
    # 32 bytes, the first size of struct rseq, and more on kernels with more features
    found = [reach + size for size in range(32, 129, 32) if reach + size in area.starts]
    return found[0] if len(found) == 1 else None


def tls_blocks(tls: Tls, threads: Sequence[Thread]) -> Iterator[TlsBlock]:
    """Every block that exists, of every thread."""
    for thread in threads:
        dtv = tls.dtv(thread)
        for module in tls.modules:
            start = tls.block(module, thread, dtv).start
            if start is not None:
                yield TlsBlock(start, start + module.size, module.module, thread)
