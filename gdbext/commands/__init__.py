"""The `plug-` commands, one file for each."""

from __future__ import annotations

from gdbext.commands.bundle import PlugBundle
from gdbext.commands.conflicts import PlugConflicts
from gdbext.commands.diff import PlugDiff
from gdbext.commands.got import PlugGot
from gdbext.commands.init import PlugInit
from gdbext.commands.links import PlugLinks
from gdbext.commands.needed import PlugNeeded
from gdbext.commands.regs import PlugRegs
from gdbext.commands.report import PlugReport
from gdbext.commands.snapshot import PlugSnapshot
from gdbext.commands.symbol import PlugSymbol
from gdbext.commands.threads import PlugThreads
from gdbext.commands.tls import PlugTls
from gdbext.commands.trace import PlugTrace
from gdbext.commands.watch import PlugWatch
from gdbext.commands.where import PlugWhere
from gdbext.commands.why import PlugWhy

COMMANDS = (
    PlugLinks,
    PlugGot,
    PlugRegs,
    PlugWhere,
    PlugSymbol,
    PlugConflicts,
    PlugNeeded,
    PlugInit,
    PlugTls,
    PlugThreads,
    PlugTrace,
    PlugWhy,
    PlugWatch,
    PlugSnapshot,
    PlugDiff,
    PlugReport,
    PlugBundle,
)


def register() -> None:
    """Make every command known to GDB. A command of the same name is replaced."""
    for command in COMMANDS:
        command()
