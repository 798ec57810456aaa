"""`gdbext triage` as a process, with a GDB that takes no time: nothing stops it or is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from gdbext import __version__, cli
from gdbext.elf.core import NT_PRSTATUS
from gdbext.elf.problem import Problem
from gdbext.triage import cluster
from tests.triages import (
    FakeGdb,
    alive,
    answer,
    command,
    line_count,
    lines_of,
    running,
    surroundings,
    triage,
    wait_for,
)
from tests.unit.crafted import make_core, note

Call = Callable[..., subprocess.CompletedProcess[str]]
CORE = make_core({0x400000: b"A" * 64}, note(b"CORE", NT_PRSTATUS, bytes(336)))


@pytest.fixture
def gdb(tmp_path: Path) -> FakeGdb:
    return FakeGdb(tmp_path)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """call(CORE, "--json", "-"): how `gdbext triage` ends, in this process."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        words = ["triage", *map(str, arguments)]
        try:
            status = cli.main(words)
        except SystemExit as stop:  # argparse's own
            status = int(str(stop.code))
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(words, status, shown.out, shown.err)

    return run


def cores(folder: Path, *names: str) -> Path:
    (folder / "cores").mkdir()
    for name in names:
        (folder / "cores" / name).write_bytes(CORE)
    return folder / "cores"


def test_no_core_stops_the_others(tmp_path: Path, gdb: FakeGdb, call: Call) -> None:
    folder = cores(tmp_path, "ok-1", "ok-2", "abort-1", "die-1", "bad-1", "hang-1", "hang-2")
    done = call(folder, "-j", "3", "--gdb", gdb.path, "--timeout", "1", "--json", "-")
    assert (done.returncode, done.stderr) == (0, "")
    found = answer(done)
    assert [(group["count"], group["what"]) for group in found["groups"]] == [
        (2, "SIGSEGV"), (1, "SIGABRT"),
    ]  # fmt: skip
    problems = {os.path.basename(row["core"]): row["problem"] for row in found["failed"]}
    assert set(problems) == {"die-1", "bad-1", "hang-1", "hang-2"}
    assert problems["bad-1"] == "no report: this one is damaged"
    assert problems["hang-1"].startswith("not done after 1 s")
    started = gdb.started()
    assert len(started) == len({core for _, core in started}) == 7
    assert not [pid for pid, _ in started if alive(pid)]


def test_exit_status(tmp_path: Path, gdb: FakeGdb, call: Call) -> None:
    folder = cores(tmp_path, "ok-1", "bad-1")
    options = ("--gdb", gdb.path, "--jsonl", tmp_path / "file.jsonl")
    assert call(folder, *options).returncode == 0
    assert call(folder, *options, "--fail-on", "failed").returncode == 1
    assert call(folder / "ok-1", *options, "--fail-on", "failed").returncode == 0
    none = call(folder / "bad-1", *options)
    assert none.returncode == 2
    assert none.stderr == "gdbext: none of 1 core could be read\n"
    assert "this one is damaged" in none.stdout
    assert call("--jsonl", tmp_path / "file.jsonl").stdout.startswith("2 cores: 1 crash")


def test_a_wrong_call_gives_one_line(tmp_path: Path, gdb: FakeGdb, call: Call) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes").write_text("mine\n")
    core = cores(tmp_path, "ok-1") / "ok-1"
    for arguments, words in (
        ([], "name cores or folders"),
        ([tmp_path / "folder"], "there is no core to read"),
        ([core, "--jsonl", tmp_path / "notes"], "line 1 of"),
        ([core, "--jsonl", tmp_path / "no" / "file"], "No such file"),
        ([core, "--reports", tmp_path / "notes"], "cannot make"),
        ([core, "--gdb", gdb.path, "--json", tmp_path / "no" / "file"], "No such file"),
        ([core, "-j", "0"], "at least one at a time"),
        ([core, "-j", "1", "--dask", "x:1"], "not allowed with"),
        ([core, "--timeout", "nan"], "a number of seconds above 0"),
    ):
        done = call(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert words in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    assert (tmp_path / "notes").read_text() == "mine\n"


def test_killed_at_any_moment_it_goes_on(tmp_path: Path, gdb: FakeGdb) -> None:
    names = [f"slow-{number}" for number in range(8)]
    folder, kept = cores(tmp_path, *names), tmp_path / "file.jsonl"
    options = (folder, "-j", "2", "--gdb", gdb.path, "--jsonl", kept, "--json", "-")
    for enough in (2, 4):
        with running(*options, folder=tmp_path) as process:
            wait_for(lambda: line_count(kept) >= enough, process)  # noqa: B023
            process.send_signal(signal.SIGKILL)
            process.wait()
        with kept.open("ab") as file:
            file.write(b'{"schema": "gdbext/triage-co')
    before = kept.read_bytes().rpartition(b"\n")[0]
    found = answer(triage(*options))
    assert found["groups"][0]["count"] == 8
    assert kept.read_bytes().startswith(before)
    assert sorted(Path(line["core"]).name for line in lines_of(kept)) == sorted(names)
    assert len(gdb.started()) <= 8 + 2 * 2  # what ran when it was killed is done again


def test_interrupted_it_ends_its_gdbs(tmp_path: Path, gdb: FakeGdb) -> None:
    folder, kept = cores(tmp_path, "ok-1", "hang-1", "hang-2", "hang-3"), tmp_path / "file.jsonl"
    for number in (signal.SIGINT, signal.SIGTERM):
        before = len(gdb.started())
        with running(
            folder, "-j", "4", "--gdb", gdb.path, "--jsonl", kept, folder=tmp_path
        ) as process:
            hanging = {"hang-1", "hang-2", "hang-3"}
            wait_for(lambda: hanging <= {core for _, core in gdb.started()[before:]}, process)  # noqa: B023
            wait_for(lambda: line_count(kept) == 1, process)
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=60)
        assert (process.returncode, stdout) == (130, "")
        words = f"{kept} has it, the same command goes on"
        assert stderr == f"gdbext: interrupted, 1 core done; {words}\n"
        assert not [pid for pid, _ in gdb.started() if alive(pid)]
    assert [Path(line["core"]).name for line in lines_of(kept)] == ["ok-1"]


def test_reports_are_kept(tmp_path: Path, gdb: FakeGdb, call: Call) -> None:
    folder, kept = cores(tmp_path, "ok-1", "bad-1"), tmp_path / "file.jsonl"
    call(folder, "--gdb", gdb.path, "--jsonl", kept, "--reports", tmp_path / "reports")
    (report,) = [line["report"] for line in lines_of(kept) if line["report"]]
    assert [str(path) for path in (tmp_path / "reports").iterdir()] == [report]
    assert (tmp_path / "reports").stat().st_mode & 0o777 == 0o700


def test_progress_is_for_a_terminal(tmp_path: Path, gdb: FakeGdb) -> None:
    folder = cores(tmp_path, *(f"slow-{number}" for number in range(12)))
    words = command(folder, "-j", "1", "--gdb", gdb.path)
    env = surroundings(TERM="xterm", NO_COLOR="1")
    shown = pexpect.spawn(words[0], words[1:], env=env, encoding="utf-8", dimensions=(24, 80))
    shown.expect(r"gdbext: (\d+) of 12 cores, 1 signature, about \d+ s left, \d s")
    assert isinstance(shown.match, re.Match)
    assert int(shown.match[1]) > 0
    shown.expect(pexpect.EOF)
    text = re.sub(r"\r\x1b\[K(gdbext: [^\r]*)?", "", str(shown.before))
    assert "12 cores, signature" in text
    assert "gdbext: " not in text
    shown.close()
    assert shown.exitstatus == 0


# ----------------------------------------------------------------------- a cluster that is not


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:1"])
def test_a_cluster_that_does_not_answer(
    tmp_path: Path, address: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT", 1)
    done = call(cores(tmp_path, "ok-1"), "--dask", address)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"gdbext: no Dask scheduler answers at '{address}': ")
    assert done.stderr.count("\n") == 1


def test_without_the_extra(tmp_path: Path) -> None:
    (tmp_path / "distributed.py").write_text("raise ModuleNotFoundError('no distributed')\n")
    path = f"{tmp_path}:{surroundings()['PYTHONPATH']}"
    done = triage(cores(tmp_path, "ok-1"), "--dask", "127.0.0.1:1", PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "gdbext: --dask needs Dask's distributed; install it with: pip install 'gdbext[dask]'\n"
    )


@pytest.mark.parametrize(
    ("version", "words"), [(None, "has no gdbext"), ("0.0.1", "has gdbext 0.0.1")]
)
def test_a_worker_with_another_gdbext(version: str | None, words: str) -> None:
    with pytest.raises(Problem, match=f"tcp://x:2 {words}, "):
        cluster.check_versions({"tcp://x:1": __version__, "tcp://x:2": version})
