"""Cores: with their files and without, and one whose pid is another program's now."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import judges
from tests.cores import Core
from tests.files import local, look
from tests.harness import Gdb
from tests.programs import Program
from tests.sessions import Sessions

Document = dict[str, Any]


def judge_core(gdb: Gdb, core: Core, files: Path) -> None:
    """Every module and slot of a core; FILES is where the program's own files are."""
    links = gdb.json("plug-links")
    got = gdb.json("plug-got -all")
    objects = []
    for module in judges.modules(links):
        if module["kind"] == "vdso":
            continue
        name = os.path.basename(module["path"])
        own = files / name
        file = look(own if own.exists() else local(module["path"], core.arm64))
        base = int(module["start"], 16) - file.start
        assert int(module["base"], 16) == base
        assert module["build_id"] == file.build_id
        objects.append(judges.Object(module, file, base))
    if not core.arm64:  # qemu's cores have no NT_FILE
        rows = [row.strip().split(None, 4) for row in gdb.cmd("info proc mappings").splitlines()]
        elf = {r[4]: int(r[0], 16) for r in rows[::-1] if len(r) == 5 and r[4].startswith("/")}
        assert {
            os.path.realpath(o.module["path"]): int(o.module["start"], 16) for o in objects
        } == {os.path.realpath(path): start for path, start in elf.items()}
    judges.judge_got(gdb, got, objects)


def test_core_with_its_files(
    open_core: Callable[..., Gdb], core: Callable[..., Core], program: Callable[[str], Program]
) -> None:
    made = core("nullcall/host")
    judge_core(open_core(made), made, program("nullcall/host").folder)


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_core_without_program_and_libraries(
    open_core: Callable[..., Gdb], core: Callable[..., Core], program: Callable[[str], Program]
) -> None:
    made = core("nullcall/host", gone=True)
    gdb = open_core(made, with_program=False)
    judge_core(gdb, made, program("nullcall/host").folder)
    for name in ("host", "libplugin.so"):
        module = judges.called(gdb.json("plug-links"), name)
        assert (module["file"], module["file_reason"]) == (None, "its file is not on this machine")


def patch_pid(core: Path, target: Path, pid: int) -> None:
    """Copy CORE with PID in NT_PRSTATUS (pr_pid, at 32) and NT_PRPSINFO (pr_pid, at 24)."""
    data = bytearray(core.read_bytes())
    phoff, (phnum,) = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)
    patched = set()
    for at in range(phoff, phoff + 56 * phnum, 56):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, at)
        end = offset + size
        while kind == 4 and offset + 12 <= end:
            name_size, note_size, note = struct.unpack_from("<III", data, offset)
            desc = offset + 12 + (name_size + 3) // 4 * 4
            if note in (1, 3):
                struct.pack_into("<i", data, desc + (32 if note == 1 else 24), pid)
                patched.add(note)
            offset = desc + (note_size + 3) // 4 * 4
    assert patched == {1, 3}
    target.write_bytes(data)


def test_core_whose_pid_is_another_programs_now(
    sessions: Sessions, core: Callable[..., Core], tmp_path: Path
) -> None:
    made = core("nullcall/host")
    # libthread_db would take the thread's number from memory and leave GDB without registers
    alone = ["set libthread-db-search-path /nonexistent", f"file {made.program}"]
    commands = (
        "plug-links -search", "plug-got -all", "plug-regs", "plug-where $pc", "plug-needed",
    )  # fmt: skip
    gdb = sessions.gdb(arm64=made.arm64, before=[*alone, f"core-file {made.path}"])
    before = [gdb.json(command) for command in commands]
    living = ["gdb", "-nx", "-q", "-batch", "-ex", "python input()"]
    other = subprocess.Popen(living, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        patched = tmp_path / "patched.core"
        patch_pid(made.path, patched, other.pid)
        gdb = sessions.gdb(arm64=made.arm64, before=[*alone, f"core-file {patched}"])
        assert int(gdb.python("gdb.selected_inferior().pid")) == other.pid
        gdb.cmd("python import sys; opened = []")
        gdb.cmd("python sys.addaudithook(lambda e, a: e == 'open' and opened.append(str(a[0])))")
        assert [gdb.json(command) for command in commands] == before
        opened = gdb.python("[path for path in opened if path.startswith('/proc')]")
        assert opened == "[]"
        assert str(patched) in gdb.python("opened")
    finally:
        other.kill()
        other.wait()
