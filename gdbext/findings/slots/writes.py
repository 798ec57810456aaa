"""One slot on its own: what it holds, the verdict on it, and whether a write to it was ld.so's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from gdbext.elf.image import PF_X
from gdbext.findings.slots.judgements import Judgement
from gdbext.findings.slots.verdicts import OK, make_judge
from gdbext.linker.loaded.linkmaps import RT_CONSISTENT
from gdbext.linker.loaded.modules import LINKER, Linker, Module
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.process.process import Process
from gdbext.linker.slots.got import read_slots
from gdbext.linker.slots.slots import ModuleSlots, Slot


class JudgedSlot(NamedTuple):
    """A slot of `module` and the verdict on it."""

    module: Module
    slot: Slot
    judgement: Judgement


def slots_named(
    process: Process, linker: Linker, tables: TableSet, modules: Iterable[Module], symbol: str
) -> Iterator[tuple[Module, Slot]]:
    """Every slot of `modules` for `symbol`, which is NAME, NAME@VERSION or NAME@@VERSION."""
    name, _, version = symbol.partition("@")
    version = version.lstrip("@")
    for found in read_slots(process.memory, process.arch, linker, tables, modules):
        for slot in found.slots:
            if slot.symbol == name and (not version or slot.version == version):
                yield found.module, slot


def judge_slot(
    process: Process, linker: Linker, tables: TableSet, address: int
) -> JudgedSlot | None:
    """The slot at `address` with its verdict; None where no module has a slot there."""
    module = linker.owner(address)
    if module is None:
        return None
    judge = make_judge(process, linker, tables)
    memory, arch = process.memory, process.arch
    found = _at(read_slots(memory, arch, linker, tables, [module]), address)
    if found is not None and found.slots[0].relocation.symbol:
        # read again for this symbol alone: to look up those of a whole module takes far longer
        wanted = {module.map.address: {found.slots[0].relocation.symbol}}
        again = read_slots(memory, arch, linker, tables, [module], wanted, judge.lookup)
        found = _at(again, address)
    if found is None:
        return None
    return JudgedSlot(module, found.slots[0], judge.judge([found])[0][0])


def _at(found: Iterable[ModuleSlots], address: int) -> ModuleSlots | None:
    """The slot at `address` alone."""
    for module in found:
        if address in module.slots.addresses:
            return module.only([module.slots.addresses.index(address)])
    return None


def is_linkers_own(
    process: Process, linker: Linker, tables: TableSet, pc: int, address: int
) -> bool:
    """Whether ld.so has just written to the slot at `address` what its own lookup gives.

    `pc` is behind the instruction that wrote. ld.so writes to slots when it relocates a module
    (glibc, elf/dl-reloc.c, _dl_relocate_object) and when it binds a call (elf/dl-runtime.c,
    _dl_fixup). What an audit module makes it write instead is not what the lookup gives.
    """
    place = linker.find(pc - 1)
    if place is None or place[0].kind != LINKER or not place[1].flags & PF_X:
        return False
    found = judge_slot(process, as_relocated(linker), tables, address)
    return found is not None and found.judgement.verdict == OK


def as_relocated(linker: Linker) -> Linker:
    """`linker` as it will say of itself when the relocation under way is done.

    ld.so marks a module as relocated, and its lists as consistent, after it wrote the slots
    (l_relocated at the end of _dl_relocate_object; r_state, from glibc 2.41 on, later still);
    the scopes that it looks symbols up in are complete before that.
    """
    return replace(
        linker,
        namespaces=tuple(replace(n, state=RT_CONSISTENT) for n in linker.namespaces),
        modules=tuple(
            replace(m, private=m.private._replace(relocated=True)) if m.private else m
            for m in linker.modules
        ),
    )
