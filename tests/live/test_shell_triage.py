"""`gdbext triage` on real cores: what belongs together, what cannot be read, and a cluster."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gdbext.findings.crash.signature import signature
from tests.cores import Core, make_core
from tests.harness import NUMBERS, TIMEOUT, Gdb, validated
from tests.processes import process
from tests.programs import Program, program
from tests.triages import answer, line_count, lines_of, running, surroundings, triage, wait_for

pytestmark = [pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)]


def gdb_option() -> list[str]:
    """None where Debian's GDBs are tested: then each core gets the one for its CPU."""
    path = os.environ.get("GDBEXT_GDB")
    return ["--gdb", path] if path else []


def elsewhere(core: Core, folder: Path, cache: Path) -> Path:
    """The core of another run, of a copy of the same program in another folder."""
    copy = folder / "another place" / core.program.name
    shutil.copytree(core.program.parent, copy.parent)
    moved = Program("nullcall", copy, "x86_64")
    return make_core(cache, moved).path


def names(group: dict[str, Any]) -> list[str]:
    return [os.path.basename(core) for core in group["cores"]]


@pytest.fixture
def mixture(core: Callable[..., Core], core_cache: Path, tmp_path: Path) -> Path:
    """A folder of cores, and of what is none."""
    folder = tmp_path / "cores"
    folder.mkdir()
    null, gave_up = core("nullcall/host"), core("abort/host")
    arm64 = make_core(core_cache, program("nullcall/host", "aarch64"))
    (folder / "null-1").hardlink_to(null.path)
    (folder / "null-2").hardlink_to(elsewhere(null, tmp_path, core_cache))
    (folder / "abort-1").hardlink_to(gave_up.path)
    (folder / "abort-2.xz").write_bytes(lzma.compress(gave_up.path.read_bytes(), preset=0))
    (folder / "\x1b[31m\nnull-3").hardlink_to(null.path)
    (folder / "arm64-1").hardlink_to(arm64.path)
    (folder / "cut").write_bytes(null.path.read_bytes()[:3000])
    (folder / "notes").write_text("no core\n")
    (folder / "empty").touch()
    os.mkfifo(folder / "fifo")
    return folder


def test_what_belongs_together(mixture: Path, tmp_path: Path, live: Callable[..., Gdb]) -> None:
    bad = [mixture / name for name in ("notes", "empty", "fifo", "missing")]
    kept = tmp_path / "file.jsonl"
    arguments: list[str | Path] = [
        mixture,
        mixture / "null-1",
        *bad,
        "/dev/zero",
        "--jsonl",
        kept,
        *gdb_option(),
    ]
    done = triage(*arguments, "--json", "-", "--reports", tmp_path / "reports")
    assert done.stderr == ""
    found = answer(done)
    assert [names(group) for group in found["groups"][:2]] == [
        ["\x1b[31m\nnull-3", "null-1", "null-2"], ["abort-1", "abort-2.xz"],
    ]  # fmt: skip
    null, gave_up, arm64 = found["groups"]
    assert null["what"] == arm64["what"] == "null_slot"
    assert null["frames"][0]["kind"] == "null"
    assert null["frames"][1]["symbol"] == "plugin_run"
    assert [site["symbol"] for site in gave_up["frames"]] == ["plugin_run", "main"]
    assert len(null["programs"]) == 2
    assert {os.path.basename(row["core"]) for row in found["failed"]} == {
        "cut", "notes", "empty", "fifo", "missing", "zero",
    }  # fmt: skip
    assert all("\n" not in row["problem"] for row in found["failed"])
    for line in lines_of(kept):
        if line["report"]:
            report = validated(json.loads(Path(line["report"]).read_text()))
            assert signature(report).id == line["signature"]
    here = live("nullcall/host", until="SIGSEGV").json("plug-report")
    assert signature(here).id == null["signature"]

    before = kept.read_bytes()
    again = triage(*arguments)
    assert again.returncode == 0
    assert again.stdout.startswith("12 cores: 3 crash signatures, 6 could not be read\n\n3 cores, ")
    assert "\x1b" not in again.stdout
    rest = kept.read_bytes().removeprefix(before).splitlines()
    assert [json.loads(line)["core"] for line in rest] == [str(mixture / "missing")]


# ------------------------------------------------------------------------------------- a cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """(the address of a scheduler, its two workers) on this machine, ended with the test.

    As on many clusters the scheduler has no gdbext, or another one."""
    (tmp_path / "gdbext.py").write_text("raise ModuleNotFoundError('no gdbext here')\n")
    told = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    home = ["--host", "127.0.0.1", "--no-dashboard"]
    env = surroundings(TMPDIR=str(tmp_path))
    without = {**env, "PYTHONPATH": f"{tmp_path}:{env['PYTHONPATH']}"}
    folder = tmp_path / "dask"  # -m puts the working directory in front of all others
    folder.mkdir()
    with ExitStack() as stack:

        def start(env: dict[str, str], name: str, *words: str) -> subprocess.Popen[bytes]:
            log = tmp_path / f"{name}-{next(NUMBERS)}.log"
            return stack.enter_context(process([*dask, name, *words], log, folder, env))

        start(without, "scheduler", *home, "--port", "0", "--scheduler-file", str(told))
        options = ["--scheduler-file", str(told), *home, "--no-nanny", "--nthreads", "1"]
        workers = [start(env, "worker", *options) for _ in range(2)]
        wait_for(lambda: told.exists() and told.read_text().endswith("}"))
        yield json.loads(told.read_text())["address"], workers


def test_a_cluster_whose_worker_is_killed(
    core: Callable[..., Core],
    cluster: tuple[str, list[subprocess.Popen[bytes]]],
    tmp_path: Path,
) -> None:
    address, workers = cluster
    folder, kept = tmp_path / "cores", tmp_path / "file.jsonl"
    folder.mkdir()
    for number in range(6):
        made = core("abort/host" if number == 5 else "nullcall/host")
        (folder / f"core-{number}\udcff").hardlink_to(made.path)
    options: list[str | Path] = [
        folder,
        "--dask",
        address,
        "--jsonl",
        kept,
        "--json",
        "-",
        *gdb_option(),
    ]
    with running(*options, folder=tmp_path) as client:
        wait_for(lambda: line_count(kept) >= 2, client)
        workers[0].kill()
        assert line_count(kept) < 6
        stdout, stderr = client.communicate(timeout=TIMEOUT)
    assert (client.returncode, stderr) == (0, "")
    found = validated(json.loads(stdout))
    assert [group["count"] for group in found["groups"]] == [5, 1]
    assert found["failed"] == []
    cores = sorted(line["core"] for line in lines_of(kept))
    assert cores == [str(folder / f"core-{number}\\xff") for number in range(6)]
    # A GDB of the worker that was killed comes to its end.
    wait_for(lambda: not reading(folder))


def reading(folder: Path) -> list[str]:
    """The processes that have something in this folder on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [path.parent.name] if os.fsencode(folder) in words else []
    return found
