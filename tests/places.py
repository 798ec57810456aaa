"""plug-where in a session, for the tests of it."""

from __future__ import annotations

import json
from typing import Any

from tests import harness
from tests.harness import Gdb


def where(gdb: Gdb, expression: str) -> dict[str, Any]:
    # Of a core that GDB made itself it says that a section is too small.
    said = gdb.cmd(f"plug-where -json {expression}").splitlines()
    assert said[:-1] == [] or all(line.startswith("warning: ") for line in said[:-1]), said
    return harness.validated(json.loads(said[-1]))


def value(gdb: Gdb, expression: str) -> int:
    return harness.printed_address(gdb.cmd(f"print/x (long)({expression})").partition("=")[2])
