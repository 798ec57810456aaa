"""A program that runs in GDB from its first instruction on, without being GDB's child.

It is ours: its terminal, its process group and its exit status are as a shell would have them.
"""

from __future__ import annotations

from pathlib import Path

from gdbext.postmortem.debugger import Target


def target(pid: int, gate: Path) -> Target:
    """GDB's view of a child that waits at a gate: on to its crash, if there is one.

    At its end GDB lets the program go, with the signal that stopped it.
    """
    run = f"run_until_crash({str(gate)!r})"
    return Target(
        "gdb",
        ("-p", str(pid)),
        # The symbols of what it is now, this very Python, are of no use.
        before=("set auto-solib-add off",),
        opening=(f"python from gdbext.stops.untilcrash import run_until_crash; {run}",),
        stage=None,
    )
