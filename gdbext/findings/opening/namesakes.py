"""Where a symbol that is undefined might come from: other modules, other files, other names."""

from __future__ import annotations

import difflib
import os

from gdbext.elf.hashes import probe
from gdbext.elf.problem import Problem
from gdbext.elf.symbols import read_dynamic_symbols
from gdbext.findings.opening.prospects import Forecast
from gdbext.linker.loaded.modules import DLOPENED, MAIN, Module
from gdbext.linker.loaded.needed import read_needed
from gdbext.linker.opening.locate import Located, Place

_MOST_FILES = 400
_MOST_NAMES = 60_000
_MOST = 3


def loaded_definers(forecast: Forecast, name: bytes) -> list[Module]:
    """The modules that define `name` for others, in whatever scope they are."""
    found = []
    by_map = forecast.linker.by_map
    for address, indices in forecast.lookup.definers.of(name).items():
        tables = forecast.tables.of(by_map[address])
        if tables is not None and any(tables.symbols.entry(i).shndx for i in indices):
            found.append(by_map[address])
    return found


def definers_on_disk(forecast: Forecast, name: bytes) -> list[str]:
    """Libraries beside the files that come in, and beside the program, that define `name`."""
    found = []
    for located in forecast.neighbours:
        if _defines(located, name):
            found.append(located.place.path)
            if len(found) == _MOST:
                break
    return found


def _defines(located: Located, name: bytes) -> bool:
    """By the hash table, so that most files cost two reads."""
    memory, image = located.file.memory, located.file.image
    try:
        indices = probe(memory, image, name)
        if not indices:
            return False
        symbols = read_dynamic_symbols(memory, image)
        return any(
            i < symbols.count and symbols.is_named(i, name) and symbols.entry(i).shndx
            for i in indices
        )
    except Problem:
        return False


def closest_names(forecast: Forecast, name: bytes) -> list[tuple[str, str]]:
    """Exported names that are almost `name`, with the file that has each: loaded, or beside."""
    text = name.decode("utf-8", "backslashreplace")
    known: dict[str, str] = {}
    for path, names in forecast.exported:
        for each in names:
            # difflib is slow: what can be close has nearly this length and begins or ends so
            if abs(len(each) - len(text)) <= 3 and (each[:3] == text[:3] or each[-4:] == text[-4:]):
                known.setdefault(each, path)
        if len(known) > _MOST_NAMES:
            break
    close = difflib.get_close_matches(text, known, _MOST, 0.75)
    return [(each, os.path.basename(known[each])) for each in close]


def needing_on_disk(forecast: Forecast, name: str) -> list[str]:
    """Libraries beside what is loaded whose DT_NEEDED has `name`."""
    view, search = forecast.host.search.view, forecast.host.search
    modules = forecast.host.linker.modules
    own = [m.path for m in modules if m.kind in (MAIN, DLOPENED) and m.path.startswith("/")]
    loaded = {m.path for m in modules}
    found: list[str] = []
    left = _MOST_FILES
    for folder in dict.fromkeys(os.path.dirname(path) for path in own):
        for each in [n for n in view.names(folder) if ".so" in n][:left]:
            left -= 1
            path = f"{folder}/{each}"
            located = search.look(Place(path, "path", "")) if path not in loaded else None
            if not isinstance(located, Located):
                continue
            try:
                needed = read_needed(located.file.memory, located.file.image)[1]
            except Problem:
                continue  # damaged
            if name in (needed or ()):
                found.append(path)
                if len(found) == _MOST:
                    return found
    return found
