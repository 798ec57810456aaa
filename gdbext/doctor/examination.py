"""All that the doctor found, and the JSON document of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from gdbext import __version__
from gdbext.doctor import gdbs, machine
from gdbext.doctor.check import Check


@dataclass(frozen=True)
class Examination:
    """The examined GDBs, the default one first, and the machine."""

    gdbs: tuple[gdbs.Gdb, ...]
    machine: tuple[Check, ...]

    @property
    def works(self) -> bool:
        """Whether gdbext can work in the default GDB."""
        return bool(self.gdbs) and self.gdbs[0].works


def examine(paths: Sequence[str]) -> Examination:
    """Examine these GDBs, or those on PATH where none is named, and the machine."""
    chosen = list(paths) or gdbs.default_gdbs()
    return Examination(tuple(gdbs.examine(path) for path in chosen), tuple(machine.examine()))


def document(found: Examination) -> dict[str, object]:
    """Give the examination as a JSON document (schemas/doctor.json)."""
    return {
        "schema": "gdbext/doctor/1",
        "gdbext": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "works": found.works,
        "gdbs": [asdict(gdb) for gdb in found.gdbs],
        "machine": [asdict(check) for check in found.machine],
    }
