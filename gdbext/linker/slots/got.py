"""GOT slots: what each relocated slot holds, in which state it is and where it leads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cache, cached_property
from operator import attrgetter
from typing import Optional

from gdbext.elf.arch import (
    ABSOLUTE,
    COPY,
    DTPMOD,
    GLOB_DAT,
    JUMP_SLOT,
    RELATIVE,
    TLSDESC,
    Arch,
)
from gdbext.elf.image import DT_PLTGOT, PT_GNU_RELRO, Image
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory
from gdbext.elf.relocations import Relocation, read_relocations
from gdbext.elf.symbols import SHN_ABS, STT_GNU_IFUNC
from gdbext.linker.loaded.linkmaps import RT_ADD
from gdbext.linker.loaded.loading import read_got_header
from gdbext.linker.loaded.modules import LINKER, VDSO, Linker, Module
from gdbext.linker.loaded.tables import Definition, Tables, TableSet
from gdbext.linker.lookup.answers import NOT_ASKED, Answer, Found
from gdbext.linker.lookup.lookup import Lookup
from gdbext.linker.lookup.matching import DATA, PLT
from gdbext.linker.lookup.references import References, read_references
from gdbext.linker.lookup.scopes import real
from gdbext.linker.slots.slotkinds import PLT_KINDS
from gdbext.linker.slots.slots import ModuleSlots, Slot, Slots
from gdbext.linker.slots.slotvalues import read_values
from gdbext.linker.slots.stubs import Stubs
from gdbext.linker.tls.tlsslots import TLS_KINDS, tls_target

BOUND, LAZY, NULL, DANGLING = "bound", "lazy", "null", "dangling"
NOT_RELOCATED = "ld.so has not relocated this module yet"
OWN_VALUE = "the program keeps a value of its own in this data"
PLAIN = frozenset({JUMP_SLOT, GLOB_DAT})  # they hold an address as it is
Owner = tuple[Optional[Module], Optional[Definition]]
# (state, provider, definition, reason) of a Slot
Lead = tuple[Optional[str], Optional[Module], Optional[Definition], Optional[str]]
_NO_SLOTS = frozenset({RELATIVE, COPY})  # data, not slots: they lead to no other module


@dataclass(frozen=True)
class _Wanted:
    """The relocations of one module that fill slots, by address, and what they refer to."""

    module: Module
    image: Image
    tables: Tables
    relocations: list[Relocation]
    kinds: Sequence[str]
    types: Sequence[str]
    references: References


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
        names = (one.references.names for one in found if isinstance(one, _Wanted))
        lookup.definers.prepare(set().union(*names))
    return [reader.read(one) if isinstance(one, _Wanted) else one for one in found]


@dataclass(frozen=True)
class _Reader:
    memory: Memory
    arch: Arch
    linker: Linker
    tables: TableSet
    symbols: Mapping[int, Set[int]] | None
    lookup: Lookup | None
    # Many modules have slots for the same symbol, bound to the same place.
    _owners: dict[tuple[int, str | None], Owner] = field(default_factory=dict)
    _text: Callable[[bytes], str | None] = field(default_factory=lambda: cache(_decoded))
    _itself: Callable[[str | None], Definition | None] = field(
        default_factory=lambda: cache(_named)
    )

    @cached_property
    def _kinds(self) -> dict[int, tuple[str, str, int]]:
        """(kind, the psABI's name, type class) of the relocations that fill slots, by number."""
        return {
            number: (kind, name, PLT if kind in PLT_KINDS else DATA)
            for number, (kind, name) in self.arch.relocations.items()
            if kind not in _NO_SLOTS
        }

    def want(self, module: Module) -> _Wanted | ModuleSlots:
        """What to read of a module; its slots themselves where there are none to read."""
        image, tables = module.image, self.tables.of(module)
        if image is None or tables is None:
            return ModuleSlots(module, Slots(), None, None, module.problem)
        known = self._kinds
        only = None if self.symbols is None else self.symbols.get(module.map.address, frozenset())
        try:
            wanted = [
                r
                for r in read_relocations(self.memory, image)
                if r.type in known and (only is None or r.symbol in only)
            ]
            if not wanted:
                return self._with_header(module, image, Slots(), None)
            wanted.sort(key=attrgetter("offset"))
            kinds, types, classes = zip(*[known[r.type] for r in wanted])
            references = read_references(tables, [r.symbol for r in wanted], classes)
        except Problem as problem:
            return self._with_header(module, image, Slots(), str(problem))
        return _Wanted(module, image, tables, wanted, kinds, types, references)

    def read(self, wanted: _Wanted) -> ModuleSlots:
        return self._with_header(wanted.module, wanted.image, self._slots(wanted), None)

    def _with_header(
        self, module: Module, image: Image, slots: Slots, problem: str | None
    ) -> ModuleSlots:
        header = read_got_header(self.memory, image)
        return ModuleSlots(module, slots, image.pointer(DT_PLTGOT), header, problem)

    def _slots(self, wanted: _Wanted) -> Slots:
        """Most slots hold what the lookup gives; only the others are looked at one by one."""
        module, image, relocations = wanted.module, wanted.image, wanted.relocations
        references, bias = wanted.references, image.bias
        values = read_values(self.memory, image, [r.offset for r in relocations])
        symbols = list(map(self._text, references.names))
        answers: list[Answer] = [NOT_ASKED] * len(values)
        if self.lookup is not None:
            answers = self.lookup.resolve_all(module, references)
        relocated = self._is_relocated(wanted, values)
        stubs = Stubs(self.memory, self.arch, wanted.tables)
        exact = [False] * len(values)
        if relocated:
            exact = _exact(relocations, wanted.kinds, symbols, values, answers, stubs)
        slots = Slots(
            addresses=[bias + r.offset for r in relocations],
            kinds=wanted.kinds,
            types=wanted.types,
            symbols=symbols,
            versions=references.versions,
            values=values,
            states=[BOUND] * len(values),
            providers=[a.module if isinstance(a, Found) else None for a in answers],
            definitions=list(map(self._itself, symbols)),
            reasons=[None] * len(values),
            relocations=relocations,
            answers=answers,
            exact=exact,
        )
        for i, here in enumerate(exact):
            if not here:
                lead = self._lead(wanted, stubs, relocated, slots[i])
                slots.states[i], slots.providers[i], slots.definitions[i], slots.reasons[i] = lead
        return slots

    def _lead(self, wanted: _Wanted, stubs: Stubs, relocated: bool, slot: Slot) -> Lead:
        """(state, provider, definition, reason) of a slot."""
        symbol, value, answer = slot.symbol, slot.value, slot.answer
        if value is None:
            return None, None, None, "this memory cannot be read"
        if not relocated:
            return None, None, None, NOT_RELOCATED
        if slot.kind in TLS_KINDS:
            state, provider, reason = self._tls(wanted.module, slot.kind, slot.relocation, value)
            return state, provider, self._itself(symbol) if provider else None, reason
        if value == 0:
            return NULL, None, None, None
        if slot.kind == JUMP_SLOT and stubs.is_lazy(value, slot.relocation, symbol):
            return LAZY, None, None, None
        if symbol and isinstance(answer, Found) and answer.address == value:
            return BOUND, answer.module, self._itself(symbol), None  # an absolute symbol's too
        key = value, symbol
        if key not in self._owners:
            self._owners[key] = self._owner(value, symbol)
        provider, definition = self._owners[key]
        if provider is not None:
            return BOUND, provider, definition, None
        state, reason = _explain(wanted.image, slot.kind, slot.relocation, wanted.tables, value)
        if state == DANGLING and self._unplaced is not None:
            return None, None, None, f"it may lead into {self._unplaced}, whose place is not known"
        return state, None, definition, reason

    @cached_property
    def _unplaced(self) -> str | None:
        """A module of which neither memory nor a file tells where it lies."""
        modules = [m for m in self.linker.modules if not m.loads and m.kind != VDSO]
        return next((m.path for m in modules if real(self.linker, m) is m), None)

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


def _exact(
    relocations: Sequence[Relocation],
    kinds: Sequence[str],
    symbols: Sequence[str | None],
    values: Sequence[int | None],
    answers: Sequence[Answer],
    stubs: Stubs,
) -> list[bool]:
    """Which slots hold just what their relocation puts there: the address that the lookup gives.

    That of an IFUNC is its resolver's. What leads into the module's own code may be a PLT entry.
    """
    first, last = stubs.first, stubs.last
    return [
        isinstance(answer, Found)
        and answer.address == value != 0
        and symbol is not None
        and not first <= answer.address < last
        and answer.symbol.info & 15 != STT_GNU_IFUNC
        and (kind in PLAIN or (kind == ABSOLUTE and not relocation.addend))
        for relocation, kind, symbol, value, answer in zip(
            relocations, kinds, symbols, values, answers
        )
    ]


def _decoded(name: bytes) -> str | None:
    """A symbol's name as text; None for one without a name."""
    return name.decode("utf-8", "backslashreplace") or None


def _named(symbol: str | None) -> Definition | None:
    return Definition(symbol, 0) if symbol else None
