"""Which constructors have run and which run now; for plug-init and plug-why."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gdbext.findings.turns import Turn
    from gdbext.inferior import Inferior
    from gdbext.linker.init.initorder import InitOrder
    from gdbext.linker.loaded.modules import Linker, Module


class Turns(NamedTuple):
    """Constructors and destructors in their orders; `left_out` says which stacks were not read."""

    beginning: list[Turn]
    ending: list[Turn]
    order: InitOrder
    left_out: list[str]


def read_turns(inferior: Inferior, linker: Linker) -> Turns:
    """The turns of this process."""
    from gdbext.findings.turns import Look, take_turns
    from gdbext.inferior.stacks import read_stacks
    from gdbext.linker.init.initfini import Reader, constructors, destructors
    from gdbext.linker.init.initorder import read_init_order

    tables = inferior.tables
    order = read_init_order(inferior, linker, tables)
    reader = Reader(inferior.memory, linker, tables)
    stacks, left_out = read_stacks(inferior, linker)

    def symbol_start(module: Module, address: int) -> int | None:
        found = tables.name(module, address)
        return address - found.offset if found else None

    look = Look(linker, order, stacks, _starts(inferior), symbol_start)
    begin, end = take_turns(
        look, list(constructors(reader, order)), list(destructors(reader, order))
    )
    return Turns(begin, end, order, left_out)


def _starts(inferior: Inferior) -> Callable[[Module], tuple[int, ...]]:
    """The function starts of a module, read once."""
    from gdbext.elf.problem import Problem
    from gdbext.elf.unwind import read_function_starts

    made: dict[int, tuple[int, ...]] = {}

    def starts(module: Module) -> tuple[int, ...]:
        key = id(module)
        if key not in made:
            try:
                image = module.image
                made[key] = read_function_starts(inferior.memory, image) if image else ()
            except Problem:
                made[key] = ()  # the symbols tell, if anything does
        return made[key]

    return starts
