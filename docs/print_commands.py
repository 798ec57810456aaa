"""Print docs/commands.md from the commands' own help; GDB runs this with gdbext sourced."""

from __future__ import annotations

import gdb

from gdbext.commands import COMMANDS
from gdbext.settings import SETTINGS


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text.strip()}\n```\n"


def _help(topic: str) -> str:
    return gdb.execute(f"help {topic}", to_string=True)


sections = [_section(command.name, _help(command.name)) for command in COMMANDS]
sections += [_section(f"set {name}", _help(f"set {name}")) for name in SETTINGS]
gdb.write("# Commands and settings\n\nMade from their own help by `make docs`.\n\n")
gdb.write("\n".join(sections))
