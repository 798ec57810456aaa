"""How ld.so resolves one name seen from one module, and who is bound to which definition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.elf.problem import Problem
from gdbext.elf.symbols import STB_GNU_UNIQUE, STV_PROTECTED
from gdbext.findings.slots.judgements import Judgement
from gdbext.findings.slots.verdicts import Judge
from gdbext.linker.loaded.linkmaps import STATES
from gdbext.linker.loaded.modules import Linker, Module
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.lookup.answers import Candidate, Found
from gdbext.linker.lookup.lookup import LATER, Lookup
from gdbext.linker.lookup.matching import DATA, PLT, Wanted
from gdbext.linker.lookup.references import referring
from gdbext.linker.lookup.scopes import GLOBAL, SYMBOLIC, Scope, busy
from gdbext.linker.slots.got import read_slots
from gdbext.linker.slots.slotkinds import PLT_KINDS
from gdbext.linker.slots.slots import Slot

OWN = "the module's own definition is taken instead"
FIRST_UNIQUE = "the unique symbol that was looked up first is taken instead"


class Bound(NamedTuple):
    """A slot for the name in `module`, and what ld.so's lookup says of it."""

    module: Module
    slot: Slot
    judgement: Judgement


@dataclass(frozen=True)
class Explanation:
    """`asked_by` is the kind of relocation by which the module itself asks, None if it has none.

    `winner` is None where nobody defines the name, or where `problem` says why that is not known.
    `elsewhere` are the modules that define it but are in none of the scopes.
    """

    module: Module
    wanted: Wanted
    asked_by: str | None
    scopes: tuple[Scope, ...]
    candidates: list[Candidate]
    elsewhere: list[Module]
    winner: Found | None
    rule: str | None
    problem: str | None
    bound: list[Bound]


def explain(
    judge: Judge,
    linker: Linker,
    tables: TableSet,
    module: Module,
    name: str,
    version: str | None,
    by_handle: bool = False,
) -> Explanation:
    """Resolve `name` (with `version`, if that is given) as ld.so would for `module`.

    `by_handle`: as dlsym does with the module's handle, in its own scope alone (elf/dl-sym.c).
    """
    raw = name.encode("utf-8", "surrogateescape")
    lookup = judge.lookup
    lookup.definers.prepare([raw])
    bound = _bound(judge, linker, tables, raw, version)
    own = [b.slot for b in bound if b.module is module and not by_handle]
    number, type_class = _own_reference(own)
    wanted = Wanted(raw, version, type_class=type_class, by_dlsym=number is None)
    winner: Found | None = None
    problem = busy(linker, module.namespace, STATES)
    scopes: tuple[Scope, ...] = ()
    candidates: list[Candidate] = []
    try:
        if problem is None and number is not None and version in (None, own[0].version):
            wanted = lookup.wanted(module, number, type_class)
            winner = lookup.resolve(module, number, type_class)
        if problem is None:
            scopes = (lookup.scopes.local(module),) if by_handle else lookup.scopes.of(module)
        if winner is None and scopes:
            winner = lookup.search(scopes, wanted)
        candidates = list(_settled(lookup.candidates(scopes, wanted), winner))
    except Problem as error:
        problem = str(error)
    rule = _rule(module, winner, lookup) if winner else None
    kind = own[0].type if own else None
    others = _elsewhere(lookup, scopes, raw) if scopes else []
    return Explanation(
        module, wanted, kind, scopes, candidates, others, winner, rule, problem, bound
    )


def _settled(candidates: Iterable[Candidate], winner: Found | None) -> Iterator[Candidate]:
    """The candidates where another rule than their order decides in the end."""
    chosen = (winner.module, winner.number) if winner else None
    unsearched = winner is not None and winner.scope is None
    instead = OWN if unsearched else FIRST_UNIQUE
    done = False
    for one in candidates:
        wins = (one.module, one.number) == chosen and not done
        if wins and (unsearched or one.skipped in (LATER, "")):
            done = True
            yield one._replace(skipped="")
        else:
            yield one if one.skipped else one._replace(skipped=instead)


def _elsewhere(lookup: Lookup, scopes: Sequence[Scope], name: bytes) -> list[Module]:
    """The modules that define the name and are in none of the scopes."""
    found = []
    for address, numbers in lookup.definers.of(name).items():
        module = lookup.linker.by_map[address]
        symbols = lookup.tables_of(module).symbols
        if any(symbols.entry(number).shndx for number in numbers) and not any(
            address in scope.positions for scope in scopes
        ):
            found.append(module)
    return found


def _bound(
    judge: Judge, linker: Linker, tables: TableSet, name: bytes, version: str | None
) -> list[Bound]:
    """Every slot of every module for the name, with its judgement."""
    numbers = referring(linker, tables, name)
    modules = [m for m in linker.modules if m.map.address in numbers]
    found = read_slots(judge.memory, judge.arch, linker, tables, modules, numbers, judge.lookup)
    rows = []
    for one, judgements in zip(found, judge.judge(found)):
        for slot, judgement in zip(one.slots, judgements):
            if version is None or slot.version == version:
                rows.append(Bound(one.module, slot, judgement))
    return rows


def _own_reference(slots: Sequence[Slot]) -> tuple[int | None, int]:
    """The entry of .dynsym by which a module itself refers to the name: a call before data."""
    for slot in sorted(slots, key=lambda s: s.kind not in PLT_KINDS):
        return slot.relocation.symbol, PLT if slot.kind in PLT_KINDS else DATA
    return None, DATA


def _rule(module: Module, winner: Found, lookup: Lookup) -> str:
    """Why that definition and no other."""
    scope = winner.scope
    if scope is None:
        if winner.symbol.visibility == STV_PROTECTED:
            return "its own definition is protected"
        return "its own definition is not for others to replace"
    if winner.symbol.binding == STB_GNU_UNIQUE and not lookup.rules.musl:
        return "a GNU_UNIQUE symbol is one for the whole namespace: the first that was looked up"
    first = f"the first match in {scope_name(scope, module)}"
    return first if winner.symbol.shndx else f"{first}; its PLT entry is the function's address"


def scope_name(scope: Scope, module: Module) -> str:
    """What a scope is, in words."""
    owner = scope.owner
    if scope.kind == GLOBAL:
        return "the global scope"
    if owner is None:
        return "another list"
    whose = "the module's own" if owner is module else f"{owner.file_name}'s"
    if scope.kind == SYMBOLIC:
        return f"{whose} definitions (DT_SYMBOLIC)"
    return f"{whose} scope: itself and its dependencies"
