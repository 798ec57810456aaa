"""The executable that a core is of, found by what the core says of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from gdbext.elf.core import Core
from gdbext.elf.file import map_file
from gdbext.elf.mapped import Mapped, execution_name, is_program, main_mapping
from gdbext.elf.problem import Problem
from gdbext.elf.storage import below, kept_paths


class Program(NamedTuple):
    """The executable of a core: its path, None where it is not here; `note` is for the user.
    `at_home`: it is where the core's own list of mapped files has it."""

    path: str | None
    note: str | None
    at_home: bool = False


def find_program(core: Core, exe: str | None, sysroot: str | None) -> Program:
    """The executable that a core is of: as given, or where it was, or where builds are kept.

    A file is taken if its build-id, or else its first page, is the one in the core. One that was
    given is taken as well where the core holds neither.
    """
    main = main_mapping(core)
    home = below(sysroot or "", main.path) if main is not None else None
    if exe is not None:
        same = is_program(core, main, map_file(exe))  # a missing file is the user's mistake
        if same is False:
            return Program(None, f"{exe} is not the program that wrote this core and is not used")
        return Program(exe, None, bool(same and home) and os.path.abspath(exe) == home)
    others: list[str] = []
    unknown: list[str] = []
    for path in dict.fromkeys(_candidates(core, main, sysroot)):
        try:
            same = is_program(core, main, map_file(path))
        except Problem:
            continue
        if same:
            return Program(path, None, path == home)
        (others if same is False else unknown).append(path)
    return Program(None, _not_found(core, main, others, unknown, sysroot))


def _not_found(
    core: Core, main: Mapped | None, others: list[str], unknown: list[str], sysroot: str | None
) -> str:
    build = f" (build-id {main.build_id})" if main and main.build_id else ""
    if unknown:
        what = f"the core holds nothing to compare {unknown[0]} with, so it is not used"
        return f"{what}; --exe {unknown[0]} takes it for the program"
    if others:
        return f"{others[0]} is another build than the one that wrote this core{build}; not used"
    name = main.path if main is not None else execution_name(core)
    if name is None:
        return "the core does not say which program it is of; name it by --exe for symbols"
    where = below(sysroot or "", name) if name.startswith("/") else name
    return f"{where} is not here{build}; name it by --exe for symbols"


def _candidates(core: Core, main: Mapped | None, sysroot: str | None) -> Iterator[str]:
    beside = os.path.dirname(os.path.abspath(core.path))
    name = execution_name(core)
    names = [main.path] if main is not None and main.path.startswith("/") else []
    names += [name] if name is not None else []
    for path in names:
        if path.startswith("/"):
            yield below(sysroot or "", path)
            yield path
    if main is not None and main.build_id is not None:
        yield from kept_paths(main.build_id, sysroot, os.environ)
    for path in names:
        if not path.startswith("/"):
            yield os.path.join(beside, path)
        yield os.path.join(beside, os.path.basename(path))
