"""What all commands share: completion, spelling of options, -out, help, settings."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cores import Core
from tests.harness import Batch, Gdb

COMMANDS = ("plug-links", "plug-got", "plug-regs", "plug-where $sp", "plug-tls", "plug-needed")


def complete(gdb: Gdb, line: str) -> list[str]:
    """What GDB offers for `line`, without the line's own start."""
    start = line.rpartition(" ")[0]
    return [row[len(start) :].strip() for row in gdb.cmd(f"complete {line}").splitlines()]


def test_completion(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until="loaded")
    assert {"plug-got", "plug-links", "plug-regs", "plug-tls", "plug-where"} <= set(
        complete(gdb, "plug-")
    )
    assert complete(gdb, "plug-links -se") == ["-search"]
    assert complete(gdb, "plug-links --se") == ["--search"]
    assert complete(gdb, "plug-got -") == ["-all", "-json", "-out", "-symbol", "-verdict"]
    assert complete(gdb, "plug-got -verdict un") == ["unverified"]
    assert complete(gdb, "plug-links libl") == ["liblate.so", "liblazy.so"]
    assert complete(gdb, "plug-got -all libn") == ["libnodelete.so", "libnow.so"]
    assert complete(gdb, "plug-links liblazy.s") == ["liblazy.so"]
    assert "main" in complete(gdb, "plug-where mai")
    assert complete(gdb, "set plug stop-on-") == ["stop-on-dlopen", "stop-on-segv"]


@pytest.mark.parametrize("command", COMMANDS)
def test_json_and_out(live: Callable[..., Gdb], tmp_path: Path, command: str) -> None:
    gdb = live("dlopens/host", until="loaded")
    document = gdb.json(command)
    assert json.loads(gdb.cmd(f"{command} --json")) == document
    written = tmp_path / "a b.json"
    assert gdb.cmd(f"{command} -json -out '{written}'") == ""
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert json.loads(written.read_text()) == document
    assert not list(tmp_path.glob("*.part"))


def test_settings_show_and_refuse(gdb: Callable[..., Gdb]) -> None:
    session = gdb()
    assert "is on" in session.cmd("show plug stop-on-segv")
    session.cmd("set plug stop-on-segv off")
    assert "is off" in session.cmd("show plug stop-on-segv")
    assert "no regular expression" in session.cmd("set plug stop-on-dlopen (")
    assert "'off'" in session.cmd("show plug stop-on-dlopen")
    assert "stop-on-dlopen" in session.cmd("help set plug")
    names = ("stop-on-segv", "stop-on-dlopen", "trace", "trace-file", "trace-limit")
    every = [session.cmd(f"show plug {name}") for name in names]
    assert session.cmd("show plug").splitlines() == every
    assert "stop-on-dlopen" in session.cmd("set plug")
    for verb in ("set", "show"):
        assert "no setting 'nonsense'" in session.cmd(f"{verb} plug nonsense")


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_a_core_without_private_memory(
    core: Callable[..., Core], batch: Callable[..., Batch]
) -> None:
    """coredump_filter 0: the linker's state is not in it, and that is said."""
    made = core("nullcall/host", filter=0)
    done = batch("-ex", "plug-links", str(made.program), str(made.path))
    assert done.status == 1
    assert "plug-links: the program's dynamic section cannot be read" in done.stderr
    assert batch("-ex", "plug-regs", str(made.program), str(made.path)).status == 0
