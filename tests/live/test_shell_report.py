"""`gdbext report CORE`, as a script runs it: the answer, the exit status, and bad input."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cores import Core
from tests.harness import validated
from tests.programs import Program
from tests.reporting import options, report


def test_a_report(core: Callable[..., Core], tmp_path: Path) -> None:
    made = core("nullcall/host")
    done = report(made.path, *options(made), "--json", tmp_path / "report.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("[gdbext] SIGSEGV: ")
    assert "\nModules:\n" in done.stdout
    written = tmp_path / "report.json"
    document = validated(json.loads(written.read_text()))
    assert document["signal"] == "SIGSEGV"
    assert written.stat().st_mode & 0o777 == 0o600
    if not made.arm64:
        assert document["cause"]["rule"] == "null_slot"
        assert "optional_feature" in done.stdout.splitlines()[0]
        assert document["crash_frame"]["file"].endswith("nullcall/plugin.c")


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_the_answer_alone_is_on_standard_output(core: Callable[..., Core], tmp_path: Path) -> None:
    made = core("nullcall/host")
    packed = tmp_path / "core.xz"
    packed.write_bytes(lzma.compress(made.path.read_bytes()))
    done = report(packed, "--json", "-", *options(made))
    assert done.returncode == 0, done.stderr
    assert validated(json.loads(done.stdout))["cause"]["rule"] == "null_slot"


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_a_program_that_is_gone(core: Callable[..., Core]) -> None:
    made = core("nullcall/host", gone=True)
    done = report(made.path, *options(made))
    assert done.returncode == 0, done.stderr
    assert "; name it by --exe for symbols" in done.stdout


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_bad_input(
    core: Callable[..., Core], program: Callable[[str], Program], tmp_path: Path
) -> None:
    made = core("nullcall/host")
    (tmp_path / "text").write_text("no core\n")
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_bytes(made.path.read_bytes()[:100])
    (tmp_path / "bad.xz").write_bytes(lzma.compress(b"x" * 1000)[:40])
    host = program("nullcall/host").path
    for arguments, words in (
        ([tmp_path / "none"], "cannot open"),
        ([tmp_path / "text"], "not an ELF image"),
        ([tmp_path / "empty"], "not an ELF image"),
        ([tmp_path / "short"], ""),
        ([tmp_path / "bad.xz"], "compressed by xz and damaged"),
        ([host], "is an ELF file but not a core"),
        ([made.path, "--exe", tmp_path / "none"], "cannot open"),
        ([made.path, "--gdb", "/nonexistent/gdb"], "is not installed"),
        ([made.path, "--json", tmp_path / "no" / "file"], "No such file"),
    ):
        done = report(*arguments)
        assert done.returncode == 2, (arguments, done.stdout)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
