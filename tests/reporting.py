"""`gdbext report` as a script runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cores import Core
from tests.harness import environment, gdb_program, validated
from tests.programs import ARM64_ROOT, CHECKOUT

COMMAND = "import sys; from gdbext.cli import main; sys.exit(main(sys.argv[1:]))"
TIMEOUT = 240


def command(*arguments: str | Path) -> list[str]:
    """The command line of `gdbext report`."""
    return [sys.executable, "-c", COMMAND, "report", *map(str, arguments)]


def own_environment(**changes: str) -> dict[str, str]:
    """The environment in which gdbext is this checkout's."""
    return environment(PYTHONPATH=f"{CHECKOUT}:{environment()['PYTHONPATH']}", **changes)


def report(*arguments: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """How `gdbext report` ended, with the GDB under test unless ARGUMENTS name another; `changes`
    are of its environment."""
    if "--gdb" not in arguments:
        arguments = (*arguments, "--gdb", gdb_program())
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=own_environment(**changes),
        timeout=TIMEOUT,
    )


def options(made: Core) -> list[str | Path]:
    """What GDB must be told for a core of another machine."""
    if not made.arm64:
        return ["--gdb", gdb_program()]
    return ["--gdb", gdb_program(arm64=True), "--sysroot", ARM64_ROOT]


def document(*arguments: str | Path, **changes: str) -> dict[str, Any]:
    """The document of a report that succeeds without a word on standard error."""
    done = report(*arguments, "--json", "-", **changes)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return validated(json.loads(done.stdout))


def names(found: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    """(module's file name, symbol) of each frame."""
    rows = ((f["module"], f["symbol"]) for f in found["frames"])
    return [(Path(module).name if module else None, symbol) for module, symbol in rows]
