"""Symbol versions: DT_VERSYM, DT_VERNEED and DT_VERDEF (LSB core, symbol versioning)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from gdbext.elf.image import (
    DT_VERDEF,
    DT_VERDEFNUM,
    DT_VERNEED,
    DT_VERNEEDNUM,
    DT_VERSYM,
    Image,
)
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory
from gdbext.elf.symbols import string_at

HIDDEN = 0x8000
VER_FLG_BASE = 1
_MOST_RECORDS = 65536  # a version index has 15 bits


@dataclass(frozen=True)
class Versions:
    """The version of each symbol index: `indices[i] & 0x7fff` into `names`.

    Indices 0 (local) and 1 (global, the base) name no version. `files` says which file a
    required version is wanted from, `exact` which of those no other version may stand in for
    (vna_other has the hidden bit).
    """

    indices: tuple[int, ...]
    names: dict[int, str]
    files: dict[int, str]
    exact: frozenset[int] = frozenset()

    def of(self, symbol: int) -> str | None:
        """The version name of a symbol index, None when it has none."""
        if symbol >= len(self.indices):
            return None
        return self.names.get(self.indices[symbol] & 0x7FFF)

    def numbers(self, symbols: Iterable[int]) -> list[int]:
        """The version number of each of these symbol indices, -1 for none."""
        indices, count = self.indices, len(self.indices)
        return [indices[s] & 0x7FFF if 0 < s < count else -1 for s in symbols]


NO_VERSIONS = Versions((), {}, {})


def read_versions(memory: Memory, image: Image, count: int, strings: bytes) -> Versions:
    """The versions of the first `count` symbols of .dynsym."""
    address = image.pointer(DT_VERSYM)
    if address is None or count * 2 > image.room(address):
        return NO_VERSIONS
    indices = struct.unpack(f"<{count}H", memory.read(address, count * 2))
    names: dict[int, str] = {}
    files: dict[int, str] = {}
    exact: set[int] = set()
    _read_definitions(memory, image, strings, names)
    _read_requirements(memory, image, strings, names, files, exact)
    return Versions(indices, names, files, frozenset(exact))


def _read_definitions(memory: Memory, image: Image, strings: bytes, names: dict[int, str]) -> None:
    """Elf64_Verdef: version, flags, ndx, cnt: u16; hash, aux, next: u32."""
    at = image.pointer(DT_VERDEF)
    for _ in range(min(image.value(DT_VERDEFNUM) or 0, _MOST_RECORDS)):
        if at is None or image.room(at) < 20:
            return
        _, flags, index, _, _, aux, following = struct.unpack("<HHHHIII", memory.read(at, 20))
        if not flags & VER_FLG_BASE and image.room(at + aux) >= 8:
            (name,) = struct.unpack("<I", memory.read(at + aux, 4))
            names[index & 0x7FFF] = string_at(strings, name)
        if not following:
            return
        at += following


def _read_requirements(
    memory: Memory,
    image: Image,
    strings: bytes,
    names: dict[int, str],
    files: dict[int, str],
    exact: set[int],
) -> None:
    """Elf64_Verneed: version, cnt: u16; file, aux, next: u32.

    Elf64_Vernaux: hash: u32; flags, other: u16; name, next: u32.
    """
    at = image.pointer(DT_VERNEED)
    left = _MOST_RECORDS
    for _ in range(min(image.value(DT_VERNEEDNUM) or 0, _MOST_RECORDS)):
        if at is None or image.room(at) < 16:
            return
        _, count, file, aux, following = struct.unpack("<HHIII", memory.read(at, 16))
        aux_at = at + aux
        for _ in range(min(count, left)):
            left -= 1
            if image.room(aux_at) < 16:
                break
            try:
                _, _, other, name, after = struct.unpack("<IHHII", memory.read(aux_at, 16))
            except Unreadable:
                return
            names[other & 0x7FFF] = string_at(strings, name)
            files[other & 0x7FFF] = string_at(strings, file)
            if other & HIDDEN:
                exact.add(other & 0x7FFF)
            if not after:
                break
            aux_at += after
        if not following:
            return
        at += following
