"""Standard error of `gdbext report`: a line that changes on a terminal, nothing in a pipe."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests.cores import Core
from tests.harness import gdb_program
from tests.reporting import TIMEOUT, command, own_environment, report


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_a_line_of_progress(core: Callable[..., Core], tmp_path: Path) -> None:
    made = core("nullcall/host")
    slow = tmp_path / "slow-gdb"  # which takes more than a second to begin
    slow.write_text(f'#!/bin/sh\nsleep 1.5\nexec {gdb_program()} "$@"\n')
    slow.chmod(slow.stat().st_mode | stat.S_IXUSR)
    # standard output elsewhere, so that the terminal holds what is said on standard error alone
    words = command(made.path, "--gdb", slow)
    answer = tmp_path / "answer.txt"
    shell = ["-c", f'exec "$@" >{answer}', "sh", *words]
    terminal = pexpect.spawn(
        "/bin/sh", shell, env=own_environment(), encoding="utf-8", timeout=TIMEOUT
    )
    terminal.expect(pexpect.EOF)
    terminal.close()
    said = str(terminal.before)
    assert terminal.exitstatus == 0, said
    assert re.search(r"gdbext: opening it in GDB, \d+ s", said)
    assert "\n" not in said
    assert said.endswith("\r\x1b[K")  # the line is gone at the end
    assert answer.read_text().startswith("[gdbext] SIGSEGV: ")
    piped = report(made.path, "--gdb", slow)
    assert (piped.returncode, piped.stderr) == (0, "")
