"""What GDB must be told to open a core: the core itself, its program, its CPU."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from gdbext.elf.arch import ARCHES
from gdbext.elf.core import NT_PRSTATUS, open_core
from gdbext.elf.file import map_file
from gdbext.elf.problem import Problem
from gdbext.postmortem.debugger import Target
from gdbext.postmortem.program import find_program

# By their first bytes; systemd-coredump writes zstd, xz or lz4.
_COMPRESSED = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x1f\x8b": "gzip",
}


def core_target(
    path: str,
    exe: str | None,
    sysroot: str | None,
    folder: Path,
    seconds: float | None = None,
) -> Target:
    """A core as GDB's target; raises Problem.

    `folder` takes what is decompressed, which may take so many `seconds`."""
    plain = _decompressed(path, folder, seconds)
    try:
        core = open_core(plain)
    except Problem as problem:
        name = repr(path)
        text = str(problem)
        raise Problem(text if name in text else f"{name}: {text}") from problem
    if not core.whole_notes or not any(note.type == NT_PRSTATUS for note in core.notes):
        raise Problem(f"{path!r} does not tell of its threads: it is cut short or damaged")
    if all(arch.machine != core.machine for arch in ARCHES):
        raise Problem(f"{path!r} is a core of another CPU than x86-64 and ARM64")
    program = find_program(core, exe, sysroot)
    # A program at home is found by plug-report like every library. GDB, told of it, would open
    # all libraries too, which takes as long as the rest of its work.
    given = [program.path] if program.path and not program.at_home else []
    arguments = ("--core", plain, *given)
    # plug-report -symbols loads what is needed: half of GDB's time with 500 libraries
    before = ("set auto-solib-add off", *((f"set sysroot {sysroot}",) if sysroot else ()))
    # GDB reads libc's symbols all the same once it knows the program, also of another build
    opening = ("nosharedlibrary",) if given else ()
    return Target(gdb_for(core.machine), arguments, before, opening=opening, note=program.note)


def gdb_for(machine: int) -> str:
    """The GDB that knows a CPU (e_machine): any knows this computer's."""
    names = [arch.name for arch in ARCHES if arch.machine == machine]
    own = os.uname().machine
    native = any(own in (name, name.replace("-", "_")) for name in names)
    return "gdb" if native else "gdb-multiarch"


def compression(start: bytes) -> str | None:
    """The tool that reads a file with these first bytes, None where it is not compressed."""
    return next((tool for magic, tool in _COMPRESSED.items() if start.startswith(magic)), None)


def _decompressed(path: str, folder: Path, seconds: float | None) -> str:
    """The core itself, a copy without compression, or another name for it."""
    data = map_file(path)
    tool = compression(data[:8])
    target = folder / "core"
    if tool is None:
        if _is_utf8(path):
            return path
        target.symlink_to(os.path.abspath(path))
        return str(target)
    try:
        with target.open("wb") as file:
            done = subprocess.run(
                [tool, "-dc", "--", path],
                stdout=file,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=seconds,
            )
    except FileNotFoundError as error:
        raise Problem(f"{path!r} is compressed, and {tool} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Problem(f"{path!r} is compressed, and {tool} took over {seconds:g} s") from error
    if done.returncode:
        raise Problem(f"{path!r} is compressed by {tool} and damaged")
    return str(target)


def _is_utf8(path: str) -> bool:
    """Whether GDB's Python can decode a file name (GDB 13.1 gives an error otherwise)."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
