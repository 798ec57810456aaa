"""Which files are cores: those that are named, and those that lie in the folders that are named."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gdbext.elf.image import ET_CORE
from gdbext.postmortem.cores import compression
from gdbext.triage.outcome import Identity

_ENOUGH = 18  # bytes: e_ident and e_type of Elf64_Ehdr
_EI_DATA, _MSB = 5, 2  # a core of a CPU that gdbext does not know is still a core


class Core(NamedTuple):
    """A core's absolute path; `identity` is None where nothing can be said about the file."""

    path: str
    identity: Identity | None


class Found(NamedTuple):
    """The cores, each once, and what the user should know of the search."""

    cores: tuple[Core, ...]
    notes: tuple[str, ...]


def find_cores(paths: Sequence[str]) -> Found:
    """The cores to read. What is named is taken as it is; in a folder, also in those below it,
    only the content of a file tells whether it is a core."""
    found: dict[str, Core] = {}
    notes: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            cores = [file for file in _files(path, notes) if _is_core(file)]
            for core in cores:
                found.setdefault(os.path.realpath(core), _core(core))
            if not cores:
                notes.append(f"no core lies in {path!r}")
        else:
            found.setdefault(os.path.realpath(path), _core(path))
    return Found(tuple(found.values()), tuple(notes))


def _core(path: str) -> Core:
    try:
        status = os.stat(path)
    except OSError:
        return Core(os.path.abspath(path), None)
    return Core(os.path.abspath(path), Identity(status.st_size, status.st_mtime_ns))


def _files(folder: str, notes: list[str]) -> Iterator[str]:
    """Every regular file, in the order of names; links to folders are not followed."""

    def unreadable(error: OSError) -> None:
        notes.append(f"cannot look into {error.filename!r}: {error.strerror}")

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders.sort()
        yield from (os.path.join(parent, name) for name in sorted(files))


def _is_core(path: str) -> bool:
    """Whether a file begins as a core does, compressed or not; nothing here can block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        try:
            start = file.read(_ENOUGH)
        except OSError:
            return False
    tool = compression(start)
    return _begins_core(start) if tool is None else _holds_core(tool, path)


def _begins_core(start: bytes) -> bool:
    if len(start) < _ENOUGH or not start.startswith(b"\x7fELF"):
        return False
    return int.from_bytes(start[16:18], "big" if start[_EI_DATA] == _MSB else "little") == ET_CORE


def _holds_core(tool: str, path: str) -> bool:
    """Whether a compressed file begins as a core; without the tool for it, it may be one."""
    try:
        process = subprocess.Popen(
            [tool, "-dc", "--", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except FileNotFoundError:
        return True
    with process:
        assert process.stdout is not None
        start = process.stdout.read(_ENOUGH)
        process.kill()
    return _begins_core(start)
