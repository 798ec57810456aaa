"""How ld.so resolves one name seen from one module, and who is bound to which definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.elf.problem import Problem
from gdbext.elf.symbols import STB_GNU_UNIQUE, STV_PROTECTED
from gdbext.findings.verdicts import Judge, Judgement
from gdbext.linker.got import Slot, read_slots
from gdbext.linker.lookup import Candidate, Found, Lookup
from gdbext.linker.matching import DATA, PLT, Wanted
from gdbext.linker.modules import Linker, Module
from gdbext.linker.references import referring
from gdbext.linker.scopes import GLOBAL, SYMBOLIC, Scope
from gdbext.linker.slotkinds import PLT_KINDS
from gdbext.linker.tables import TableSet


class Bound(NamedTuple):
    """A slot for the name in `module`, and what ld.so's lookup says of it."""

    module: Module
    slot: Slot
    judgement: Judgement


@dataclass(frozen=True)
class Explanation:
    """`asked_by` is the kind of relocation by which the module itself asks, None if it has none.

    `winner` is None where nobody defines the name, or where `problem` says why that is not known.
    """

    module: Module
    wanted: Wanted
    asked_by: str | None
    scopes: tuple[Scope, ...]
    candidates: list[Candidate]
    winner: Found | None
    rule: str | None
    problem: str | None
    bound: list[Bound]


def explain(
    judge: Judge, linker: Linker, tables: TableSet, module: Module, name: str, version: str | None
) -> Explanation:
    """Resolve `name` (with `version`, if that is given) as ld.so would for `module`."""
    raw = name.encode("utf-8", "surrogateescape")
    lookup = judge.lookup
    lookup.definers.prepare([raw])
    bound = _bound(judge, linker, tables, raw, version)
    own = [b.slot for b in bound if b.module is module]
    number, type_class = _own_reference(own)
    wanted = Wanted(raw, version, type_class=type_class, by_dlsym=number is None)
    winner: Found | None = None
    problem: str | None = None
    scopes: tuple[Scope, ...] = ()
    candidates: list[Candidate] = []
    try:
        if number is not None and (version is None or own[0].version == version):
            wanted = lookup.wanted(module, number, type_class)
            winner = lookup.resolve(module, number, type_class)
        scopes = lookup.scopes.of(module)
        if winner is None:
            winner = lookup.search(scopes, wanted)
        candidates = list(lookup.candidates(scopes, wanted))
    except Problem as error:
        problem = str(error)
    rule = _rule(module, winner, lookup) if winner else None
    kind = own[0].type if own else None
    return Explanation(module, wanted, kind, scopes, candidates, winner, rule, problem, bound)


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
    return f"the first match in {scope_name(scope, module)}"


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
