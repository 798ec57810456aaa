"""The scopes of each module: where the dynamic linker looks its symbols up, in order.

Sources: glibc, include/link.h (struct r_scope_elem), elf/dl-object.c (_dl_new_object),
elf/dl-open.c (add_to_global_update, update_scopes), elf/rtld.c; musl, ldso/dynlink.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory
from gdbext.linker.loaded.modules import LINKER, Linker, Module
from gdbext.linker.loaded.musl import Dsos, read_dsos
from gdbext.linker.loaded.private import read_scope, read_scopes

GLOBAL, LOCAL, SYMBOLIC, OTHER = "global", "local", "symbolic", "other"
_BEHIND_SEARCHLIST = 16  # l_symbolic_searchlist follows l_searchlist (include/link.h)
NO_LAYOUT = "this dynamic linker's scopes could not be located"


@dataclass(frozen=True, eq=False)
class Scope:
    """One list that a lookup goes through.

    `kind`: global (the namespace's main list), local (`owner` and its dependencies), symbolic
    (`owner` alone, for DT_SYMBOLIC), or other. ld.so's entries in other namespaces stand for
    the real one, as in do_lookup_x, which follows l_real.
    """

    kind: str
    owner: Module | None
    modules: tuple[Module, ...]

    @cached_property
    def positions(self) -> dict[int, int]:
        """Place in the list by link_map address; the first one where a module is listed twice."""
        return {m.map.address: i for i, m in reversed(list(enumerate(self.modules)))}


@dataclass(frozen=True)
class Scopes:
    """The scopes of a process, each list read once."""

    memory: Memory
    linker: Linker
    _lists: dict[int, Scope] = field(default_factory=dict)
    _of: dict[int, tuple[Scope, ...]] = field(default_factory=dict)

    def of(self, module: Module) -> tuple[Scope, ...]:
        """The lists that a symbol which `module` refers to is looked up in, in order.

        Raises Problem where they cannot be known.
        """
        known = self._of.get(module.map.address)
        if known is None:
            known = self._of[module.map.address] = self._read(real(self.linker, module))
        return known

    def _read(self, module: Module) -> tuple[Scope, ...]:
        if self.linker.layout is None:
            return self._of_musl(module)
        private = module.private
        if private is not None and not private.scopes and module.kind == LINKER:
            # ld.so is relocated in the program's scope (elf/rtld.c, dl_main)
            module = self.linker.first(module.namespace)
            private = module.private
        found = read_scopes(self.memory, private) if private else None
        if not found:
            raise Problem(f"the scopes of {module.path} cannot be read")
        return tuple(self._list(address) for address in found)

    def local(self, module: Module) -> Scope:
        """`module` and its dependencies, breadth first: what dlsym with its handle searches."""
        private = real(self.linker, module).private
        if private is None:
            raise Problem(NO_LAYOUT)
        return self._list(private.local_scope)

    @cached_property
    def _known(self) -> dict[int, tuple[str, Module]]:
        """Each r_scope_elem inside a link_map: (kind, whose)."""
        known: dict[int, tuple[str, Module]] = {}
        for module in self.linker.modules:
            private = module.private
            if private is not None:
                first = self.linker.first(module.namespace) is module
                known[private.local_scope] = (GLOBAL if first else LOCAL, module)
                known[private.local_scope + _BEHIND_SEARCHLIST] = (SYMBOLIC, module)
        return known

    def _list(self, address: int) -> Scope:
        found = self._lists.get(address)
        if found is None:
            maps = read_scope(self.memory, address)
            if maps is None:
                raise Problem(f"the scope at {address:#x} cannot be read")
            by_map = self.linker.by_map
            unknown = [m for m in maps if m not in by_map]
            if unknown:
                raise Problem(
                    f"the scope at {address:#x} lists {unknown[0]:#x}, which is in no chain"
                )
            kind, owner = self._known.get(address, (OTHER, None))
            modules = tuple(real(self.linker, by_map[m]) for m in maps)
            found = self._lists[address] = Scope(kind, owner, modules)
        return found

    def _of_musl(self, module: Module) -> tuple[Scope, ...]:
        """The global list; for what is not in it, the library that dlopen brought it in with.

        musl makes that one and its dependencies global while it relocates them (dlopen).
        """
        everywhere = self._musl_global
        if module.map.address in everywhere.positions:
            return (everywhere,)
        root = self._musl_roots.get(module.map.address, module)
        return everywhere, self._musl_local(root)

    @cached_property
    def _dsos(self) -> Dsos:
        return read_dsos(self.memory, self.linker)

    @cached_property
    def _musl_global(self) -> Scope:
        first = self.linker.modules[0]
        by_map = self.linker.by_map
        chain = self._dsos.global_chain(first.map.address)
        if chain is None or not by_map.keys() >= set(chain):
            raise Problem(NO_LAYOUT)
        return Scope(GLOBAL, first, tuple(by_map[m] for m in chain))

    @cached_property
    def _musl_roots(self) -> dict[int, Module]:
        """The first module, in order of loading, whose dependencies each module is among."""
        roots: dict[int, Module] = {}
        for module in self.linker.modules:
            for one in self._musl_local(module).modules:
                roots.setdefault(one.map.address, module)
        return roots

    def _musl_local(self, module: Module) -> Scope:
        key = module.map.address
        if key not in self._lists:
            dependencies = self._dsos.dependencies
            if dependencies is None:
                raise Problem(NO_LAYOUT)
            order = _breadth_first(key, dependencies.direct)
            self._lists[key] = Scope(LOCAL, module, tuple(self.linker.by_map[m] for m in order))
        return self._lists[key]


def real(linker: Linker, module: Module) -> Module:
    """The module itself, or the real ld.so for its entry in another namespace (l_real)."""
    if module.kind == LINKER and module.namespace and module.image is not None:
        return linker.owner(module.image.start) or module
    return module


def _breadth_first(root: int, direct: Mapping[int, Sequence[int]]) -> Iterator[int]:
    """`root` and what it depends on, as musl's extend_bfs_deps orders them."""
    queue = [root]
    seen = {root}
    for current in queue:
        yield current
        for each in direct.get(current, ()):
            if each not in seen:
                seen.add(each)
                queue.append(each)


def busy(linker: Linker, namespace: int, states: Sequence[str]) -> str | None:
    """Why a namespace's scopes are in flux: a dlopen or dlclose is under way (r_state)."""
    for one in linker.namespaces:
        if one.index == namespace and one.state:
            state = states[one.state] if one.state < len(states) else hex(one.state)
            return f"the dynamic linker is at work (r_state says {state}): scopes are changing"
    return None
