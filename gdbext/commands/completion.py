"""What completes a word: names of modules and symbols of the process."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MOST_CHOICES = 2000  # GDB itself stops at `set max-completions`, 200


def matches(choices: Sequence[str], current: str, word: str | None) -> list[str]:
    """What can complete `current`, cut to what GDB takes for the last word.

    GDB before 14 breaks words at `-`, `.` and `/`, so it hands over the last piece alone. It asks
    twice; the first time, with no word, only what kind of completion it is to be.
    """
    if word is None:
        return []
    skip = len(current) - len(word)
    return sorted({c[skip:] for c in choices if c.startswith(current)})


def module_names() -> list[str]:
    """The names of the loaded modules, as completion offers them: the last part of the path."""
    from gdbext.elf.problem import Problem
    from gdbext.inferior import Inferior
    from gdbext.linker.loaded.modules import read_linker
    from gdbext.render.printable import shown

    try:
        linker = read_linker(Inferior())
    except Problem:
        return []  # nothing is loaded: nothing completes
    return [shown(m.file_name) for m in linker.modules]


def symbol_names(start: str) -> list[str]:
    """Some names of the modules' symbols that begin with `start`, as completion offers them."""
    from gdbext.elf.problem import Problem
    from gdbext.inferior import Inferior
    from gdbext.linker.loaded.modules import read_linker
    from gdbext.linker.lookup.references import names_with
    from gdbext.render.printable import shown

    found: set[str] = set()
    try:
        inferior = Inferior()
        modules = read_linker(inferior).modules
    except Problem:
        return []
    pattern = re.escape(start.encode("utf-8", "surrogateescape")) or b"[^\\0]"
    for module in modules:
        tables = inferior.tables.of(module)
        try:
            names = names_with(tables.symbols, pattern) if tables else ()
            found.update(shown(name.decode("utf-8", "surrogateescape")) for name in names)
        except Problem:
            continue  # this module's names are not there
        if len(found) > _MOST_CHOICES:
            break
    return list(found)


def slot_names(where: str | None) -> list[str]:
    """The symbols of the GOT slots of the program, or of the modules that `where` names."""
    from gdbext.elf.problem import Problem
    from gdbext.inferior import Inferior
    from gdbext.linker.loaded.modules import read_linker
    from gdbext.linker.loaded.selection import select_modules
    from gdbext.linker.slots.got import read_slots
    from gdbext.render.printable import shown

    try:
        inferior = Inferior()
        linker = read_linker(inferior)
        modules = select_modules(linker, where) if where else linker.modules[:1]
    except Problem:
        return []
    found = read_slots(inferior.memory, inferior.arch, linker, inferior.tables, modules)
    return [shown(slot.symbol) for m in found for slot in m.slots if slot.symbol]
