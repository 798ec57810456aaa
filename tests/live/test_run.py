"""`gdbext run`: the program is the user's own, the report comes after it, the status is its own.

x86-64 alone: what runs under qemu is qemu to the kernel.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from gdbext.elf.core import open_core
from tests import programs
from tests.harness import TIMEOUT, gdb_program, validated
from tests.programs import Program
from tests.shell import gdbext, shell_environment, words

WAYS = pytest.mark.parametrize("way", [[], ["--native"]], ids=["gdb", "native"])
GDB = ["--gdb", gdb_program()]
# Reads a line, writes to both outputs, starts another program, and ends as it is told.
TALKER = """
import os, signal, subprocess, sys
line = input()
print("out", line, flush=True)
print("err", file=sys.stderr, flush=True)
subprocess.run(["true"], check=True)
if sys.argv[1] == "term": os.kill(os.getpid(), signal.SIGTERM)
sys.exit(int(sys.argv[1]))
"""


@WAYS
@pytest.mark.parametrize(("end", "status"), [("0", 0), ("1", 1), ("7", 7), ("term", 143)])
def test_a_program_that_does_not_crash(
    way: list[str], end: str, status: int, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", TALKER, end]
    done = gdbext("run", *GDB, *way, "--", *command, cwd=tmp_path, stdin="line\n")
    assert (done.returncode, done.stdout, done.stderr) == (status, "out line\n", "err\n")
    assert list(tmp_path.iterdir()) == []


@WAYS
def test_a_crash_in_an_unloaded_library(
    way: list[str], native: Callable[[str], Program], tmp_path: Path
) -> None:
    """Known for certain, also without a debugger: from ld.so's own log."""
    host = native("unloaded/host")
    old = tmp_path / "core"
    old.write_text("of an earlier crash")
    written = tmp_path / "report.json"
    done = gdbext("run", *GDB, *way, "--json", written, "--", host.path, "call", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (139, "")
    program, report = done.stdout.split("[gdbext] ", 1)
    assert "Frames" not in program
    title = "SIGSEGV: host called work of libgone.so, which was unloaded"
    assert report.splitlines()[0] == title
    document = validated(json.loads(written.read_text()))
    frame = document["frames"][0]
    assert (frame["unloaded"], frame["probable"], frame["symbol"]) == (True, False, "work")
    assert frame["module"] == str(host.folder / "libgone.so")
    assert old.read_text() == "of an earlier crash"
    assert {path.name for path in tmp_path.iterdir()} == {"core", "report.json"}


def test_the_core_is_kept_if_asked_for(native: Callable[[str], Program], tmp_path: Path) -> None:
    """The program crashes in another folder than the one that it was started in."""
    host = native("nullcall/host")
    kept = tmp_path / "kept"
    there = tmp_path / "there"
    there.mkdir()
    script = 'cd there; sleep 1; exec "$0"'
    arguments: list[str | Path] = ["--keep-core", kept, "--", "sh", "-c", script, host.path]
    done = gdbext("run", *GDB, "--native", *arguments, cwd=tmp_path)
    assert done.returncode == 139, done.stderr
    assert "optional_feature, whose GOT slot is null" in done.stdout
    assert open_core(str(kept)).signal == 11
    assert kept.stat().st_mode & 0o777 == 0o600
    assert list(there.iterdir()) == []


def test_a_reader_that_leaves_changes_no_status(tmp_path: Path) -> None:
    """As `gdbext run … | head` does."""
    crashing = words("run", *GDB, "--native", "--", "sh", "-c", "kill -ABRT $$")
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as closed:
        done = subprocess.run(
            crashing, stdout=closed, stderr=subprocess.PIPE, cwd=tmp_path, env=shell_environment()
        )
    assert (done.returncode, done.stderr) == (134, b"")


def test_a_child_that_crashes(native: Callable[[str], Program], tmp_path: Path) -> None:
    """Its parent goes on; a core that the user had stays, and the new one is told."""
    host = native("nullcall/host")
    (tmp_path / "core").write_text("of an earlier crash")
    script = '"$0"; echo status $?; exit 5'
    done = gdbext("run", *GDB, "--native", "--", "sh", "-c", script, host.path, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (5, "status 139")
    found = re.search(r"gdbext: process (\d+) crashed, too; its core is (.*)\n", done.stderr)
    assert found, done.stderr
    assert open_core(found[2]).pid == int(found[1])
    assert (tmp_path / "core").read_text() == "of an earlier crash"


def test_a_musl_program_has_no_log(built: None, tmp_path: Path) -> None:  # noqa: ARG001
    host = programs.program("nullcall/host", "musl")
    done = gdbext("run", *GDB, "--native", "--", host.path, cwd=tmp_path)
    assert done.returncode == 139, done.stderr
    assert "[gdbext] SIGSEGV" in done.stdout


def test_signals_that_the_program_handles(native: Callable[[str], Program]) -> None:
    host = native("ownsegv/host")
    done = gdbext("run", *GDB, "--", host.path)
    assert (done.returncode, done.stderr) == (7, "")
    assert "recovered 20\n" in done.stdout
    assert "[gdbext]" not in done.stdout
    trap = (
        "import os, signal; signal.signal(5, lambda *_: print('trapped')); os.kill(os.getpid(), 5)"
    )
    done = gdbext("run", *GDB, "--", sys.executable, "-c", trap)
    assert (done.returncode, done.stdout) == (0, "trapped\n")
    done = gdbext("run", *GDB, "--", "sh", "-c", "kill -TRAP $$")
    assert done.returncode == 133
    assert done.stdout.startswith("[gdbext] SIGTRAP: sent by the process itself")


@WAYS
def test_the_terminal_is_the_programs(way: list[str]) -> None:
    """A shell in it has job control, and Ctrl-C reaches what runs in there and nothing else."""
    command, *arguments = words("run", *GDB, *way, "--", "bash", "--norc", "-i")
    child = pexpect.spawn(
        command, arguments, env=shell_environment(PS1="prompt> "), encoding="utf8", timeout=TIMEOUT
    )
    child.expect_exact("prompt> ")
    child.sendline("sh -c 'echo star''ted; sleep 1000'")
    child.expect_exact("started")
    child.sendintr()
    while child.expect_exact(["prompt> ", pexpect.TIMEOUT], timeout=1):
        child.sendintr()  # bash had not given the terminal away yet
    child.sendline("exit $((6 * 7))")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 42


def test_programs_that_cannot_be_run(built: None, tmp_path: Path) -> None:  # noqa: ARG001
    plain, script = tmp_path / "plain", tmp_path / "script"
    plain.touch()
    script.write_text("no interpreter\n")
    script.chmod(0o755)
    foreign = programs.program("nullcall/host", "aarch64").path
    for program, text in (
        ("no-such-program", "there is no such program in PATH"),
        (tmp_path / "none", "there is no such file"),
        (tmp_path, "is a folder"),
        (plain, "is not executable"),
        (script, "cannot be run: Exec format error"),
        (foreign, "is a program for CPU aarch64, and this machine's is x86_64"),
    ):
        for way in ([], ["--native"]):
            done = gdbext("run", *GDB, *way, "--", program)
            assert (done.returncode, done.stdout) == (2, "")
            assert re.fullmatch(f"gdbext: .*{re.escape(text)}.*\n", done.stderr), done.stderr
    done = gdbext("run", "--gdb", "/nonexistent/gdb", "--", "echo", "started")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gdbext: /nonexistent/gdb is not installed; --gdb names another GDB\n"
