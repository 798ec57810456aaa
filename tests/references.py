"""A file's dynamic symbols, and what its relocations refer to in ld.so's order; by readelf."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests import oracles

Key = tuple[str, str]  # (symbol, version), "" where the reference has none


@dataclass(frozen=True)
class DynamicSymbol:
    """One entry of .dynsym as readelf shows it; SECTION is "UND", "ABS" or a number."""

    value: int
    type: str
    bind: str
    visibility: str
    section: str
    name: str
    version: str


SYMBOL = re.compile(
    r"^ *\d+: (?P<value>[0-9a-f]{16}) +\S+ (?P<type>\S+) +(?P<bind>\S+) +(?P<visibility>\S+)"
    r"(?: +\[[^]]*\])? +(?P<section>\S+) (?P<name>\S[^@\n]*)(?:@+(?P<version>\S+))?",
    re.MULTILINE,
)


def parse_readelf_symbols(text: str) -> list[DynamicSymbol]:
    """What `readelf -sDW` lists, but for entries without a name."""
    return [
        DynamicSymbol(
            int(m["value"], 16), m["type"], m["bind"], m["visibility"], m["section"],
            m["name"].rstrip(), m["version"] or "",
        )
        for m in SYMBOL.finditer(text)
    ]  # fmt: skip


@cache
def dynamic_symbols(path: Path) -> dict[Key, DynamicSymbol]:
    """A file's dynamic symbols by name and version; a hidden version counts as the same."""
    said = oracles.said_by("readelf", "-sDW", str(path))
    return {(one.name, one.version): one for one in parse_readelf_symbols(said)}


@cache
def references(path: Path) -> list[tuple[Key, str]]:
    """Each dynamic relocation against a symbol, in ld.so's order: what it refers to, its type."""
    slots = oracles.readelf_slots(path)
    return [((slot.symbol, slot.version), slot.type) for slot in slots if slot.symbol]


@cache
def types_of(path: Path) -> dict[Key, set[str]]:
    """The types of the relocations against each symbol."""
    types: dict[Key, set[str]] = {}
    for key, kind in references(path):
        types.setdefault(key, set()).add(kind)
    return types


def lookup_class(kind: str) -> str:
    """What elf_machine_type_class (sysdeps/*/dl-machine.h) makes of a relocation's type."""
    if "COPY" in kind:
        return "copy"
    return "plt" if re.search(r"JUMP_SLO|TPOFF|TPREL|DTPMOD|DTPREL|TLSDESC", kind) else "data"


def eager_classes(path: Path, key: Key, now: bool) -> list[str]:
    """The classes of the lookups of KEY while its file is relocated, in the log's order.

    A lookup that is the same as the one before it is taken from a cache and not logged
    (elf/dl-reloc.c, RESOLVE_MAP)."""
    classes = []
    last = None
    for reference, kind in references(path):
        if "JUMP_SLO" in kind and not now:
            continue
        this = reference, lookup_class(kind)
        if reference == key and this != last:
            classes.append(this[1])
        last = this
    return classes
