"""What a forecast asks of the machine: files, environment, rights, limits, the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import gdb

from gdbext.elf.arch import ARCHES, Arch
from gdbext.elf.file import open_elf
from gdbext.elf.problem import Problem
from gdbext.inferior.files import open_searches
from gdbext.inferior.frames import demangle
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.needs.cache import read_cache
from gdbext.linker.opening.filesystem import FileSystem
from gdbext.linker.opening.host import Host, Surroundings, host_of_process, host_of_program
from gdbext.linker.opening.prospect import Layers, interpreter_of
from gdbext.linker.opening.rights import (
    NO_RIGHTS,
    Rights,
    parse_confinement,
    parse_credentials,
    parse_limits,
    parse_mounts,
)
from gdbext.linker.process.environment import initial_environment
from gdbext.linker.process.regions import own_path

if TYPE_CHECKING:
    from gdbext.inferior import Inferior

_X86_64 = 62
_NO_PROGRAM = (
    "no process, and GDB has no program file: give it one (file PROGRAM), run the program, "
    "attach to a process or open a core"
)


class Start(NamedTuple):
    """A program that GDB would start: `preloads` are the names in LD_PRELOAD."""

    program: str
    host: Host
    layers: Layers
    preloads: tuple[str, ...]


def process_host(inferior: Inferior, linker: Linker) -> tuple[Host, Layers]:
    """The process, and the memory in which files can be put beside its own."""
    pid, native = inferior.gdb.pid, inferior.target == "native"
    environment = initial_environment(inferior)
    searches = open_searches(inferior, linker)
    if native:
        directory, root = _link(f"/proc/{pid}/cwd"), _link(f"/proc/{pid}/root")
        directory = own_path(directory, root or "") if directory else None
        view = FileSystem((f"/proc/{pid}/root",), directory, read_rights(pid), pid)
    else:
        view = FileSystem(_roots(), None)
    around = _surroundings(view, environment, searches.cache, inferior.arch, native)
    host = host_of_process(
        inferior, inferior.arch, linker, inferior.tables, inferior.threads, searches, around
    )
    return host, Layers(inferior.memory)


def program_start() -> Start:
    """The program that GDB was given, with the environment that GDB would give it.

    Raises Problem where there is none.
    """
    space = gdb.current_progspace()
    program = space.filename if space else None
    if not program:
        raise Problem(_NO_PROGRAM)
    file = open_elf(program)
    arch = next((a for a in ARCHES if a.machine == file.image.header.machine), None)
    if arch is None:
        raise Problem(f"{program} is for a CPU that gdbext does not know")
    environment = _given_environment()
    view = FileSystem(_roots(), str(gdb.parameter("cwd") or os.getcwd()), read_rights(None))
    native = arch.machine == _own_machine()
    root = next(iter(_roots()))
    cache = read_cache(f"{root}/etc/ld.so.cache")
    around = _surroundings(view, environment, cache, arch, native)
    interpreter = interpreter_of(file.memory, file.image)
    host, layers = host_of_program(arch, program, interpreter, around)
    words = environment.get("LD_PRELOAD", "").replace(":", " ").split()
    return Start(program, host, layers, tuple(words))


def _surroundings(
    view: FileSystem,
    environment: Mapping[str, str] | None,
    cache: Mapping[str, set[str]],
    arch: Arch,
    native: bool,
) -> Surroundings:
    cpuinfo = _text("/proc/cpuinfo") if native and arch.machine == _X86_64 else None
    musl_path = None
    try:
        name = {62: "x86_64", 183: "aarch64"}[arch.machine]
        musl_path = view.open(f"/etc/ld-musl-{name}.path").data[:].decode("utf-8", "replace")
    except (Problem, KeyError):
        pass  # musl's own directories count then
    return Surroundings(view, environment, cache, cpuinfo or None, musl_path, demangle)


def _roots() -> tuple[str, ...]:
    """GDB's sysroot, and / behind it, where qemu looks as well."""
    sysroot = str(gdb.parameter("sysroot") or "")
    if sysroot and not sysroot.startswith("target:"):
        return sysroot.rstrip("/"), ""
    return ("",)


def read_rights(pid: int | None) -> Rights:
    """By /proc; for a process that GDB would start (None), those of GDB itself."""
    folder = f"/proc/{pid or 'self'}"
    status = _text(f"{folder}/status")
    if not status:
        return NO_RIGHTS
    try:
        files = len(os.listdir(f"{folder}/fd")) if pid else None
    except OSError:
        files = None
    limits = parse_limits(_text(f"{folder}/limits"), status, files)
    if pid is None:
        limits = limits._replace(space_used=0, data_used=0)
    return Rights(
        parse_credentials(status),
        parse_mounts(_text(f"{folder}/mountinfo")),
        limits,
        parse_confinement(_text(f"{folder}/attr/current")),
    )


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""  # another kernel, or a process that is not ours


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _own_machine() -> int | None:
    """The e_machine of this computer."""
    names = {"x86_64": 62, "aarch64": 183}
    return names.get(os.uname().machine)


def _given_environment() -> dict[str, str]:
    """What GDB would hand to the program."""
    lines = gdb.execute("show environment", to_string=True).splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name: value for name, _, value in pairs}
