"""Who called dlopen, as far as it can be proved: ld.so keeps no record of it.

Two things prove it: a dlopen that is still running, by its frames and its arguments on the stack;
and a RUNPATH, the rule by which the file was found, that one loaded module alone has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gdbext.elf.core import decode_path
from gdbext.elf.reader import Memory
from gdbext.findings.tracing.opens import OPENERS, find_requests
from gdbext.linker.loaded.modules import DLOPENED, LINKER, Linker, Module
from gdbext.linker.loaded.private import read_names
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.needs.links import NO_OPENER
from gdbext.linker.needs.search import Found


class Frame(NamedTuple):
    """One frame: the address to look up, the PC, GDB's name for the function."""

    lookup: int
    pc: int
    function: str | None


class Opener(NamedTuple):
    """Who opened a module; None with the reason in `text`, which is the evidence otherwise."""

    module: Module | None
    text: str


def find_openers(
    memory: Memory,
    linker: Linker,
    tables: TableSet,
    frames: Sequence[Frame],
    stack: int,
    found: Mapping[int, Found],
) -> dict[int, Opener]:
    """{link_map: opener} of every module that dlopen brought in.

    `frames` are the selected thread's, innermost first, and `stack` is its SP.
    """
    running = _running(memory, linker, tables, frames, stack)
    openers: dict[int, Opener] = {}
    for module in linker.modules:
        address = module.map.address
        if module.kind != DLOPENED:
            continue
        caller, search = running.get(address), found.get(address)
        if caller is not None:
            openers[address] = Opener(caller, "its dlopen is still running in this thread")
        elif search is not None and search.opener is not None:
            text = "the only loaded module whose RUNPATH leads to the file"
            openers[address] = Opener(search.opener, text)
        else:
            openers[address] = Opener(None, NO_OPENER)
    return openers


def _running(
    memory: Memory, linker: Linker, tables: TableSet, frames: Sequence[Frame], stack: int
) -> dict[int, Module]:
    """What a dlopen that has not returned is opening, with the module that called it."""
    opening: dict[int, Module] = {}
    inside = False
    for frame in frames:
        module = linker.owner(frame.lookup)
        if module is None:
            break
        definition = tables.name(module, frame.lookup)
        name = definition.symbol if definition else frame.function
        if name in OPENERS:
            inside = True
        elif inside and module.kind != LINKER:
            inside = False
            for request in find_requests(memory, stack, [frame.pc, module.map.address]):
                target = _opened_once(memory, linker, request.file)
                if target is not None and target is not module:
                    opening.setdefault(target.map.address, module)
                    break
    return opening


def _opened_once(memory: Memory, linker: Linker, name: str) -> Module | None:
    """The module that was asked for by `name`, if nobody had opened it before."""
    for module in linker.modules:
        private = module.private
        if module.kind == DLOPENED and private is not None and private.open_count == 1:
            names = read_names(memory, private)
            if names and name in (decode_path(names[0]), module.name):
                return module
    return None
