"""The crash report, cut into its parts."""

from __future__ import annotations

import os
import re

BY_US = f"by process {os.getpid()} of user {os.getuid()}"  # of a signal that a test sends
LINE = re.compile(r"^  (\S[\w ]*?)  +(.*)$")


class Report:
    """The parts of a report, cut out of what GDB said at the stop."""

    def __init__(self, said: str) -> None:
        assert said.count("[gdbext] SIG") == 1, said
        self.text = said[said.index("[gdbext] ") :]
        self.lines = self.text.splitlines()
        self.title = self.lines[0].removeprefix("[gdbext] ")
        frames, registers = self.lines.index("Frames:"), self.lines.index("Registers:")
        head = [line for line in self.lines[1:frames] if line.startswith("  ")]
        self.facts = {m[1]: m[2] for m in map(LINE.match, head) if m and "=>" not in m[1]}
        self.source = [line for line in self.lines[1:frames] if re.match(r"  (=>|  ) +\d+ ", line)]
        self.frames = self.lines[frames + 1 : registers]
        self.registers = self.lines[registers + 1 :]
