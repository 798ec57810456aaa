"""Bad input: one clear line or as much as can be read; no traceback, no hang, an honest status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bad_input import BUG, COMMANDS, one_clear_line, survives
from tests.cores import Core
from tests.harness import Batch, Gdb
from tests.programs import Program
from tests.sessions import Sessions

NEEDS_LINKER = ("plug-links", "plug-got", "plug-got -all", "plug-needed")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_process(
    batch: Callable[..., Batch], native: Callable[[str], Program], command: str
) -> None:
    assert "no process: run the program" in one_clear_line(batch("-ex", command), command)
    path = str(native("dlopens/host").path)
    for arguments in (("-ex", command, path), ("-ex", "run", "-ex", command, path)):
        assert "no process" in one_clear_line(batch(*arguments), command)


@pytest.mark.parametrize("command", NEEDS_LINKER)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dlopens/host", "the dynamic linker has not run yet"),
        ("static/static_fixed", "this program is static"),
        ("static/static_stripped", "this program is static"),
    ],
)
def test_nothing_is_loaded(
    batch: Callable[..., Batch],
    native: Callable[[str], Program],
    command: str,
    name: str,
    text: str,
) -> None:
    done = batch("-ex", "starti", "-ex", command, str(native(name).path))
    assert text in one_clear_line(done, command)


def test_first_instruction_on_both_cpus(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until=None)
    said = dict(survives(gdb))
    assert "has not run yet" in said["plug-links"]
    assert "ld-" in said["plug-where $pc"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("plug-got nosuchmodule", "nosuchmodule"),
        ("plug-got -nosuch", "unrecognized arguments: -nosuch"),
        ("plug-links -nosuch", "unrecognized arguments: -nosuch"),
        ("plug-regs extra", "unrecognized arguments: extra"),
        ("plug-got -verdict nosuch", "nosuch"),
        ("plug-got -verdict", "expected one argument"),
        ("plug-links -out", "expected one argument"),
        ("plug-where", "required: ADDRESS"),
        ("plug-where nosuch", 'No symbol "nosuch"'),
        ("plug-links -out /nonexistent/folder/x", "cannot write '/nonexistent/folder/x'"),
        ("plug-regs -json -out /proc", "cannot write '/proc'"),
        ("plug-where $pc -out /", "cannot write '/'"),
    ],
)
def test_unknown_words_and_places(
    batch: Callable[..., Batch], native: Callable[[str], Program], line: str, text: str
) -> None:
    done = batch("-ex", "break main", "-ex", "run", "-ex", line, str(native("dlopens/host").path))
    assert text in one_clear_line(done, line)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 200, 2000, 5000, 20_000, 100_000])
def test_truncated_core(
    sessions: Sessions, core: Callable[..., Core], tmp_path: Path, size: int
) -> None:
    made = core("nullcall/host")
    says_something(sessions, made, tmp_path, made.path.read_bytes()[:size])


def says_something(sessions: Sessions, made: Core, folder: Path, data: bytes) -> None:
    """Every command on a core of these bytes says what it can, or in one line why it cannot."""
    path = folder / f"{len(sessions.all)}.core"
    path.write_bytes(data)
    gdb = sessions.core(replace(made, path=path))
    for command, said in survives(gdb):
        assert said.strip(), command
        if command.endswith("-json") and not said.startswith(f"{command.split()[0]}: "):
            assert '"gdbext/' in said, said


def test_half_a_core(sessions: Sessions, core: Callable[..., Core], tmp_path: Path) -> None:
    made = core("nullcall/host")
    data = made.path.read_bytes()
    for part in (len(data) // 2, len(data) - 1, len(data) - 5000):
        says_something(sessions, made, tmp_path, data[:part])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_truncated_core_ends_a_batch_with_an_honest_status(
    batch: Callable[..., Batch], core: Callable[..., Core], tmp_path: Path, command: str
) -> None:
    made = core("nullcall/host")
    cut = tmp_path / "cut.core"
    for part, ends in ((64, True), (made.path.stat().st_size - 1, False)):
        cut.write_bytes(made.path.read_bytes()[:part])
        done = batch("-ex", command, str(made.program), f"--core={cut}", arm64=made.arm64)
        assert not BUG.search(done.stdout + done.stderr), done
        if ends:
            one_clear_line(done, command)
        else:
            assert done.stdout.strip() or done.status != 0


@pytest.mark.parametrize("cpu", [pytest.param("aarch64", marks=pytest.mark.arm64)], indirect=True)
def test_core_of_another_cpu(batch: Callable[..., Batch], core: Callable[..., Core]) -> None:
    """Debian's plain gdb knows x86 alone; a GDB that knows both must be right about both."""
    made = core("nullcall/host")
    knows = batch("-ex", "set architecture aarch64", gdbext=False).status == 0
    for command in ("plug-links", "plug-got", "plug-regs", "plug-where 0", "plug-needed"):
        done = batch("-ex", command, f"--core={made.path}")
        if knows:
            assert done.status == 0, done
        else:
            assert "such as gdb-multiarch" in one_clear_line(done, command)


def test_a_file_that_is_no_core(
    batch: Callable[..., Batch], native: Callable[[str], Program], tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x7fELF" + bytes(range(256)) * 40)
    for path in (garbage, native("nullcall/host").path):
        one_clear_line(batch("-ex", "plug-links", f"--core={path}"), "plug-links")


def test_absurd_core_headers(sessions: Sessions, core: Callable[..., Core], tmp_path: Path) -> None:
    made = core("nullcall/host")
    data = bytearray(made.path.read_bytes())
    start = int.from_bytes(data[32:40], "little")
    for offset, value in (
        (56, b"\xff\xfe"),  # e_phnum
        (start + 8, b"\xff" * 8),  # p_offset of the notes
        (start + 32, b"\xff" * 7 + b"\x7f"),  # p_filesz of the notes
        (start + 56 + 32, b"\xff" * 7 + b"\x7f"),  # p_filesz of the first mapping
        (start + 56 + 40, b"\xff" * 8),  # p_memsz
    ):
        bad = data.copy()
        bad[offset : offset + len(value)] = value
        says_something(sessions, made, tmp_path, bytes(bad))
