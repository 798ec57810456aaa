"""Who needs whom: DT_NEEDED, the dependencies that relocation made, and what dlopen opened."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from gdbext.elf.reader import Memory
from gdbext.linker.loaded.loading import nodelete
from gdbext.linker.loaded.modules import DLOPENED, LINKER, PRELOADED, VDSO, Linker, Module
from gdbext.linker.loaded.needed import Need
from gdbext.linker.loaded.private import LT_LOADED
from gdbext.linker.needs.graph import components, cycle_through, reachable, ways_to
from gdbext.linker.needs.reldeps import read_relocation_needs

BY_NEEDED, BY_RELOCATION = "needed", "relocation"


class Root(NamedTuple):
    """A module that is there for its own sake.

    `why`: program, preloaded, dlopened; or what keeps one that nothing above leads to:
    nodelete, relocation, unknown.
    """

    module: Module
    why: str


class Cycle(NamedTuple):
    """Modules of which each leads to each other; `way` is one round, the first module twice.

    `kind` is `needed` where DT_NEEDED alone makes it, else `relocation`; `edges` has the kind of
    each step of `way`.
    """

    kind: str
    modules: tuple[Module, ...]
    way: tuple[Module, ...]
    edges: tuple[str, ...]


class Way(NamedTuple):
    """How a root leads to a module: each step is (kind of the edge, module)."""

    root: Root
    steps: tuple[tuple[str, Module], ...]


@dataclass(frozen=True)
class Dependencies:
    """The dependencies of a process. `needs` is by link_map; None where the names are unreadable.

    `relocations` is None where the dynamic linker keeps no such lists, and lacks a module whose
    list cannot be read.
    """

    linker: Linker
    needs: dict[int, tuple[Need, ...] | None]
    relocations: dict[int, tuple[Module, ...]] | None

    def bound(self, module: Module) -> tuple[Module, ...]:
        """The modules that relocation bound `module` to, as far as it is known."""
        return (self.relocations or {}).get(module.map.address, ())

    @cached_property
    def by_needed(self) -> dict[int, list[int]]:
        """The graph of DT_NEEDED alone."""
        return {
            address: [need.target.map.address for need in needs or () if need.target]
            for address, needs in self.needs.items()
        }

    @cached_property
    def edges(self) -> dict[int, list[int]]:
        """The graph of DT_NEEDED and relocation."""
        return {
            m.map.address: self.by_needed[m.map.address] + [b.map.address for b in self.bound(m)]
            for m in self.linker.modules
        }

    def edge_kind(self, source: int, target: int) -> str:
        """Of an edge that exists: `needed`, or else `relocation`."""
        return BY_NEEDED if target in self.by_needed[source] else BY_RELOCATION

    @cached_property
    def roots(self) -> tuple[Root, ...]:
        """In the order of the chains; what nothing else leads to comes last in its namespace."""
        found = [r for m in self.linker.modules if (r := self._root(m)) is not None]
        seen = reachable(self.by_needed, [r.module.map.address for r in found])
        for module in self.linker.modules:
            address = module.map.address
            if address not in seen and module.kind not in (VDSO, LINKER):
                found.append(Root(module, self._keeper(module)))
                seen |= reachable(self.by_needed, [address])
        return tuple(sorted(found, key=lambda root: root.module.namespace))

    def _root(self, module: Module) -> Root | None:
        if self.linker.modules[0] is module:
            return Root(module, "program")
        if module.kind == PRELOADED:
            return Root(module, "preloaded")
        private = module.private
        if private is None:
            return Root(module, "dlopened") if module.kind == DLOPENED else None
        # one that dlopen was not asked for has no loader either, once that was unloaded
        # (elf/dl-close.c, _dl_close_worker): it is a root if nothing else needs it
        opened = private.type == LT_LOADED and private.open_count > 0
        return Root(module, "dlopened") if opened else None

    def _keeper(self, module: Module) -> str:
        """Why a module is there that nobody has open any more."""
        if nodelete(module):
            return "nodelete"
        return BY_RELOCATION if module.map.address in self._bound_to else "unknown"

    @cached_property
    def _bound_to(self) -> set[int]:
        lists = (self.relocations or {}).values()
        return {module.map.address for bound in lists for module in bound}

    @cached_property
    def cycles(self) -> tuple[Cycle, ...]:
        """Every cycle of DT_NEEDED and relocation, as the set of all modules that take part."""
        by_needed = {frozenset(members) for members in components(self.by_needed)}
        return tuple(
            self._cycle(members, frozenset(members) in by_needed)
            for members in components(self.edges)
        )

    def _cycle(self, members: list[int], needed: bool) -> Cycle:
        graph = self.by_needed if needed else self.edges
        way = cycle_through(graph, members[0], members)
        by_map = self.linker.by_map
        return Cycle(
            BY_NEEDED if needed else BY_RELOCATION,
            tuple(by_map[address] for address in members),
            tuple(by_map[address] for address in way),
            tuple(self.edge_kind(a, b) for a, b in zip(way, way[1:])),
        )

    def ways_to(self, module: Module) -> list[Way]:
        """A shortest way to `module` from each root that leads to it, its own first."""
        following = ways_to(self.edges, module.map.address)
        found = []
        for root in self.roots:
            at, steps = root.module.map.address, []
            while at in following and at != module.map.address:
                target = following[at]
                steps.append((self.edge_kind(at, target), self.linker.by_map[target]))
                at = target
            if at == module.map.address:
                found.append(Way(root, tuple(steps)))
        return sorted(found, key=lambda way: len(way.steps) > 0)


def read_dependencies(memory: Memory, linker: Linker) -> Dependencies:
    """The dependencies between the modules of a process."""
    found = read_relocation_needs(memory, linker)
    relocations = None
    if found is not None:
        by_map = linker.by_map
        relocations = {at: tuple(by_map[each] for each in list_) for at, list_ in found.items()}
    return Dependencies(linker, linker.needs, relocations)
