"""What a module's .dynsym and dynamic section say, in columns and free of addresses."""

from __future__ import annotations

import struct
from typing import NamedTuple, Union

from gdbext.elf import image as elf
from gdbext.elf.image import Image
from gdbext.elf.symbols import SHN_ABS, STB_LOCAL, SYMBOL_SIZE, string_at
from gdbext.elf.versions import HIDDEN, Versions
from gdbext.linker.loaded.tables import Tables

# As readelf has them (gABI chapter 4; STT_GNU_IFUNC, STB_GNU_UNIQUE: binutils, elf/common.h).
_TYPES = {0: "NOTYPE", 1: "OBJECT", 2: "FUNC", 3: "SECTION", 4: "FILE", 5: "COMMON", 6: "TLS",
          10: "IFUNC"}  # fmt: skip
_BINDINGS = {1: "GLOBAL", 2: "WEAK", 10: "UNIQUE"}
_VISIBILITIES = ("DEFAULT", "INTERNAL", "HIDDEN", "PROTECTED")
UNDEFINED = " UNDEF"
_TAGS = {getattr(elf, name): name[3:] for name in dir(elf) if name.startswith("DT_")}
_TAGS |= {9: "RELAENT", 11: "SYMENT", 22: "TEXTREL", 35: "RELRSZ", 36: "RELR", 37: "RELRENT"}
_NAMING = frozenset({elf.DT_NEEDED, elf.DT_SONAME, elf.DT_RPATH, elf.DT_RUNPATH})
_SYMBOL = struct.Struct("<IBBHQQ")

DynamicEntry = tuple[str, Union[int, str]]


class Symbols(NamedTuple):
    """What .dynsym defines and refers to, local symbols left out: a row in each column.

    `versions` are `@@V` (the default), `@V` (another, or one that is required) or empty; `kinds`
    are type, binding and visibility as readelf names them, with UNDEF for a reference; `offsets`
    are values before the load bias is added, `sizes` bytes.
    """

    names: list[str]
    versions: list[str]
    kinds: list[str]
    sizes: list[int]
    offsets: list[int]


def read_symbols(tables: Tables) -> Symbols:
    """The dynamic symbols of a module; raises Problem."""
    table, versions = tables.symbols, tables.versions
    labels = _version_labels(versions)
    indices, strings = versions.indices, table.strings
    kinds: dict[tuple[int, int, int], str] = {}
    found = Symbols([], [], [], [], [])
    data = table.data[: table.count * SYMBOL_SIZE]
    for index, (name, info, other, section, value, size) in enumerate(_SYMBOL.iter_unpack(data)):
        if info >> 4 == STB_LOCAL or not name:
            continue
        key = info, other & 3, section if section in (0, SHN_ABS) else 1
        if key not in kinds:
            kinds[key] = _kind(*key)
        found.names.append(string_at(strings, name))
        version = indices[index] if index < len(indices) else 0
        if not section:
            version |= HIDDEN
        found.versions.append(labels.get(version, ""))
        found.kinds.append(kinds[key])
        found.sizes.append(size)
        found.offsets.append(value)
    return found


def _version_labels(versions: Versions) -> dict[int, str]:
    """What stands behind a name, by the index of its version. One that is required of another
    module is no default, also where a copied variable is defined with it."""
    names, files = versions.names, versions.files
    default = {i: f"{'@' if i in files else '@@'}{name}" for i, name in names.items()}
    return {**default, **{i | HIDDEN: f"@{name}" for i, name in names.items()}}


def _kind(info: int, visibility: int, section: int) -> str:
    kind, binding = info & 15, info >> 4
    place = UNDEFINED if not section else " ABS" if section == SHN_ABS else ""
    return (
        f"{_TYPES.get(kind, kind)} {_BINDINGS.get(binding, binding)} "
        f"{_VISIBILITIES[visibility]}{place}"
    )


def read_dynamic_facts(image: Image, strings: bytes) -> list[DynamicEntry]:
    """The dynamic section as (tag, value) in order: names as text, addresses before the load bias
    is added, whether ld.so relocated them in place or not."""
    return [(_TAGS.get(tag, hex(tag)), _value(image, strings, tag, value))
            for tag, value in image.dynamic]  # fmt: skip


def _value(image: Image, strings: bytes, tag: int, value: int) -> int | str:
    if tag in _NAMING:
        return string_at(strings, value)
    if tag == elf.DT_DEBUG:
        return 0  # ld.so writes the address of r_debug here
    return value - image.bias if image.bias and image.start <= value < image.end else value
