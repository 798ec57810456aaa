"""DT_SONAME and DT_NEEDED of loaded images, and whose need each module satisfies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gdbext.elf.core import decode_path
from gdbext.elf.image import DT_AUXILIARY, DT_FILTER, DT_NEEDED, DT_SONAME, DT_STRTAB, Image
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import PAGE, Memory, read_string
from gdbext.linker.loaded.private import read_initfini, read_names

if TYPE_CHECKING:
    from gdbext.linker.loaded.modules import Module

_NAMED = (DT_NEEDED, DT_SONAME)
_LONGEST_NAME = 128  # bytes of a name that are read along; longer ones are read by themselves
# musl's own names for itself (ldso/dynlink.c, load_library, "reserved")
_MUSL_OWN = re.compile(r"lib(?:c|pthread|rt|m|dl|util|xnet)\.")


class Need(NamedTuple):
    """One DT_NEEDED; `target` is the module that satisfies it, None where none is loaded."""

    name: str
    target: Module | None


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


def read_filters(memory: Memory, image: Image | None) -> list[tuple[int, str]]:
    """(tag, name) of each DT_FILTER and DT_AUXILIARY: the libraries that this one stands for."""
    strings = image.pointer(DT_STRTAB) if image else None
    if image is None or strings is None:
        return []
    wanted = [(tag, strings + at) for tag, at in image.dynamic if tag in (DT_FILTER, DT_AUXILIARY)]
    texts = _read_strings(memory, [address for _, address in wanted])
    return [(tag, text) for (tag, _), text in zip(wanted, texts) if text is not None]


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


def resolve_needed(
    modules: Sequence[Module], own: Module | None
) -> dict[int, tuple[Need, ...] | None]:
    """{link_map: its DT_NEEDED, each with the module that ld.so takes for it}; None where the
    names cannot be read. `own` is musl's linker, which stands for all that is part of musl.

    ld.so takes the first of the chain that has the name as l_name, in l_libname or as DT_SONAME
    (glibc, elf/dl-load.c, _dl_map_object). Names can be added later, so of several the one counts
    that is in the needing module's own l_initfini.
    """
    named: dict[tuple[int, str], list[Module]] = {}
    for module in modules:
        for name in _names(module):
            named.setdefault((module.namespace, name), []).append(module)

    def resolve(module: Module, name: str) -> Need:
        if own is not None and _MUSL_OWN.match(name):
            return Need(name, own)
        return Need(name, _choose(module, named.get((module.namespace, name), [])))

    return {
        m.map.address: None if m.needed is None else tuple(resolve(m, name) for name in m.needed)
        for m in modules
    }


def _names(module: Module) -> set[str]:
    """What a DT_NEEDED that means this module may say."""
    names = {module.name, module.soname or ""}
    asked = read_names(module.memory, module.private) if module.private else ()
    # musl has no l_libname: it compares the file's name (load_library, shortname)
    names.update(map(decode_path, asked) if asked else (module.file_name,))
    return names - {""}


def _choose(module: Module, choices: Sequence[Module]) -> Module | None:
    if len(choices) > 1 and module.private is not None:
        own = set(read_initfini(module.memory, module.private) or ())
        choices = [c for c in choices if c.map.address in own] or choices
    return choices[0] if choices else None


def who_needs(
    modules: Sequence[Module], needs: Mapping[int, Sequence[Need] | None]
) -> dict[int, list[Module]]:
    """{link_map: the modules whose DT_NEEDED that module satisfies}, of resolve_needed()."""
    found: dict[int, list[Module]] = {}
    for module in modules:
        targets = [need.target for need in needs[module.map.address] or ()]
        for target in dict.fromkeys(t.map.address for t in targets if t is not None):
            if target != module.map.address:
                found.setdefault(target, []).append(module)
    return found
