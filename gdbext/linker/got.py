"""GOT slots: what each relocated slot holds, in which state it is and where it leads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from gdbext.elf.arch import (
    ABSOLUTE,
    COPY,
    DTPMOD,
    JUMP_SLOT,
    RELATIVE,
    TLSDESC,
    Arch,
)
from gdbext.elf.image import DT_PLTGOT, PF_X, PT_GNU_RELRO, Image
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory
from gdbext.elf.relocations import Relocation, read_relocations
from gdbext.elf.symbols import SHN_ABS
from gdbext.linker.linkmaps import RT_ADD
from gdbext.linker.loading import read_got_header
from gdbext.linker.modules import LINKER, Linker, Module
from gdbext.linker.slotvalues import read_values
from gdbext.linker.tables import Definition, Tables, TableSet
from gdbext.linker.tlsslots import TLS_KINDS, tls_target

BOUND, LAZY, NULL, DANGLING = "bound", "lazy", "null", "dangling"
NOT_RELOCATED = "ld.so has not relocated this module yet"
OWN_VALUE = "the program keeps a value of its own in this data"
_STUB = 32  # bytes of a PLT entry or of PLT0
_NO_SLOTS = frozenset({RELATIVE, COPY})  # data, not slots: they lead to no other module


class Slot(NamedTuple):
    """One slot. `value` is None when it cannot be read, `state` when it cannot be told."""

    address: int
    kind: str
    type: str
    symbol: str | None
    version: str | None
    value: int | None
    state: str | None
    provider: Module | None
    definition: Definition | None
    reason: str | None
    relocation: Relocation


@dataclass(frozen=True)
class ModuleSlots:
    """The slots of one module, in address order; `header` is GOT[0..2] at `header_address`."""

    module: Module
    slots: list[Slot]
    header_address: int | None
    header: tuple[int, int, int] | None
    problem: str | None


def read_slots(
    memory: Memory,
    arch: Arch,
    linker: Linker,
    tables: TableSet,
    modules: Iterable[Module],
    symbols: Mapping[int, Set[int]] | None = None,
) -> list[ModuleSlots]:
    """The slots of each of `modules`; ld.so's proxies in other namespaces have none.

    `symbols`, {link_map address: entries of .dynsym}, limits them to slots for those symbols.
    """
    reader = _Reader(memory, arch, linker, tables, symbols)
    return [reader.read(m) for m in modules if not (m.kind == LINKER and m.namespace)]


@dataclass(frozen=True)
class _Reader:
    memory: Memory
    arch: Arch
    linker: Linker
    tables: TableSet
    symbols: Mapping[int, Set[int]] | None
    # Many modules bind the same symbol to the same place: each is looked up once.
    _owners: dict[tuple[int, str | None], tuple[Module | None, Definition | None]] = field(
        default_factory=dict
    )

    def read(self, module: Module) -> ModuleSlots:
        image, tables = module.image, self.tables.of(module)
        if image is None or tables is None:
            return ModuleSlots(module, [], None, None, module.problem)
        header = read_got_header(self.memory, image)
        header_address = image.pointer(DT_PLTGOT)
        try:
            slots = self._slots(module, image, tables)
        except Problem as problem:
            return ModuleSlots(module, [], header_address, header, str(problem))
        return ModuleSlots(module, slots, header_address, header, None)

    def _slots(self, module: Module, image: Image, tables: Tables) -> list[Slot]:
        kinds = self.arch.relocations
        only = None if self.symbols is None else self.symbols.get(module.map.address, frozenset())
        wanted = [
            r
            for r in read_relocations(self.memory, image)
            if r.type in kinds
            and kinds[r.type][0] not in _NO_SLOTS
            and (only is None or r.symbol in only)
        ]
        if not wanted:
            return []
        wanted.sort()
        values = read_values(self.memory, image, wanted)
        stubs = _Stubs(self.memory, image)
        pltgot = image.pointer(DT_PLTGOT) or 0
        unread = None if self._is_relocated(module, image, wanted, values) else NOT_RELOCATED
        owners, versions = self._owners, tables.versions
        names = tables.symbols.names({r.symbol for r in wanted if r.symbol})
        slots = []
        for relocation, value in zip(wanted, values):
            kind, type_name = kinds[relocation.type]
            index = relocation.symbol
            symbol = names.get(index) or None
            version = versions.of(index) if index else None
            state: str | None = None
            provider: Module | None = None
            definition: Definition | None = None
            reason = unread
            if value is None:
                reason = "this memory cannot be read"
            elif unread is None:
                if kind in TLS_KINDS:
                    state, provider, reason = self._tls(module, kind, relocation, value)
                    definition = Definition(symbol, 0) if symbol and provider else None
                elif value == 0:
                    state = NULL
                elif kind == JUMP_SLOT and self._is_lazy(
                    stubs, tables, value, relocation, pltgot, symbol
                ):
                    state = LAZY
                else:
                    key = value, symbol
                    if key not in owners:
                        owners[key] = self._owner(value, symbol)
                    provider, definition = owners[key]
                    state = BOUND if provider else DANGLING
                    if provider is None:
                        state, reason = _explain(image, kind, relocation, tables, value)
            slots.append(
                Slot(
                    image.bias + relocation.offset,
                    kind,
                    type_name,
                    symbol,
                    version,
                    value,
                    state,
                    provider,
                    definition,
                    reason,
                    relocation,
                )
            )
        return slots

    def _is_relocated(
        self,
        module: Module,
        image: Image,
        relocations: Sequence[Relocation],
        values: Sequence[int | None],
    ) -> bool:
        """By l_relocated; at ld.so's very first stop, when that is not found yet, by the values."""
        if module.private is not None and module.private.relocated is not None:
            return module.private.relocated
        adding = {n.index for n in self.linker.namespaces if n.state == RT_ADD}
        return module.namespace not in adding or not any(
            self.arch.relocations[r.type][0] == JUMP_SLOT and _is_raw(image, value)
            for r, value in zip(relocations, values)
        )

    def _is_lazy(
        self,
        stubs: _Stubs,
        tables: Tables,
        value: int,
        relocation: Relocation,
        pltgot: int,
        symbol: str | None,
    ) -> bool:
        """Whether a JUMP_SLOT still leads to its own PLT, told by the linker's own data.

        The code there hands this slot's number, or the resolver in GOT[2], to ld.so. A PLT of
        another form is told by the file: ld.so prepares a lazy slot by adding the load bias
        to what the file has there (glibc, elf_machine_lazy_rel).
        """
        if not stubs.hold(value):
            return False
        code = stubs.code(value)
        if code is None:
            # Not in this core. A symbol that another module defines leads here by the PLT alone.
            number = relocation.symbol
            return number < tables.symbols.count and not tables.symbols.entry(number).shndx
        index = relocation.plt_index or 0
        if self.arch.lazy_stub(code, value, index, pltgot):
            return True
        name = tables.name(value, symbol)
        if name is not None and name.symbol == symbol:
            return False  # its own definition of that symbol
        file = tables.file
        if file is None:
            return False
        try:
            first = int.from_bytes(file.memory.read(relocation.offset, 8), "little")
        except Unreadable:
            return False
        return first + tables.image.bias == value

    def _owner(self, value: int, symbol: str | None) -> tuple[Module | None, Definition | None]:
        module = self.linker.owner(value)
        if module is not None:
            return module, self.tables.name(module, value, symbol)
        # `_end` and the like are the address right behind a module
        module = self.linker.owner(value - 1)
        return module, Definition(symbol, 0) if module and symbol else None

    def _tls(
        self, module: Module, kind: str, relocation: Relocation, value: int
    ) -> tuple[str | None, Module | None, str | None]:
        """(state, provider, reason) of a TLS slot, whose value is a number, not an address."""
        try:
            provider, reason = tls_target(
                self.memory, self.arch, self.linker, module, kind, relocation, value
            )
        except Unreadable:
            return None, None, "what this slot leads to cannot be read"
        if kind in (DTPMOD, TLSDESC) and value == 0:
            return NULL, None, reason
        if kind == TLSDESC and self.linker.owner(value) is None:
            return DANGLING, None, reason
        return BOUND, provider, reason


def _is_raw(image: Image, value: int | None) -> bool:
    """Whether a value is no address yet, but what the file has there."""
    return bool(value and image.bias and value < image.end - image.start)


def _explain(
    image: Image, kind: str, relocation: Relocation, tables: Tables, value: int
) -> tuple[str, str | None]:
    """(state, reason) of a slot whose value lies in no module."""
    if kind == ABSOLUTE:
        index = relocation.symbol
        symbols = tables.symbols
        if not index or (index < symbols.count and symbols.entry(index).shndx == SHN_ABS):
            return BOUND, "an absolute value, not an address"
        relro = image.segment(PT_GNU_RELRO)
        if relro is None or not relro.vaddr <= relocation.offset < relro.vaddr + relro.memsz:
            return BOUND, OWN_VALUE
    if _is_raw(image, value):
        return DANGLING, "never relocated: it still holds what the file has there"
    return DANGLING, "this address is in no loaded module"


class _Stubs:
    """The bytes of a module's own PLT entries, each executable segment read at most once."""

    def __init__(self, memory: Memory, image: Image) -> None:
        self._memory = memory
        self._image = image
        self._segments = [
            (image.bias + s.vaddr, image.bias + s.vaddr + s.memsz)
            for s in image.loads
            if s.flags & PF_X
        ]

    def hold(self, address: int) -> bool:
        return any(start <= address < end for start, end in self._segments)

    def code(self, address: int) -> bytes | None:
        """Up to _STUB bytes of the module's own code at `address`; None where it is not known."""
        for start, end in self._segments:
            if start <= address < end:
                try:
                    return self._memory.read(address, min(_STUB, end - address))
                except Unreadable:
                    return None
        return None
