"""Forecasts for a real program that nobody starts, without GDB."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gdbext.elf.arch import ARCHES
from gdbext.elf.file import open_elf
from gdbext.findings.opening.dlopen_errors import Cause
from gdbext.findings.opening.forecast import forecast_start
from gdbext.linker.needs.cache import read_cache
from gdbext.linker.opening.filesystem import FileSystem
from gdbext.linker.opening.host import Surroundings, host_of_program
from gdbext.linker.opening.prospect import interpreter_of
from gdbext.linker.opening.rights import NO_RIGHTS, Rights
from tests import programs


def forecast(
    opened: Path | str | None = None,
    program: Path | None = None,
    rights: Rights = NO_RIGHTS,
    environment: dict[str, str] | None = None,
    cpuinfo: str | None = None,
    lazy: bool = False,
    release: int | None = None,
) -> Cause:
    """What loader/host's start, or its dlopen of OPENED, would end in; with glibc 2.RELEASE."""
    path = program or programs.program("loader/host").path
    file = open_elf(str(path))
    arch = next(a for a in ARCHES if a.machine == file.image.header.machine)
    view = FileSystem(("",), str(path.parent), rights)
    around = Surroundings(
        view, environment or {}, read_cache("/etc/ld.so.cache"), cpuinfo, None, lambda name: name
    )
    interpreter = interpreter_of(file.memory, file.image)
    host, layers = host_of_program(arch, str(path), interpreter, around)
    if release is not None:
        host = replace(host, release=lambda _linker, _tables: release)
    return forecast_start(
        host, layers, str(path), (), None if opened is None else str(opened), lazy
    )
