"""What holds for every command on bad input."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from tests.harness import Batch, Gdb

COMMANDS = (
    "plug-links", "plug-got", "plug-got -all", "plug-regs", "plug-where $pc", "plug-needed",
)  # fmt: skip


BUG = re.compile(r"Traceback|Python Exception|Error occurred in Python|internal-error")


def one_clear_line(done: Batch, command: str) -> str:
    """Standard error of a batch that failed in COMMAND, which must be its last line."""
    assert done.status != 0, done
    assert not BUG.search(done.stdout + done.stderr), done
    last = done.stderr.rstrip("\n").splitlines()[-1]
    assert last.startswith(command.split(maxsplit=1)[0] + ": "), done
    assert '"gdbext/' not in done.stdout
    return last


def survives(gdb: Gdb) -> Iterator[tuple[str, str]]:
    """What each command says, as text and as JSON; none may end in a traceback."""
    for command in COMMANDS:
        for line in (command, f"{command} -json"):
            said = gdb.cmd(line)
            assert not BUG.search(said), said
            if said.startswith("plug-"):
                assert "\n" not in said, said
            elif line.endswith("-json"):
                json.loads(said.splitlines()[-1])
            yield line, said
