"""The reports of stops at dlopen, cut into their parts."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.harness import Gdb, HarnessError

ON = "set plug stop-on-dlopen on"


class Stop:
    """One report of a stop."""

    def __init__(self, said: str) -> None:
        assert said.count("[gdbext] ") == 1, said
        lines = said[said.index("[gdbext] ") :].splitlines()
        assert lines[0].endswith(" is mapped, its constructors have not run"), said
        self.name = lines[0].split()[1]
        rows = (re.match(r"  (\w+(?: \w+)?) +(.*)", line) for line in lines[1:])
        self.facts = {row[1]: row[2] for row in rows if row}


def stops(gdb: Gdb, first: str = "continue", most: int = 20) -> list[Stop]:
    """Every stop until the program has ended."""
    found: list[Stop] = []
    for number in range(most):
        said = gdb.cmd("continue" if number else first)
        if "[Inferior 1" in said:
            assert "[gdbext]" not in said
            return found
        found.append(Stop(said))
    raise HarnessError(f"more than {most} stops")


def started(live: Callable[..., Gdb], name: str, *arguments: str, **options: object) -> Gdb:
    gdb = live(name, *arguments, until=None, **options)
    gdb.cmd(ON)
    return gdb
