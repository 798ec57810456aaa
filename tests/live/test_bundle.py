"""plug-bundle and --bundle: one archive with everything, and nothing that is private."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cores import Core
from tests.harness import Gdb, environment, gdb_program, validated
from tests.programs import CHECKOUT

COMMAND = "import sys; from gdbext.cli import main; sys.exit(main(sys.argv[1:]))"
NAMES = ["files.json", "got.json", "links.json", "manifest.json", "report.html", "report.json",
         "report.txt", "snapshot.json"]  # fmt: skip


def contents(path: Path) -> dict[str, bytes]:
    """The entries of a bundle, after a look at its manifest."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    manifest = validated(json.loads(found["manifest.json"]))
    assert {e["name"]: (e["size"], e["sha256"]) for e in manifest["entries"]} == {
        name: (len(data), hashlib.sha256(data).hexdigest())
        for name, data in found.items()
        if name != "manifest.json"
    }
    for name in ("got.json", "links.json", "report.json", "snapshot.json"):
        if name in found:
            validated(json.loads(found[name]))
    return found


def test_a_bundle_of_a_process(live: Callable[..., Gdb], tmp_path: Path) -> None:
    words = ("libone.so", "SECRET-WORD")
    gdb = live("loader/host", *words, until="each", env={"TOKEN": "SECRET-VALUE"})
    gdb.cmd("frame function main")
    gdb.cmd(f"set var {'$x3' if gdb.arm64 else '$rbx'} = (long) argv[2]")
    assert '"SECRET-WORD"' in gdb.cmd("plug-report")  # a register points to it
    path = tmp_path / "b.zip"
    said = gdb.cmd(f"plug-bundle {path}").splitlines()
    assert said[0] == f"{path}: 8 files, without arguments and environment"
    found = contents(path)
    assert sorted(found) == NAMES
    assert not [name for name, data in found.items() if b"SECRET" in data]
    assert json.loads(found["links.json"]) == gdb.json("plug-links")
    assert json.loads(found["got.json"]) == gdb.json("plug-got -all")
    assert found["report.txt"].startswith(b"[gdbext] ")
    files = {Path(f["path"]).name: f for f in json.loads(found["files.json"])}
    library = Path(next(f["path"] for f in files.values() if f["path"].endswith("libone.so")))
    assert files["libone.so"]["sha256"] == hashlib.sha256(library.read_bytes()).hexdigest()
    # the same again is the same, byte for byte
    gdb.cmd(f"plug-bundle {path}.again")
    assert Path(f"{path}.again").read_bytes() == path.read_bytes()
    manifest = gdb.json(f"plug-bundle {path} -with-args --with-environment")
    assert (manifest["arguments"], manifest["environment"]) == (True, True)
    found = contents(path)
    assert json.loads(found["arguments.json"])[1:] == list(words)
    assert json.loads(found["environment.json"])["TOKEN"] == "SECRET-VALUE"
    assert [name for name, data in found.items() if b"SECRET" in data] == [
        "arguments.json", "environment.json"
    ]  # fmt: skip
    assert gdb.cmd(f"plug-diff {path} {path}.again").endswith("No differences.")


def report(made: Core, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    path = environment()["PYTHONPATH"]
    words = [made.path, "--gdb", gdb_program(), *arguments]
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "report", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        env=environment(PYTHONPATH=f"{CHECKOUT}:{path}"),
        timeout=240,
    )


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_a_bundle_of_a_core(core: Callable[..., Core], tmp_path: Path) -> None:
    made = core("nullcall/host")
    done = report(made, "--bundle", tmp_path / "b.zip", "--with-args")
    assert (done.returncode, done.stderr) == (0, "")
    found = contents(tmp_path / "b.zip")
    assert sorted(found) == ["arguments.json", *NAMES]
    assert json.loads(found["report.json"])["signal"] == "SIGSEGV"
    assert json.loads(found["arguments.json"])[0].endswith("host")
    for options in (("--bundle", tmp_path / "no" / "b.zip"), ("--with-args",)):
        done = report(made, *options)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.zip"]
