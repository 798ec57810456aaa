"""`gdbext report CORE`: a core read by a GDB of its own, and the report of it."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gdbext import packages
from gdbext.elf.arch import ARCHES
from gdbext.elf.core import Core, decode_path, open_core
from gdbext.elf.file import map_file
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import PAGE, read_string

_AT_PHDR, _AT_EXECFN = 3, 31  # getauxval(3)
_COMPRESSED = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x1f\x8b": "gzip",
}


class Program(NamedTuple):
    """The executable of a core: its path, None where it is not here; `note` is for the user."""

    path: str | None
    note: str | None


class Report(NamedTuple):
    """What GDB wrote: the report as text, and as a JSON document if that was asked for."""

    text: str
    document: str | None
    warnings: list[str]


def read_report(core_path: str, exe: str | None, sysroot: str | None, gdb: str | None,
                width: int, document: bool) -> tuple[Program, Report]:  # fmt: skip
    """Report on a core; raises Problem when that cannot be done."""
    with tempfile.TemporaryDirectory(prefix="gdbext-") as folder:
        path = _decompressed(core_path, folder)
        try:
            core = open_core(path)
        except Problem as problem:
            name = repr(core_path)
            text = str(problem)
            raise Problem(text if name in text else f"{name}: {text}") from problem
        program = find_program(core, exe, sysroot)
        machine = next((arch for arch in ARCHES if arch.machine == core.machine), None)
        if machine is None:
            raise Problem(f"{core_path!r} is a core of another CPU than x86-64 and ARM64")
        native = os.uname().machine in (machine.name.replace("-", "_"), machine.name)
        command = gdb or ("gdb" if native else "gdb-multiarch")
        return program, _run(command, path, program, sysroot, width, document, Path(folder))


def _decompressed(path: str, folder: str) -> str:
    """The core itself, or a copy without compression (as systemd-coredump stores them)."""
    data = map_file(path)
    tool = next((tool for magic, tool in _COMPRESSED.items() if data[:8].startswith(magic)), None)
    if tool is None:
        return path
    target = os.path.join(folder, "core")
    try:
        with open(target, "wb") as file:
            done = subprocess.run(
                [tool, "-dc", "--", path], stdout=file, stderr=subprocess.DEVNULL, check=False
            )
    except FileNotFoundError as error:
        raise Problem(f"{path!r} is compressed, and {tool} is not installed") from error
    if done.returncode:
        raise Problem(f"{path!r} is compressed by {tool} and damaged")
    return target


def find_program(core: Core, exe: str | None, sysroot: str | None) -> Program:
    """The executable that a core is of: as given, or where the core's own notes say that it was.

    A file is taken if its first page is the one in the core.
    """
    if exe is not None:
        data = map_file(exe)  # a missing file is the user's mistake
        if _is_same(core, data[:PAGE]) is False:
            return Program(exe, f"{exe} is not the program that wrote this core")
        return Program(exe, None)
    named: list[str] = []
    for path in _names(core):
        local = (sysroot or "").rstrip("/") + path
        named.append(local)
        try:
            data = map_file(local)
        except Problem:
            continue
        if _is_same(core, data[:PAGE]) is False:
            return Program(None, f"{local} is another build than the one that wrote this core")
        return Program(local, None)
    what = f"{named[0]} is not here" if named else "the core does not say which program it is of"
    return Program(None, f"{what}; name it by --exe for symbols")


def _names(core: Core) -> Iterator[str]:
    header = _program_file(core)
    if header is not None:
        yield header[1]
    try:
        yield decode_path(read_string(_Dumped(core), core.auxv[_AT_EXECFN]))
    except (KeyError, Unreadable):
        return


def _program_file(core: Core) -> tuple[int, str] | None:
    """(address of the first byte, path) of what is mapped where the program headers are."""
    phdr = core.auxv.get(_AT_PHDR, 0)
    for file in core.files:
        if file.start <= phdr < file.end:
            return file.start - file.offset, file.path
    return None


def _is_same(core: Core, page: bytes) -> bool | None:
    """Whether a file begins as the program in the core does; None where the core left that out."""
    header = _program_file(core)
    dumped = core.read(header[0], len(page)) if header and page else None
    return dumped == page if dumped is not None else None


class _Dumped:
    """The memory that a core holds, and nothing else."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def read(self, address: int, size: int) -> bytes:
        data = self._core.read(address, size)
        if data is None:
            raise Unreadable(address, size, "are not in the core")
        return data


def _run(
    gdb: str,
    core: str,
    program: Program,
    sysroot: str | None,
    width: int,
    document: bool,
    folder: Path,
) -> Report:
    text, whole = folder / "report.txt", folder / "report.json"
    own = packages.own_folder()
    commands = [f"set width {width}", f"directory {own}", f"source {own}/gdbext"]
    if sysroot:
        commands.insert(0, f"set sysroot {sysroot}")
    if document:
        commands.append(f"plug-report -json -out {whole}")
    commands.append(f"plug-report -out {text}")
    arguments = [gdb, "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off"]
    arguments += [word for command in commands for word in ("-ex", command)]
    arguments += ["--core", core, *([program.path] if program.path else [])]
    environment = {**os.environ, "TERM": "dumb"}
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            env=environment,
            check=False,
        )
    except FileNotFoundError as error:
        raise Problem(f"{gdb} is not installed; --gdb names another GDB") from error
    if done.returncode or not text.exists() or (document and not whole.exists()):
        said = [line for line in done.stderr.splitlines() if line.startswith("plug-report:")]
        last = (said or done.stderr.splitlines() or ["it did not say why"])[-1]
        raise Problem(f"no report: {last.removeprefix('plug-report: ')}")
    warnings = re.findall(r"^warning: (.+)$", done.stderr, re.MULTILINE)
    return Report(
        text.read_text(errors="backslashreplace"),
        whole.read_text() if document else None,
        list(dict.fromkeys(warnings)),
    )
