"""The verdict on each GOT slot: is what it holds what ld.so's own lookup gives?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from gdbext.elf.arch import ABSOLUTE, IRELATIVE, Arch
from gdbext.elf.image import PT_GNU_RELRO
from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory
from gdbext.elf.symbols import STB_WEAK, STT_GNU_IFUNC
from gdbext.findings.slots.judgements import Judgement, Judgements
from gdbext.findings.slots.tlsverdicts import judge_tls
from gdbext.linker.loaded.linkmaps import STATES
from gdbext.linker.loaded.modules import DLOPENED, VDSO, Linker, Module
from gdbext.linker.loaded.private import LT_LOADED
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.lookup.answers import Found
from gdbext.linker.lookup.ifuncs import Results, result_finder
from gdbext.linker.lookup.lookup import AGAIN, LATER, Lookup, make_lookup
from gdbext.linker.lookup.matching import DATA, PLT
from gdbext.linker.lookup.scopes import busy, real
from gdbext.linker.needs.reldeps import read_relocation_needs
from gdbext.linker.process.process import Process
from gdbext.linker.slots.got import BOUND, LAZY, NULL, OWN_VALUE, PLAIN
from gdbext.linker.slots.got import DANGLING as IN_NO_MODULE
from gdbext.linker.slots.slotkinds import PLT_KINDS
from gdbext.linker.slots.slots import ModuleSlots, Slot
from gdbext.linker.tls.tlsslots import TLS_KINDS

OK, REDIRECTED, STALE, DANGLING, UNVERIFIED = (
    "ok", "redirected", "stale", "dangling", "unverified",
)  # fmt: skip
VERDICTS = (OK, REDIRECTED, STALE, DANGLING, UNVERIFIED)
WEAK = "nobody defines it, and the reference is weak"
UNDEFINED = "nobody defines it: the first call ends in a symbol lookup error"
_UNREAD = "it is zero, and the code of the IFUNC's resolver, which may return that, is not known"
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Judge:
    """Judges the slots of one stopped process, which were read with `lookup`."""

    memory: Memory
    arch: Arch
    lookup: Lookup

    def judge(self, modules: Sequence[ModuleSlots]) -> list[Judgements]:
        """The judgements of each of `modules`, in their order."""
        return [self._module(module) for module in modules]

    def _module(self, found: ModuleSlots) -> Judgements:
        module, slots, count = found.module, found.slots, len(found.slots)
        reason = busy(self.lookup.linker, module.namespace, STATES)
        if module.private is not None and module.private.removed:
            reason = "this module is being unloaded"
        if reason is not None:
            return Judgements([UNVERIFIED] * count, [None] * count, [reason] * count)
        # what holds just what the lookup gives needs no second look
        judged = Judgements([OK] * count, list(slots.providers), [None] * count)
        for i, exact in enumerate(slots.exact):
            if not exact:
                one = self._slot(module, slots[i])
                judged.verdicts[i], judged.expected[i], judged.reasons[i] = one
        return judged

    def _slot(self, module: Module, slot: Slot) -> Judgement:
        answer = slot.answer
        if (
            slot.state == BOUND
            and slot.kind in PLAIN
            and isinstance(answer, Found)
            and slot.value == answer.address
            and answer.symbol.info & 15 != STT_GNU_IFUNC  # its address is the resolver's
        ):
            return Judgement(OK, answer.module, None)
        if slot.state is None:
            return Judgement(UNVERIFIED, None, slot.reason)
        if not slot.relocation.symbol:
            answer = None
        if isinstance(answer, Problem):
            verdict = OK if slot.state == LAZY else UNVERIFIED
            return Judgement(verdict, None, str(answer))
        expected = answer.module if answer else None
        if slot.state == LAZY:
            weak = answer is None and self._is_weak(module, slot)
            return Judgement(OK, expected, None if answer else WEAK if weak else UNDEFINED)
        if slot.kind in TLS_KINDS:
            wrong = judge_tls(self.memory, self.arch, self.lookup, module, slot, answer)
            if wrong is None:
                return Judgement(OK, expected or (None if slot.relocation.symbol else module), None)
            return Judgement(REDIRECTED if wrong.certain else UNVERIFIED, expected, wrong.reason)
        if slot.kind == IRELATIVE:
            resolver = (module.bias + slot.relocation.addend) & _MASK
            return self._ifunc(slot, module, resolver, 0)
        if answer is None:
            return self._undefined(module, slot)
        return self._defined(module, slot, answer)

    def _is_weak(self, module: Module, slot: Slot) -> bool:
        symbols = self.lookup.tables_of(module).symbols
        return symbols.binding_and_visibility(slot.relocation.symbol)[0] == STB_WEAK

    def _undefined(self, module: Module, slot: Slot) -> Judgement:
        """A slot without a symbol, or with one that nobody defines."""
        addend = slot.relocation.addend
        if not slot.relocation.symbol:
            if slot.value in (addend & _MASK, (module.bias + addend) & _MASK):
                return Judgement(OK, module, None)
            return self._mismatch(module, slot, None, "this relocation leads into its own module")
        if slot.value == addend & _MASK:
            return Judgement(OK, None, WEAK)
        if slot.state == IN_NO_MODULE and slot.reason:
            return Judgement(DANGLING, None, f"{UNDEFINED}; {slot.reason}")
        return self._mismatch(module, slot, None, "ld.so's lookup finds no definition")

    def _defined(self, module: Module, slot: Slot, found: Found) -> Judgement:
        value = (slot.value or 0) - slot.relocation.addend & _MASK
        symbol = found.symbol
        if symbol.info & 15 == STT_GNU_IFUNC and symbol.shndx:
            if slot.value:
                return self._ifunc(slot, found.module, found.address, symbol.size)
        elif value == found.address:
            return Judgement(OK, found.module, None)
        where = "another place in " if slot.provider is found.module else ""
        lookup = f"ld.so's lookup leads to {where}{found.module.path}"
        before = self._was_right(module, slot, found, value)
        if before is not None:
            return Judgement(STALE, found.module, f"{lookup}; {before}")
        return self._mismatch(module, slot, found.module, lookup)

    def _mismatch(self, module: Module, slot: Slot, expected: Module | None, why: str) -> Judgement:
        if slot.kind == ABSOLUTE and not _in_relro(module, slot):
            return Judgement(UNVERIFIED, expected, f"{OWN_VALUE}; {why}")
        if slot.state == IN_NO_MODULE:
            return Judgement(DANGLING, expected, f"{slot.reason}; {why}")
        if slot.state == NULL:
            why = f"it is zero; {why}"
        return Judgement(REDIRECTED, expected, why)

    def _was_right(self, module: Module, slot: Slot, found: Found, value: int) -> str | None:
        """How the slot can lead to what the lookup gave before; None if it cannot.

        Only dlopen puts a module in front of others that a scope has already: by RTLD_GLOBAL,
        at the first opening or at a later one (glibc, elf/dl-open.c, add_to_global_update).
        A scope that is gone since (elf/dl-close.c) leaves a relocation dependency behind.
        """
        if value == 0:
            late = _was_dlopened(found.module) and self._is_weak(module, slot)
            return "nobody defined it when this was bound" if late else None
        provider = slot.provider
        if provider is not None and self._is_definition(module, slot, provider, value):
            needs = self._relocation_needs.get(module.map.address, ())
            if provider.map.address in needs:
                return "ld.so itself noted that it bound this module there (l_reldeps)"
        if not _was_dlopened(found.module):
            return None
        type_class = PLT if slot.kind in PLT_KINDS else DATA
        wanted = self.lookup.wanted(module, slot.relocation.symbol, type_class)
        for one in self.lookup.candidates(self.lookup.scopes.of(module), wanted):
            if one.skipped in ("", LATER, AGAIN):
                if self.lookup.found(one.module, one.number).address == value:
                    return "that came in front by a dlopen or dlclose after this was bound"
                if not _was_dlopened(one.module):
                    return None
        return None

    def _is_definition(self, module: Module, slot: Slot, provider: Module, value: int) -> bool:
        """Whether `value` is where `provider` defines the slot's symbol."""
        name = self.lookup.tables_of(module).symbols.raw_name(slot.relocation.symbol)
        numbers = self.lookup.definers.of(name).get(provider.map.address, ())
        return any(self.lookup.found(provider, number).address == value for number in numbers)

    @cached_property
    def _relocation_needs(self) -> Mapping[int, Sequence[int]]:
        return read_relocation_needs(self.memory, self.lookup.linker) or {}

    @cached_property
    def _results(self) -> Callable[[int, int], Results]:
        return result_finder(self.memory, self.arch, self.lookup.linker, self.lookup.tables)

    def _ifunc(self, slot: Slot, definer: Module, resolver: int, size: int) -> Judgement:
        """A slot that holds what an IFUNC's resolver returned."""
        value = (slot.value or 0) - (slot.relocation.addend if slot.kind == ABSOLUTE else 0)
        results = self._results(resolver, size)
        if value in results.all:
            return Judgement(OK, definer, None)
        if not slot.value and not results.read:
            return Judgement(UNVERIFIED, definer, _UNREAD)
        provider = slot.provider
        if provider is None:
            verdict = DANGLING if slot.state == IN_NO_MODULE else REDIRECTED
            what = slot.reason or "it is zero"
            return Judgement(verdict, definer, f"{what}; an IFUNC of {definer.path} set it")
        tables = self.lookup.tables_of(provider)
        number = tables.symbols.exports.get(value - tables.image.bias)
        name = tables.symbols.name(number) if number is not None else ""
        if provider.kind == VDSO and name and _same_function(name, slot.symbol):
            return Judgement(OK, definer, None)
        own = provider is real(self.lookup.linker, definer) and not name
        if own and self._may_be(provider, resolver, size, value):
            return Judgement(
                UNVERIFIED, definer, "the IFUNC's resolver does not show that it can return this"
            )
        return Judgement(
            REDIRECTED, definer, f"the IFUNC's resolver in {definer.path} cannot have returned this"
        )

    def _may_be(self, module: Module, resolver: int, size: int, value: int) -> bool:
        """Whether `value`, in `module`, may be a result that the resolver's code does not show."""
        function = self.lookup.tables_of(module).functions.find(value)
        if function is not None and function.end is not None and function.start != value:
            return False  # in the middle of a function
        return not self._is_anothers(module, resolver, size, value)

    def _is_anothers(self, module: Module, resolver: int, size: int, value: int) -> bool:
        """Whether `value` is what another IFUNC of `module` chooses among, and not this one.

        Where two of them name one function in common (memcpy and memmove do), or where nothing
        is found, the code may be one that cannot be read this way.
        """
        own = self._choices(module, resolver, size)
        if not own:
            return False
        for address, length in self._resolvers(module):
            choices = self._choices(module, address, length)
            if value in choices and not own & choices:
                return True
        return False

    def _choices(self, module: Module, resolver: int, size: int) -> frozenset[int]:
        """The functions of `module` that a resolver names."""
        functions = self.lookup.tables_of(module).functions
        found = ((a, functions.find(a)) for a in self._results(resolver, size).named)
        return frozenset(a for a, function in found if function and function.start == a)

    def _resolvers(self, module: Module) -> Iterator[tuple[int, int]]:
        """(address, size) of each IFUNC that a module exports."""
        symbols = self.lookup.tables_of(module).symbols
        for number in range(symbols.count):
            symbol = symbols.entry(number)
            if symbol.info & 15 == STT_GNU_IFUNC and symbol.shndx:
                yield symbol.address(module.bias), symbol.size


def _same_function(vdso_name: str, symbol: str | None) -> bool:
    """Whether the vDSO's function is the one wanted; an IRELATIVE slot does not name it."""
    prefixes = ("", "__vdso_", "__kernel_")
    return symbol is None or vdso_name in [prefix + symbol for prefix in prefixes]


def _was_dlopened(module: Module) -> bool:
    private = module.private
    return private.type == LT_LOADED if private is not None else module.kind == DLOPENED


def _in_relro(module: Module, slot: Slot) -> bool:
    segment = module.image.segment(PT_GNU_RELRO) if module.image else None
    return (
        segment is not None
        and segment.vaddr <= slot.relocation.offset < segment.vaddr + segment.memsz
    )


def make_judge(process: Process, linker: Linker, tables: TableSet) -> Judge:
    """A judge of a process's slots as they are now."""
    return Judge(process.memory, process.arch, make_lookup(process, linker, tables))
