"""GOT slots: what each relocated slot holds, in which state it is and where it leads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from gdbext.elf.arch import (
    ABSOLUTE,
    COPY,
    DTPMOD,
    JUMP_SLOT,
    RELATIVE,
    TLSDESC,
    Arch,
)
from gdbext.elf.image import DT_PLTGOT, PT_GNU_RELRO, Image
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory
from gdbext.elf.relocations import Relocation, read_relocations
from gdbext.elf.symbols import SHN_ABS
from gdbext.linker.linkmaps import RT_ADD
from gdbext.linker.loading import read_got_header
from gdbext.linker.lookup import NOT_ASKED, Answer, Found, Lookup
from gdbext.linker.matching import DATA, PLT
from gdbext.linker.modules import LINKER, Linker, Module
from gdbext.linker.slotkinds import PLT_KINDS
from gdbext.linker.slotvalues import read_values
from gdbext.linker.stubs import Stubs
from gdbext.linker.tables import Definition, Tables, TableSet
from gdbext.linker.tlsslots import TLS_KINDS, tls_target

BOUND, LAZY, NULL, DANGLING = "bound", "lazy", "null", "dangling"
NOT_RELOCATED = "ld.so has not relocated this module yet"
OWN_VALUE = "the program keeps a value of its own in this data"
Owner = tuple[Optional[Module], Optional[Definition]]
_NO_SLOTS = frozenset({RELATIVE, COPY})  # data, not slots: they lead to no other module


class Slot(NamedTuple):
    """One slot. `value` is None when it cannot be read, `state` when it cannot be told.

    `answer` is what ld.so's lookup of its symbol gives now: None for nothing, a Problem where
    that cannot be known (NOT_ASKED if nobody asked, or there is no symbol).
    """

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
    answer: Answer


@dataclass(frozen=True)
class ModuleSlots:
    """The slots of one module, in address order; `header` is GOT[0..2] at `header_address`."""

    module: Module
    slots: list[Slot]
    header_address: int | None
    header: tuple[int, int, int] | None
    problem: str | None


@dataclass(frozen=True)
class _Wanted:
    """The relocations of one module that fill slots, by address, and the names of their symbols."""

    module: Module
    image: Image
    tables: Tables
    relocations: list[Relocation]
    names: dict[int, str]


def read_slots(
    memory: Memory,
    arch: Arch,
    linker: Linker,
    tables: TableSet,
    modules: Iterable[Module],
    symbols: Mapping[int, Set[int]] | None = None,
    lookup: Lookup | None = None,
) -> list[ModuleSlots]:
    """The slots of each of `modules`; ld.so's proxies in other namespaces have none.

    `symbols`, {link_map address: entries of .dynsym}, limits them to slots for those symbols.
    With `lookup`, each slot has the answer of ld.so's own lookup.
    """
    reader = _Reader(memory, arch, linker, tables, symbols, lookup)
    found = [reader.want(m) for m in modules if not (m.kind == LINKER and m.namespace)]
    if lookup is not None:
        wanted: set[bytes] = set()
        for one in found:
            if isinstance(one, _Wanted):
                wanted.update(map(one.tables.symbols.raw_name, one.names))
        lookup.definers.prepare(wanted)
    return [reader.read(one) if isinstance(one, _Wanted) else one for one in found]


@dataclass(frozen=True)
class _Reader:
    memory: Memory
    arch: Arch
    linker: Linker
    tables: TableSet
    symbols: Mapping[int, Set[int]] | None
    lookup: Lookup | None
    # Many modules bind the same symbol to the same place: each is looked up once.
    _owners: dict[tuple[int, str | None], Owner] = field(default_factory=dict)
    _exact: dict[str, Definition] = field(default_factory=dict)

    def want(self, module: Module) -> _Wanted | ModuleSlots:
        """What to read of a module; its slots themselves where there are none to read."""
        image, tables = module.image, self.tables.of(module)
        if image is None or tables is None:
            return ModuleSlots(module, [], None, None, module.problem)
        kinds = self.arch.relocations
        only = None if self.symbols is None else self.symbols.get(module.map.address, frozenset())
        try:
            wanted = [
                r
                for r in read_relocations(self.memory, image)
                if r.type in kinds
                and kinds[r.type][0] not in _NO_SLOTS
                and (only is None or r.symbol in only)
            ]
            wanted.sort()
            names = tables.symbols.names({r.symbol for r in wanted if r.symbol}) if wanted else {}
        except Problem as problem:
            return self._with_header(module, image, [], str(problem))
        return _Wanted(module, image, tables, wanted, names)

    def read(self, wanted: _Wanted) -> ModuleSlots:
        slots = self._slots(wanted) if wanted.relocations else []
        return self._with_header(wanted.module, wanted.image, slots, None)

    def _with_header(
        self, module: Module, image: Image, slots: list[Slot], problem: str | None
    ) -> ModuleSlots:
        header = read_got_header(self.memory, image)
        return ModuleSlots(module, slots, image.pointer(DT_PLTGOT), header, problem)

    def _slots(self, wanted: _Wanted) -> list[Slot]:
        module, image, tables, names = wanted.module, wanted.image, wanted.tables, wanted.names
        values = read_values(self.memory, image, wanted.relocations)
        stubs = Stubs(self.memory, self.arch, tables)
        first, last, bias = stubs.first, stubs.last, image.bias
        unread = None if self._is_relocated(wanted, values) else NOT_RELOCATED
        kinds, owners, exact = self.arch.relocations, self._owners, self._exact
        numbers, version_names = tables.versions.indices, tables.versions.names
        versioned = len(numbers)
        ask = _asker(self.lookup, module)
        new = tuple.__new__  # what Slot() calls: half the time of the call, for 60,000 slots
        slots = []
        for relocation, value in zip(wanted.relocations, values):
            offset, number, index, _, _ = relocation
            kind, type_name = kinds[number]
            symbol: str | None = None
            version: str | None = None
            state: str | None = None
            provider: Module | None = None
            definition: Definition | None = None
            reason = unread
            answer: Answer = NOT_ASKED
            if index:
                symbol = names.get(index) or None
                if index < versioned:
                    version = version_names.get(numbers[index] & 0x7FFF)
                answer = ask(index, PLT if kind in PLT_KINDS else DATA)
            if value is None:
                reason = "this memory cannot be read"
            elif unread is None:
                if kind in TLS_KINDS:
                    state, provider, reason = self._tls(module, kind, relocation, value)
                    definition = Definition(symbol, 0) if symbol and provider else None
                elif value == 0:
                    state = NULL
                elif (
                    kind == JUMP_SLOT
                    and first <= value < last
                    and stubs.is_lazy(value, relocation, symbol)
                ):
                    state = LAZY
                elif symbol and isinstance(answer, Found) and answer.address == value:
                    state, provider = BOUND, answer.module  # an absolute symbol's too
                    definition = exact.get(symbol)
                    if definition is None:
                        definition = exact[symbol] = Definition(symbol, 0)
                else:
                    key = value, symbol
                    owner = owners.get(key)
                    if owner is None:
                        owner = owners[key] = self._owner(value, symbol)
                    provider, definition = owner
                    state = BOUND
                    if provider is None:
                        state, reason = _explain(image, kind, relocation, tables, value)
            slot = (
                *(bias + offset, kind, type_name, symbol, version, value),
                *(state, provider, definition, reason, relocation, answer),
            )
            slots.append(new(Slot, slot))
        return slots

    def _is_relocated(self, wanted: _Wanted, values: Sequence[int | None]) -> bool:
        """By l_relocated; at ld.so's very first stop, when that is not found yet, by the values."""
        module = wanted.module
        if module.private is not None and module.private.relocated is not None:
            return module.private.relocated
        adding = {n.index for n in self.linker.namespaces if n.state == RT_ADD}
        return module.namespace not in adding or not any(
            self.arch.relocations[r.type][0] == JUMP_SLOT and _is_raw(wanted.image, value)
            for r, value in zip(wanted.relocations, values)
        )

    def _owner(self, value: int, symbol: str | None) -> Owner:
        """The module and the name that an address belongs to."""
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


def _asker(lookup: Lookup | None, module: Module) -> Callable[[int, int], Answer]:
    """The lookup for one module's symbols; where it cannot know, its Problem is the answer."""
    if lookup is None:
        return lambda _number, _type_class: NOT_ASKED
    try:
        resolve = lookup.resolver(module)
    except Problem as problem:
        failure = problem
        return lambda _number, _type_class: failure

    def ask(number: int, type_class: int) -> Answer:
        try:
            return resolve(number, type_class)
        except Problem as problem:
            return problem

    return ask
