"""What a lookup gives: a definition, nothing, or why that cannot be known."""

from __future__ import annotations

from typing import NamedTuple, Union

from gdbext.elf.problem import Problem
from gdbext.elf.symbols import Symbol
from gdbext.linker.loaded.modules import Module
from gdbext.linker.lookup.scopes import Scope


class Found(NamedTuple):
    """A definition: entry `number` of `module`'s .dynsym, which is `symbol`, at `address`.

    `scope` is the list in which it was met, None where there was no search.
    """

    module: Module
    number: int
    symbol: Symbol
    address: int
    scope: Scope | None


class Candidate(NamedTuple):
    """One symbol of the wanted name that a search meets; `skipped` is '' for the winner."""

    scope: Scope
    module: Module
    number: int
    version: str | None
    skipped: str


Answer = Union[Found, Problem, None]
NOT_ASKED = Problem("no lookup was made")
