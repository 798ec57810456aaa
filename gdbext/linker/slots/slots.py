"""The GOT slots of a module, held as columns: a large program has 60,000 of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gdbext.elf.relocations import Relocation
from gdbext.linker.loaded.modules import Module
from gdbext.linker.loaded.tables import Definition
from gdbext.linker.lookup.answers import Answer

_NEW = tuple.__new__  # what Slot() calls: half the time of the call


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
class Slots:
    """Slots in address order: a column for each field of Slot, and rows made when asked for.

    `exact` marks the slots that hold just the address which the lookup gave: nearly all.
    """

    addresses: list[int] = field(default_factory=list)
    kinds: Sequence[str] = ()
    types: Sequence[str] = ()
    symbols: Sequence[str | None] = ()
    versions: Sequence[str | None] = ()
    values: Sequence[int | None] = ()
    states: list[str | None] = field(default_factory=list)
    providers: list[Module | None] = field(default_factory=list)
    definitions: list[Definition | None] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    relocations: Sequence[Relocation] = ()
    answers: Sequence[Answer] = ()
    exact: Sequence[bool] = ()

    def __len__(self) -> int:
        return len(self.addresses)

    def __getitem__(self, i: int) -> Slot:
        left = self.addresses[i], self.kinds[i], self.types[i], self.symbols[i], self.versions[i]
        middle = self.values[i], self.states[i], self.providers[i], self.definitions[i]
        right = self.reasons[i], self.relocations[i], self.answers[i]
        return _NEW(Slot, left + middle + right)

    def __iter__(self) -> Iterator[Slot]:
        return map(self.__getitem__, range(len(self)))

    def only(self, indices: Sequence[int]) -> Slots:
        """The slots with these indices."""
        columns = vars(self).items()
        return Slots(**{name: [column[i] for i in indices] for name, column in columns})


@dataclass(frozen=True)
class ModuleSlots:
    """The slots of one module; `header` is GOT[0..2] at `header_address`."""

    module: Module
    slots: Slots
    header_address: int | None
    header: tuple[int, int, int] | None
    problem: str | None

    def only(self, indices: Sequence[int]) -> ModuleSlots:
        """The same with these slots alone."""
        return replace(self, slots=self.slots.only(indices))
