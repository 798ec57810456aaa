"""The shell command `gdbext`, as a user's shell starts it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.harness import TIMEOUT, environment
from tests.programs import CHECKOUT

_COMMAND = "import sys; from gdbext.cli import main; sys.exit(main(sys.argv[1:]))"


def words(*arguments: str | Path | int) -> list[str]:
    """The words of `gdbext ARGUMENTS`."""
    return [sys.executable, "-c", _COMMAND, *map(str, arguments)]


def shell_environment(**changes: str) -> dict[str, str]:
    """What `gdbext` is run with: this checkout is the package."""
    fixed = environment()
    return {**fixed, "PYTHONPATH": f"{CHECKOUT}:{fixed['PYTHONPATH']}", **changes}


def gdbext(
    *arguments: str | Path | int,
    cwd: Path = CHECKOUT,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        words(*arguments),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=shell_environment(**(env or {})),
        input=stdin,
        timeout=4 * TIMEOUT,
    )
