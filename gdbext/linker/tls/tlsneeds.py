"""Which modules ask for static TLS: DF_STATIC_TLS, TPOFF relocations, and TLSDESC ones."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from gdbext.elf.arch import TLSDESC, TPOFF, Arch
from gdbext.elf.image import DT_FLAGS
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory, read_words
from gdbext.elf.relocations import Relocation, read_relocations
from gdbext.linker.loaded.modules import Module
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.tls.tlsmodules import TlsModule

DF_STATIC_TLS = 16  # gABI, dynamic section flags
_LARGEST_OFFSET = 1 << 32  # larger than any static TLS area, smaller than any pointer to a heap


class Need(NamedTuple):
    """A variable that is reached by its offset from the thread pointer, so that the block of
    `owner` must be static. `kind` is TPOFF (it must) or TLSDESC (it was, to be fast); `symbol`
    is None for a variable of the module's own; `times` is how many relocations say so."""

    kind: str
    symbol: str | None
    owner: Module | None
    times: int


@dataclass(frozen=True)
class Asks:
    """What one module asks for. `flag`: DF_STATIC_TLS. `descriptors` counts the TLSDESC
    relocations that were not resolved to static TLS. `problem`: why relocations are unknown."""

    module: Module
    flag: bool
    needs: tuple[Need, ...]
    descriptors: int
    problem: str | None

    @cached_property
    def required(self) -> int:
        """How many TPOFF relocations it has."""
        return sum(need.times for need in self.needs if need.kind == TPOFF)


class Blocks:
    """Which module's static block holds an offset from the thread pointer."""

    def __init__(self, modules: Iterable[TlsModule]) -> None:
        rows = [(m.offset, m.offset + m.size, m) for m in modules if m.offset is not None]
        self._rows = sorted(rows, key=lambda row: row[0])
        self._starts = [row[0] for row in self._rows]

    def owner(self, offset: int) -> Module | None:
        """The module, None when no block is there."""
        place = bisect_right(self._starts, offset) - 1
        if place < 0 or offset >= self._rows[place][1]:
            return None
        return self._rows[place][2].module


def read_asks(memory: Memory, arch: Arch, tables: TableSet, module: Module, blocks: Blocks) -> Asks:
    """What `module` asks for, by its dynamic section, relocations and slots."""
    image = module.image
    if image is None:
        return Asks(module, False, (), 0, module.problem)
    flag = bool((image.value(DT_FLAGS) or 0) & DF_STATIC_TLS)
    kinds = {number: kind for number, (kind, _) in arch.relocations.items()}
    try:
        rows = [
            (kind, relocation)
            for relocation in read_relocations(memory, image)
            if (kind := kinds.get(relocation.type)) in (TPOFF, TLSDESC)
        ]
        counts = Counter(_resolve(memory, module, blocks, kind, row) for kind, row in rows)
        names = _names(tables, module, [row for _, row in rows])
    except Problem as problem:
        return Asks(module, flag, (), 0, str(problem))
    needs: Counter[tuple[str, str | None, int]] = Counter()
    owners: dict[int, Module | None] = {0: None}
    descriptors = 0
    for (kind, number, owner, found), count in counts.items():
        if kind == TLSDESC and not found:
            descriptors += count
            continue
        key = owner.map.address if owner else 0
        owners[key] = owner
        needs[kind, names.get(number), key] += count
    listed = tuple(Need(kind, name, owners[key], n) for (kind, name, key), n in needs.items())
    return Asks(module, flag, listed, descriptors, None)


def _names(tables: TableSet, module: Module, rows: Sequence[Relocation]) -> dict[int, str | None]:
    numbers = {row.symbol for row in rows if row.symbol}
    own = tables.of(module) if numbers else None
    return {n: name or None for n, name in own.symbols.names(numbers).items()} if own else {}


def _resolve(
    memory: Memory, module: Module, blocks: Blocks, kind: str, relocation: Relocation
) -> tuple[str, int, Module | None, bool]:
    """(kind, symbol number, owner of the variable, whether it is reached by an offset).

    TPOFF's slot holds the offset; TLSDESC's second word does if its resolver is the static one,
    and otherwise a pointer (glibc, sysdeps/x86_64/dl-tlsdesc.S, sysdeps/aarch64/dl-tlsdesc.S).
    """
    at = module.bias + relocation.offset
    try:
        value = read_words(memory, at + (8 if kind == TLSDESC else 0), 1)[0]
    except Unreadable:
        return kind, relocation.symbol, None, kind == TPOFF
    offset = value - (1 << 64) if value >> 63 else value
    if kind == TLSDESC and abs(offset) >= _LARGEST_OFFSET:
        return kind, relocation.symbol, None, False
    owner = blocks.owner(offset)
    return kind, relocation.symbol, owner, kind == TPOFF or owner is not None
