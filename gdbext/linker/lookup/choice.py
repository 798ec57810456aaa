"""Which of a module's symbols of one name answers a lookup (glibc, do_lookup_x)."""

from __future__ import annotations

from collections.abc import Sequence

from gdbext.elf.problem import Problem
from gdbext.elf.symbols import Symbol
from gdbext.linker.loaded.tables import Tables
from gdbext.linker.lookup.matching import BASE, MATCH, SOLE, Wanted, glibc_local
from gdbext.linker.lookup.rules import Rules

BEHIND = "another one of its module comes first"
_ALONE = frozenset({MATCH, SOLE, BASE})  # enough for the only symbol of the name


def choose(
    tables: Tables, rules: Rules, indices: Sequence[int], wanted: Wanted
) -> tuple[int, Symbol] | None:
    """The symbol among `indices` that a module answers with, None for none.

    Raises Problem where it depends on what is not known.
    """
    symbols, versions = tables.symbols, tables.versions
    if len(indices) > 1:
        chosen = explain_choice(tables, rules, indices, wanted)[0]
        return None if chosen is None else (chosen, symbols.entry(chosen))
    index = indices[0]
    symbol, numbers = symbols.entry(index), versions.indices
    if index < len(numbers):
        versym = numbers[index]
        reason = rules.match(symbol, versym, versions.names.get(versym & 0x7FFF), wanted)
    else:
        reason = rules.match(symbol, None, None, wanted)
    if reason not in _ALONE or (not rules.musl and glibc_local(symbol)):
        return None
    return index, symbol


def explain_choice(
    tables: Tables, rules: Rules, indices: Sequence[int], wanted: Wanted
) -> tuple[int | None, list[tuple[int, str]]]:
    """(what choose() gives, [(index, why it is not that one)])."""
    versions = tables.versions
    reasons: list[tuple[int, str]] = []
    sole: list[int] = []
    base: int | None = None
    chosen: int | None = None
    for index in indices:
        symbol = tables.symbols.entry(index)
        versym = versions.indices[index] if index < len(versions.indices) else None
        reason = rules.match(symbol, versym, versions.of(index), wanted)
        if reason == SOLE:
            sole.append(index)
        elif reason == BASE:
            if rules.base_at_once and chosen is None:
                chosen = index
            base = index if base is None else base
        elif reason == MATCH and chosen is not None:
            reason = BEHIND
        elif reason == MATCH:
            if base is not None and rules.base_at_once is None:
                raise Problem(
                    "whether a definition without a version comes first depends on the version "
                    "of glibc, which is not known"
                )
            chosen = index
        reasons.append((index, reason))
    if chosen is None:
        chosen = base if base is not None else sole[0] if len(sole) == 1 else None
    if chosen is not None and not rules.musl:
        local = glibc_local(tables.symbols.entry(chosen))
        if local != MATCH:
            reasons = [(i, local if i == chosen else reason) for i, reason in reasons]
            chosen = None
    return chosen, reasons
