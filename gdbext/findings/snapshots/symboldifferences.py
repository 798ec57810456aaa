"""How the symbol tables of one module in two snapshots differ."""

from __future__ import annotations

from typing import NamedTuple

from gdbext.findings.snapshots.snapshot import ModuleFacts
from gdbext.linker.slots.symbolfacts import UNDEFINED, Symbols


class SymbolChange(NamedTuple):
    """A symbol that is defined in both: `what` is kind, size or version."""

    symbol: str
    what: str
    before: str | int
    after: str | int


class SymbolDifferences(NamedTuple):
    """The dynamic symbols of one module, `NAME@@VERSION`: definitions, then references."""

    module: ModuleFacts
    added: list[str]
    removed: list[str]
    changed: list[SymbolChange]
    imports_added: list[str]
    imports_removed: list[str]


class _Entry(NamedTuple):
    version: str
    kind: str
    size: int


_Table = dict[str, list[_Entry]]


def compare_symbols(before: ModuleFacts, after: ModuleFacts) -> SymbolDifferences | None:
    """The differences; None where there are none, or a table could not be read."""
    one, other = before.symbols, after.symbols
    if one is None or other is None or one[:4] == other[:4]:
        return None  # the offsets, the last column, are no difference
    found = SymbolDifferences(after, [], [], [], [], [])
    (defined, wanted), (defined_now, wanted_now) = _tables(one), _tables(other)
    _compare(defined, defined_now, found.added, found.removed, found.changed)
    _compare(wanted, wanted_now, found.imports_added, found.imports_removed, [])
    return found if any(found[1:]) else None


def _tables(symbols: Symbols) -> tuple[_Table, _Table]:
    """(definitions, references) by name."""
    defined: _Table = {}
    wanted: _Table = {}
    for name, version, kind, size in zip(*symbols[:4]):
        if version == f"@@{name}":
            continue  # a version's own name, which the linker defines beside it
        table = wanted if kind.endswith(UNDEFINED) else defined
        table.setdefault(name, []).append(_Entry(version, kind, size))
    return defined, wanted


def _compare(
    before: _Table,
    after: _Table,
    added: list[str],
    removed: list[str],
    changed: list[SymbolChange],
) -> None:
    for name, entries in before.items():
        others = after.get(name, [])
        if entries == others:
            continue
        if len(entries) == len(others) == 1:
            changed += _changes(name, entries[0], others[0])
            continue
        left, right = ({e.version: e for e in table} for table in (entries, others))
        removed += [name + version for version in left if version not in right]
        added += [name + version for version in right if version not in left]
        for version in left.keys() & right.keys():
            changed += _changes(name, left[version], right[version])
    added += [name + e.version for name, rows in after.items() if name not in before for e in rows]


def _changes(name: str, one: _Entry, other: _Entry) -> list[SymbolChange]:
    label = name + other.version
    rows: list[tuple[str, str | int, str | int]] = [
        ("version", one.version.lstrip("@") or "none", other.version.lstrip("@") or "none"),
        ("kind", one.kind, other.kind),
        ("size", one.size, other.size),
    ]
    if one.version != other.version and rows[0][1] == rows[0][2]:  # V@ became V@@
        rows[0] = ("version", one.version, other.version)
    return [SymbolChange(label, *row) for row in rows if row[1] != row[2]]
