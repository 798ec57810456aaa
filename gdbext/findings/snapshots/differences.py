"""What differs between two snapshots of a process's linking state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.findings.snapshots.pairing import Pairs, pair_modules, same_build
from gdbext.findings.snapshots.slotdifferences import ProviderChange, VerdictChange, compare_slots
from gdbext.findings.snapshots.snapshot import ModuleFacts, Snapshot, ThreadFacts, Value
from gdbext.findings.snapshots.symboldifferences import SymbolDifferences, compare_symbols
from gdbext.linker.slots.symbolfacts import DynamicEntry

# elf.h; bits that are not named here are shown as a number
_FLAGS = {
    "FLAGS": (
        "DF_",
        {1: "ORIGIN", 2: "SYMBOLIC", 4: "TEXTREL", 8: "BIND_NOW", 0x10: "STATIC_TLS"},
    ),
    "FLAGS_1": (
        "DF_1_",
        {1: "NOW", 2: "GLOBAL", 4: "GROUP", 8: "NODELETE", 0x20: "INITFIRST", 0x40: "NOOPEN",
         0x80: "ORIGIN", 0x400: "INTERPOSE", 0x800: "NODEFLIB", 0x08000000: "PIE"},
    ),
}  # fmt: skip


class Change(NamedTuple):
    """A property that differs."""

    name: str
    before: Value
    after: Value


class ModuleChange(NamedTuple):
    """A module that is there in both, and differs."""

    before: ModuleFacts
    after: ModuleFacts
    replaced: bool
    changes: list[Change]

    @property
    def moved(self) -> bool:
        """Whether its path differs."""
        return self.before.path != self.after.path


class Reorder(NamedTuple):
    """The first place, from 0, at which the modules that are in both stand in another order."""

    namespace: int
    place: int
    before: ModuleFacts
    after: ModuleFacts


class ThreadChange(NamedTuple):
    """How many threads began in one start routine; `module` is None where it is not loaded."""

    start: str
    module: str | None
    names: list[str]
    before: int
    after: int


class TlsChange(NamedTuple):
    """A module's thread-local storage, or, with the module None, the static TLS area."""

    module: ModuleFacts | None
    change: Change


@dataclass(frozen=True)
class Differences:
    """Everything that differs. `unknown` says what could not be compared."""

    changes: list[Change]
    added: list[ModuleFacts]
    gone: list[ModuleFacts]
    changed: list[ModuleChange]
    order: list[Reorder]
    symbols: list[SymbolDifferences]
    providers: list[ProviderChange]
    verdicts: list[VerdictChange]
    threads: list[ThreadChange]
    tls: list[TlsChange]
    resolved: int
    unknown: list[str]

    @property
    def count(self) -> int:
        """How many there are; a module's symbols count as one."""
        parts: tuple[Sequence[object], ...] = (
            self.changes, self.added, self.gone, self.changed, self.order, self.symbols,
            self.providers, self.verdicts, self.threads, self.tls,
        )  # fmt: skip
        return sum(map(len, parts))


def compare(before: Snapshot, after: Snapshot) -> Differences:
    """Compare two snapshots; addresses play no part."""
    pairs = pair_modules(before.modules, after.modules)
    both = [(before.modules[a], after.modules[b]) for a, b in sorted(pairs.after.items())]
    slots = compare_slots(before.modules, after.modules, pairs)
    symbols = [compare_symbols(one, other) for one, other in both]
    unknown = [*_unread(before, "before"), *_unread(after, "after")]
    if slots.unjudged:
        unknown.append(f"{slots.unjudged} slots have a verdict in one snapshot alone")
    return Differences(
        changes=_changed("cpu", before.cpu, after.cpu),
        added=[m for index, m in enumerate(after.modules) if index not in pairs.before],
        gone=[m for index, m in enumerate(before.modules) if index not in pairs.after],
        changed=list(_module_changes(both)),
        order=list(_reorders(before.modules, after.modules, pairs)),
        symbols=[found for found in symbols if found is not None],
        providers=slots.providers,
        verdicts=slots.verdicts,
        threads=_threads(before, after, pairs),
        tls=list(_tls(before, after, both)),
        resolved=slots.resolved,
        unknown=unknown,
    )


def _module_changes(both: Sequence[tuple[ModuleFacts, ModuleFacts]]) -> Iterator[ModuleChange]:
    for one, other in both:
        replaced = same_build(one, other) is False
        found = [
            change
            for name, value in one.properties.items()
            for change in _changed(name, value, other.properties[name])
        ]
        found += _changed("soname", one.soname, other.soname, nothing_is_unknown=False)
        if one.dynamic is not None and other.dynamic is not None:
            for name, text in (("needed", _names), ("rpath", _names), ("runpath", _names),
                               ("flags", _flags)):  # fmt: skip
                found += _changed(name, text(one.dynamic, name), text(other.dynamic, name))
        if replaced or found or one.path != other.path:
            yield ModuleChange(one, other, replaced, found)


def _changed(
    name: str, before: Value, after: Value, nothing_is_unknown: bool = True
) -> list[Change]:
    """The change of a property; one that is not known in both is none."""
    if before == after or (nothing_is_unknown and (before is None or after is None)):
        return []
    return [Change(name, before, after)]


def _names(dynamic: Sequence[DynamicEntry], name: str) -> str:
    """What the dynamic section's entries with this tag name."""
    return " ".join(str(value) for tag, value in dynamic if tag == name.upper())


def _flags(dynamic: Sequence[DynamicEntry], _: str) -> str:
    """DT_FLAGS and DT_FLAGS_1 by the names of their bits."""
    found: list[str] = []
    for tag, value in dynamic:
        if tag in _FLAGS and isinstance(value, int):
            head, names = _FLAGS[tag]
            rest = value & ~sum(names)
            found += [head + name for bit, name in names.items() if value & bit]
            found += [f"{head}{rest:#x}"] if rest else []
    return " ".join(found)


def _reorders(
    before: Sequence[ModuleFacts], after: Sequence[ModuleFacts], pairs: Pairs
) -> Iterator[Reorder]:
    """The order of the link_map chain, which ld.so searches in."""
    kept = [m.namespace for i, m in enumerate(before) if i in pairs.after]
    for namespace in sorted(set(kept)):
        ones = [i for i in sorted(pairs.after) if before[i].namespace == namespace]
        others = [j for j in sorted(pairs.before) if after[j].namespace == namespace]
        for place, (i, j) in enumerate(zip(ones, others)):
            if pairs.after[i] != j:
                yield Reorder(namespace, place, before[i], after[j])
                break


def _threads(before: Snapshot, after: Snapshot, pairs: Pairs) -> list[ThreadChange]:
    if before.threads is None or after.threads is None:
        return []
    ones = [_start(thread, before.modules, pairs.after) for thread in before.threads]
    others = [
        _start(thread, after.modules, {j: j for j in pairs.before}) for thread in after.threads
    ]
    left, right = Counter(ones), Counter(others)
    names: dict[Hashable, dict[str, None]] = {}
    shown: dict[Hashable, tuple[str, str | None]] = {}
    for key, thread, modules in (
        *((k, t, before.modules) for k, t in zip(ones, before.threads)),
        *((k, t, after.modules) for k, t in zip(others, after.threads)),
    ):
        names.setdefault(key, {})
        if thread.name is not None:
            names[key][thread.name] = None
        shown[key] = (
            _start_text(thread),
            (modules[thread.module].path if thread.module >= 0 else thread.path),
        )
    return [
        ThreadChange(*shown[key], list(names[key]), left[key], right[key])
        for key in names
        if left[key] != right[key]
    ]


def _start(thread: ThreadFacts, modules: Sequence[ModuleFacts], same: dict[int, int]) -> Hashable:
    """What two threads that began alike have in common."""
    if thread.main:
        return "main"
    place: Hashable = same.get(thread.module)
    if place is None:
        place = modules[thread.module].path if thread.module >= 0 else thread.path
    return place, thread.symbol or thread.offset


def _start_text(thread: ThreadFacts) -> str:
    if thread.main:
        return "the program itself"
    if thread.symbol is not None:
        return thread.symbol
    return "an unknown start routine" if thread.offset is None else f"+{thread.offset:#x}"


def _tls(
    before: Snapshot, after: Snapshot, both: Sequence[tuple[ModuleFacts, ModuleFacts]]
) -> Iterator[TlsChange]:
    for one, other in both:
        left, right = one.tls, other.tls
        if left is not None and right is not None:
            for name in left._fields:
                for change in _changed(name, getattr(left, name), getattr(right, name)):
                    yield TlsChange(other, change)
        elif left != right and same_build(one, other) is False:
            yield TlsChange(
                other, Change("size", *(tls.size if tls else 0 for tls in (left, right)))
            )
    for name, value in before.static_tls.items():
        for change in _changed(f"static TLS {name}", value, after.static_tls[name]):
            yield TlsChange(None, change)


def _unread(snapshot: Snapshot, which: str) -> Iterator[str]:
    """What a snapshot does not have."""
    if snapshot.threads is None:
        yield f"the threads {which} are not known"
    for what, missing in (
        ("the symbol table", [m.path for m in snapshot.modules if m.symbols is None]),
        ("the slots", [m.path for m in snapshot.modules if m.slots is None]),
    ):
        if missing:
            rest = f" and of {len(missing) - 1} more" if len(missing) > 1 else ""
            yield f"{what} of {missing[0]}{rest} could not be read {which}"
