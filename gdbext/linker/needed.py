"""DT_SONAME and DT_NEEDED of loaded images, and whose need each module satisfies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gdbext.elf.core import decode_path
from gdbext.elf.image import DT_NEEDED, DT_SONAME, DT_STRTAB, Image
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import PAGE, Memory, read_string
from gdbext.linker.private import read_names

if TYPE_CHECKING:
    from gdbext.linker.modules import Module

_NAMED = (DT_NEEDED, DT_SONAME)
_LONGEST_NAME = 128  # bytes of a name that are read along; longer ones are read by themselves


def read_needed(memory: Memory, image: Image | None) -> tuple[str | None, tuple[str, ...] | None]:
    """(soname, DT_NEEDED names, None where they cannot be read)."""
    strings = image.pointer(DT_STRTAB) if image else None
    if image is None:
        return None, None
    if strings is None:
        return None, ()
    wanted = [(tag, strings + value) for tag, value in image.dynamic if tag in _NAMED]
    texts = _read_strings(memory, [address for _, address in wanted])
    names = [(tag, text) for (tag, _), text in zip(wanted, texts) if text is not None]
    soname = next((text for tag, text in names if tag == DT_SONAME), None)
    if len(names) < len(wanted):
        return soname, None
    return soname, tuple(text for tag, text in names if tag == DT_NEEDED)


def _read_strings(memory: Memory, addresses: Sequence[int]) -> list[str | None]:
    """Strings of one table, with one read where they are close together, as they mostly are."""
    first = min(addresses, default=0)
    try:
        size = max(addresses, default=0) - first + _LONGEST_NAME
        data = memory.read(first, size) if addresses and size <= PAGE else b""
    except Unreadable:
        data = b""
    found: list[str | None] = []
    for address in addresses:
        text, end, _ = data[address - first :].partition(b"\0")
        try:
            found.append(decode_path(text if end else read_string(memory, address)))
        except Unreadable:
            found.append(None)
    return found


def who_needs(modules: Sequence[Module]) -> dict[int, list[Module]]:
    """{link_map address: the modules whose DT_NEEDED that module satisfies}.

    A name means the module with that soname or file name; failing that, one that ld.so has
    under that name in l_libname (glibc, elf/dl-load.c, _dl_name_match_p).
    """
    named: dict[tuple[int, str], Module] = {}
    for module in modules:
        for name in (module.soname, module.file_name):
            if name:
                named.setdefault((module.namespace, name), module)
    wanted = {(m.namespace, name) for m in modules for name in m.needed or ()}
    if wanted - named.keys():
        for module in modules:
            for raw in read_names(module.memory, module.private) if module.private else ():
                named.setdefault((module.namespace, decode_path(raw)), module)
    found: dict[int, list[Module]] = {}
    for module in modules:
        for name in dict.fromkeys(module.needed or ()):
            target = named.get((module.namespace, name))
            if target is not None and target is not module:
                found.setdefault(target.map.address, []).append(module)
    return found
