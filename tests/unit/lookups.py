"""Modules with symbols, versions and hash tables made of bytes, and lookups among them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.elf.image import Image, read_image
from gdbext.elf.reader import BytesMemory, Memory
from gdbext.linker.loaded.linkmaps import LinkMap
from gdbext.linker.loaded.modules import Linker, Module
from gdbext.linker.loaded.private import Private
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.lookup.definers import Definers
from gdbext.linker.lookup.lookup import Lookup
from gdbext.linker.lookup.matching import Match, glibc_match, musl_match
from gdbext.linker.lookup.rules import Rules
from gdbext.linker.lookup.scopes import GLOBAL, LOCAL, Scope, Scopes
from tests.unit import crafted
from tests.unit.hashtables import gnu_table, sysv_table

LOCAL_BINDING, GLOBAL_BINDING, WEAK, UNIQUE = 0, 1, 2, 10
FUNC, OBJECT, TLS = 2, 1, 6
DEFAULT, HIDDEN, PROTECTED = 0, 2, 3
UND, HERE, ABS = 0, 1, 0xFFF1
HIDDEN_VERSION = 0x8000
MAPS, IMAGES = 0x1000, 0x7F0000000000


class Sym(NamedTuple):
    """One .dynsym entry; `version` is a name, `hidden` that it is no default version."""

    name: str
    value: int = 0x40
    bind: int = GLOBAL_BINDING
    type: int = FUNC
    visibility: int = DEFAULT
    shndx: int = HERE
    version: str | None = None
    hidden: bool = False
    size: int = 8


def reference(name: str, version: str | None = None, bind: int = GLOBAL_BINDING) -> Sym:
    """What a module refers to but does not define."""
    return Sym(name, 0, bind, 0, DEFAULT, UND, version)


@dataclass(frozen=True)
class Lib:
    """A module to be; symbol numbers count from 1. `versioned`: it has a DT_VERSYM."""

    name: str
    symbols: Sequence[Sym]
    versioned: bool = False
    sysv: bool = False
    removed: bool = False
    namespace: int = 0
    damage: Callable[[bytes], bytes] = bytes
    kind: str = ""
    soname: str = ""
    relocations: bytes = b""  # DT_RELA
    machine: int = 62
    tail: bytes = b""  # what stands behind the tables


def image_of(lib: Lib) -> bytes:
    """The file. All symbols are hashed, in one bucket, so that they keep their order."""
    strings = b"\0"
    symbols = bytes(24)
    indices = [0]
    versions = list(dict.fromkeys(s.version for s in lib.symbols if s.version))
    for one in lib.symbols:
        info = one.bind << 4 | one.type
        symbols += struct.pack(
            "<IBBHQQ", len(strings), info, one.visibility, one.shndx, one.value, one.size
        )
        strings += one.name.encode() + b"\0"
        number = 2 + versions.index(one.version) if one.version else 1
        indices.append(number | (HIDDEN_VERSION if one.hidden else 0))
    definitions = b""
    for number, version in enumerate(versions, 2):
        following = 28 if number < 1 + len(versions) else 0
        definitions += struct.pack("<HHHHIII", 1, 0, number, 1, 0, 20, following)
        definitions += struct.pack("<II", len(strings), 0)
        strings += version.encode() + b"\0"
    names = [one.name.encode() for one in lib.symbols]
    parts = {0x6FFFFEF5: gnu_table(names, 1)} if not lib.sysv else {4: sysv_table(names, 1)}
    parts |= {6: symbols}
    values = [(10, len(strings))]
    if lib.versioned:
        parts |= {0x6FFFFFF0: struct.pack(f"<{len(indices)}H", *indices)}
    if definitions:
        parts |= {0x6FFFFFFC: definitions}
        values.append((0x6FFFFFFD, len(versions)))
    if lib.soname:
        values.append((14, len(strings)))
        strings += lib.soname.encode() + b"\0"
        values[0] = (10, len(strings))
    if lib.relocations:
        parts |= {7: lib.relocations}
        values.append((8, len(lib.relocations)))
    made = crafted.make_elf({**parts, 5: strings}, values, (), lib.machine, len(lib.tail))
    return lib.damage(made + lib.tail)


def a_private(removed: bool) -> Private:
    """Private fields of a library, of which lookups look at `removed` alone."""
    return Private(
        real=0, libname=0, type=1, relocated=True, init_called=True, is_global=True,
        removed=removed, nodelete=False, open_count=1, loader=0, phdr=0, searchlist=(0, 0),
        scopes=None, local_scope=0, file_id=None, initfini=None, behind_initfini=None,
        map_start=None, map_end=None, tls_modid=None, tls_offset=None,
    )  # fmt: skip


@dataclass(frozen=True)
class Lists(Scopes):
    """Scopes that the test says, by the name of the module: lists of names."""

    lists: Mapping[str, Sequence[Scope]] | None = None

    def of(self, module: Module) -> tuple[Scope, ...]:
        assert self.lists is not None
        return tuple(self.lists.get(module.name, self.lists["*"]))


@dataclass(frozen=True)
class World:
    """Some modules and how symbols are looked up among them."""

    modules: Mapping[str, Module]
    lookup: Lookup

    def resolve(self, module: str, number: int, type_class: int = 0) -> str | None:
        """NAME:SYMBOL NUMBER of what a reference binds to."""
        found = self.lookup.resolve(self.modules[module], number, type_class)
        return f"{found.module.name}:{found.number}" if found else None


def world(
    *libs: Lib,
    scopes: Mapping[str, Sequence[Sequence[str]]] | None = None,
    musl: bool = False,
    dynamic_weak: bool = False,
    copied_protected: bool = False,
    base_at_once: bool | None = False,
    unique: Mapping[tuple[int, bytes], tuple[int, int]] | None = None,
    unknown: Sequence[str] = (),
    more: Mapping[int, bytes] | None = None,
) -> World:
    """`libs` in the order of the global scope, which is every module's unless `scopes` says
    otherwise: {module or "*": lists of names}. `unknown` modules have no image; `more` is
    further memory."""
    modules: dict[str, Module] = {}
    runs: dict[int, bytes] = dict(more or {})
    for place, lib in enumerate(libs):
        base = IMAGES + place * 0x100000
        data = image_of(lib)
        runs[base] = data + bytes(-len(data) % 4096)  # as pages are mapped
    memory: Memory = BytesMemory(runs)
    for place, lib in enumerate(libs):
        base = IMAGES + place * 0x100000
        link_map = LinkMap(MAPS + place * 0x1000, base, lib.name.encode(), base, 0, 0)
        image: Image | None = None if lib.name in unknown else read_image(memory, base)
        private = None if musl else a_private(lib.removed)
        problem = "its headers are not there" if image is None else None
        kind = lib.kind or ("needed" if place else "main")
        modules[lib.name] = Module(
            link_map, lib.namespace, f"/lib/{lib.name}", lib.name, kind, image, private, problem,
            memory,
        )  # fmt: skip
    linker = Linker((), tuple(modules.values()), (), None, ())
    tables = TableSet(memory, lambda _: None, lambda _: None)
    wanted = scopes or {"*": [list(modules)]}
    lists = {
        key: [
            Scope(LOCAL if n else GLOBAL, None, tuple(modules[name] for name in names))
            for n, names in enumerate(rows)
        ]
        for key, rows in wanted.items()
    }
    match: Match = musl_match if musl else glibc_match
    known = unique or {}
    rules = Rules(
        musl, match, dynamic_weak, copied_protected, base_at_once,
        lambda namespace, name: known.get((namespace, name)),
    )  # fmt: skip
    lookup = Lookup(
        linker, tables, Lists(memory, linker, lists=lists), rules, Definers(linker, tables)
    )
    return World(modules, lookup)
