"""What GDB is connected to: the kind of target, its CPU, the core file, the program's file."""

from __future__ import annotations

import re

import gdb

from gdbext.elf.arch import ARCHES, Arch
from gdbext.elf.core import Core
from gdbext.elf.problem import Problem
from gdbext.inferior.text import tolerant

NO_PROCESS = "no process: run the program, attach to one, connect to a target or open a core first"


def target_kind(inferior: gdb.Inferior) -> str:
    """`native`, `core`, `remote`, `extended-remote` and so on, as GDB names its targets."""
    if hasattr(inferior, "connection"):
        if inferior.connection is None:
            raise Problem(NO_PROCESS)
        return str(inferior.connection.type)
    # GDB before 12 says it in this text alone: "  - native (Native process)"
    stack = gdb.execute("maint print target-stack", to_string=True)
    names = re.findall(r"^ *- ([\w-]+) \(", stack, re.MULTILINE)
    kinds = ("core", "native", "remote", "extended-remote")
    return next((kind for kind in kinds if kind in names), "unknown")


def given_program() -> str | None:
    """The program that GDB was given, None when it knows none."""
    space = gdb.current_progspace()
    return space.filename if space else None


def find_arch(inferior: gdb.Inferior, core: Core | None) -> Arch:
    """The program's CPU: GDB's word for it, and a core's own, which must agree."""
    name = inferior.architecture().name()
    by_gdb = next((arch for arch in ARCHES if name == arch.gdb_name), None)
    by_core = next((arch for arch in ARCHES if core and core.machine == arch.machine), None)
    if core is not None and by_core is not None and by_gdb is not by_core:
        raise Problem(
            f"this is a core of {by_core.name}, which this GDB takes for {name}: "
            f"use a GDB that knows {by_core.name}, such as gdb-multiarch"
        )
    if by_gdb is None or (core is not None and by_core is None):
        known = " and ".join(arch.name for arch in ARCHES)
        raise Problem(f"this program's CPU is {name}; gdbext knows {known} alone")
    return by_gdb


# A core target keeps its number and its file; another core gets another number.
_core_paths: dict[int | None, str] = {}


def core_path(inferior: gdb.Inferior) -> str:
    """The core file's path. Raises Problem.

    GDB 18 has gdb.Inferior.corefile; older ones say it in the text of `info target` alone.
    """
    corefile = getattr(inferior, "corefile", None)
    if corefile is not None:
        return str(corefile.filename)
    connection = getattr(inferior, "connection", None)
    number = connection.num if connection else None  # GDB before 12 has no numbers
    if number is None or number not in _core_paths:
        text = tolerant(lambda: gdb.execute("info target", to_string=True))
        match = re.search(r"core dump file:\n\t`(.*?)', file type ", text, re.DOTALL)
        if match is None:
            raise Problem("GDB does not say which core file it has open")
        _core_paths[number] = match.group(1)
    return _core_paths[number]
