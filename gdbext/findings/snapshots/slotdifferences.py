"""Which slots lead elsewhere, or are judged otherwise, than in another snapshot.

Where a module was built anew a slot's place is no mark of it: there the slots of one symbol are
taken together.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.findings.slots.verdicts import DANGLING, OK, REDIRECTED, STALE, UNVERIFIED
from gdbext.findings.snapshots.pairing import Pairs, same_build
from gdbext.findings.snapshots.snapshot import NOWHERE, UNKNOWN, ModuleFacts, Slots
from gdbext.linker.slots.got import LAZY

_NO_SLOTS = Slots(*([] for _ in Slots._fields))
_NO_MODULE: tuple[Hashable, ...] = ("unknown", "nowhere")  # at UNKNOWN and at NOWHERE
_WORST_FIRST = (REDIRECTED, DANGLING, STALE, OK)


class Target(NamedTuple):
    """Where a slot leads: module and name, both None for nowhere."""

    module: str | None
    definition: str | None


class ProviderChange(NamedTuple):
    """The references of a module to one symbol lead elsewhere; `slots` counts them after."""

    module: ModuleFacts
    symbol: str
    slots: int
    before: list[Target]
    after: list[Target]


class VerdictChange(NamedTuple):
    """Slots of one kind that are judged otherwise. A verdict is None where there was no such slot;
    `offset` (bytes from the base) is None where the module was built anew."""

    module: ModuleFacts
    symbol: str
    type: str
    offset: int | None
    before: str | None
    after: str | None
    leads: Target


@dataclass(frozen=True)
class SlotDifferences:
    """All of that. `resolved` counts slots that are lazy in one snapshot alone, which is no
    difference; `unjudged` those whose verdict is known in one alone."""

    providers: list[ProviderChange]
    verdicts: list[VerdictChange]
    resolved: int
    unjudged: int


class _Side(NamedTuple):
    """One snapshot's modules. `keys` has what stands for each of them in both snapshots, and behind
    these, where UNKNOWN and NOWHERE index them from the end, what stands for those."""

    modules: Sequence[ModuleFacts]
    keys: list[Hashable]

    def target(self, slots: Slots, row: int) -> Target:
        """Where a slot leads."""
        lead = slots.leads[row]
        if lead < 0:
            return Target(None, None)
        return Target(self.modules[lead].path, slots.definitions[row] or slots.symbols[row] or None)


def compare_slots(
    before: Sequence[ModuleFacts], after: Sequence[ModuleFacts], pairs: Pairs
) -> SlotDifferences:
    """The slots of modules that are in both, and of others those that are not ok."""
    left = _Side(
        before, [*(pairs.after.get(i, ("gone", i)) for i in range(len(before))), *_NO_MODULE]
    )
    right = _Side(after, [*range(len(after)), *_NO_MODULE])
    same = {j for j, i in pairs.before.items() if same_build(before[i], after[j])}
    found = SlotComparison(left, right, same)
    for index, module in enumerate(after):
        partner = pairs.before.get(index)
        old = _NO_SLOTS if partner is None else before[partner].slots
        if old is not None and module.slots is not None:
            found.add(module, old, module.slots, index in same, partner is not None)
    for index, module in enumerate(before):
        if index not in pairs.after and module.slots is not None:
            found.add(module, module.slots, _NO_SLOTS, False, False)
    return SlotDifferences(found.providers, found.verdicts, found.resolved, found.unjudged)


class SlotComparison:
    """The differences found so far; `same` has the modules after that are the same build."""

    def __init__(self, left: _Side, right: _Side, same: set[int]) -> None:
        self.left, self.right, self.same = left, right, same
        self.providers: list[ProviderChange] = []
        self.verdicts: list[VerdictChange] = []
        self.resolved = self.unjudged = 0

    def add(self, module: ModuleFacts, old: Slots, new: Slots, same: bool, paired: bool) -> None:
        """Compare the slots of one module."""
        if same and self._equal(old, new):
            return
        if paired:
            self.providers += self._moved(module, old, new, same)
        if same:
            self.resolved += sum((a == LAZY) != (b == LAZY) for a, b in zip(old.states, new.states))
        self.verdicts += self._judged(module, old, new, same)

    def _equal(self, old: Slots, new: Slots) -> bool:
        """Whether nothing differs: the quick way for nearly all modules."""
        if old._replace(leads=[]) != new._replace(leads=[]):
            return False
        left, right = self.left.keys, self.right.keys
        return [left[lead] for lead in old.leads] == [right[lead] for lead in new.leads]

    def _moved(
        self, module: ModuleFacts, old: Slots, new: Slots, same: bool
    ) -> Iterator[ProviderChange]:
        before, after = _by_symbol(old, same), _by_symbol(new, same)
        for key, rows in before.items():
            others = after.get(key)
            if others is None:
                continue
            ones = {self.left.keys[old.leads[row]] for row in rows}
            now = {self.right.keys[new.leads[row]] for row in others}
            if ones == now and not (
                same and self._elsewhere(now, _places(old, rows), _places(new, others))
            ):
                continue
            yield ProviderChange(
                module,
                _label(new, others[0]),
                len(others),
                _unique(self.left.target(old, row) for row in rows),
                _unique(self.right.target(new, row) for row in others),
            )

    def _elsewhere(self, leads: set[Hashable], old: set[int], new: set[int]) -> bool:
        """Whether slots lead to another place of the same module, which was not built anew."""
        return leads <= self.same and NOWHERE not in old | new and old != new

    def _judged(
        self, module: ModuleFacts, old: Slots, new: Slots, same: bool
    ) -> Iterator[VerdictChange]:
        before, after = _by_kind(old, same), _by_kind(new, same)
        for key in dict.fromkeys([*before, *after]):
            rows, others = before.get(key, []), after.get(key, [])
            one, now = _worst(old, rows), _worst(new, others)
            if UNVERIFIED in (one, now):
                self.unjudged += max(len(rows), len(others)) if one and now and one != now else 0
            elif one != now and {one, now} != {OK, None}:
                slots, row = (new, others[0]) if others else (old, rows[0])
                side = self.right if others else self.left
                yield VerdictChange(
                    module,
                    _label(slots, row),
                    slots.types[row],
                    slots.offsets[row] if same else None,
                    one,
                    now,
                    side.target(slots, row),
                )


def _by_symbol(slots: Slots, same: bool) -> dict[Hashable, list[int]]:
    """The rows of each symbol. Those without one are known by their place, if by anything; left
    out are those of which it is not known where they lead."""
    found: dict[Hashable, list[int]] = {}
    columns = zip(slots.symbols, slots.versions, slots.offsets, slots.leads)
    for row, (symbol, version, offset, lead) in enumerate(columns):
        if lead == UNKNOWN:
            continue
        if symbol or same:
            key = (symbol, version) if symbol else offset
            found.setdefault(key, []).append(row)
    return found


def _by_kind(slots: Slots, same: bool) -> dict[Hashable, list[int]]:
    """The rows of each kind of slot; each by itself where the places say which is which."""
    found: dict[Hashable, list[int]] = {}
    keys: Iterable[Hashable] = (
        zip(slots.offsets, slots.types) if same else zip(slots.symbols, slots.versions, slots.types)
    )
    for row, key in enumerate(keys):
        found.setdefault(key, []).append(row)
    return found


def _worst(slots: Slots, rows: Sequence[int]) -> str | None:
    """The verdict that matters most among those of some rows."""
    found = {slots.verdicts[row] for row in rows}
    known = next((verdict for verdict in _WORST_FIRST if verdict in found), None)
    return known or (UNVERIFIED if found else None)


def _places(slots: Slots, rows: Sequence[int]) -> set[int]:
    return {slots.targets[row] for row in rows}


def _unique(targets: Iterable[Target]) -> list[Target]:
    return list(dict.fromkeys(targets))


def _label(slots: Slots, row: int) -> str:
    symbol, version = slots.symbols[row], slots.versions[row]
    if not symbol:
        return f"+{slots.offsets[row]:#x}"
    return f"{symbol}@{version}" if version else symbol
