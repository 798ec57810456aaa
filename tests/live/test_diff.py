"""plug-diff and `gdbext diff`: what changed is said, and nothing else is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cores import Core
from tests.harness import Gdb, environment, validated
from tests.programs import CHECKOUT, Program

COMMAND = "import sys; from gdbext.cli import main; sys.exit(main(sys.argv[1:]))"
PARTS = ("changes", "added", "gone", "changed", "order", "symbols", "providers", "verdicts",
         "threads", "tls")  # fmt: skip


def diff(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`gdbext diff`, as a shell runs it."""
    path = environment()["PYTHONPATH"]
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "diff", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=f"{CHECKOUT}:{path}"),
        timeout=240,
    )


def differing(document: dict[str, Any]) -> set[str]:
    return {part for part in PARTS if document[part]}


def snapshot(gdb: Gdb, path: Path) -> Path:
    assert gdb.cmd(f"plug-snapshot {path}").startswith(f"{path}: ")
    return path


@pytest.mark.parametrize(
    ("cpu", "name"), [("x86_64", "namespaces/host"), ("musl", "dlopens/host")], indirect=["cpu"]
)
def test_another_run_at_other_addresses(
    live: Callable[..., Gdb], tmp_path: Path, name: str
) -> None:
    bases = []
    for number in range(2):
        gdb = live(name, until="loaded", before=["set disable-randomization off"])
        snapshot(gdb, tmp_path / f"{number}.json")
        bases.append([m["base"] for m in gdb.json("plug-snapshot")["modules"]])
    assert bases[0] != bases[1]
    done = diff(tmp_path / "0.json", tmp_path / "1.json", "--exit-code")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[2:] == ["No differences."]
    assert gdb.cmd(f"plug-diff {tmp_path}/0.json").endswith("No differences.")


def test_a_process_and_its_core(
    live: Callable[..., Gdb],
    core: Callable[..., Core],
    open_core: Callable[..., Gdb],
    tmp_path: Path,
) -> None:
    before = snapshot(live("nullcall/host", until="SIGSEGV"), tmp_path / "live.json")
    after = snapshot(open_core(core("nullcall/host")), tmp_path / "core.json.gz")
    done = diff(before, after, "--exit-code", "--json")
    document = validated(json.loads(done.stdout))
    assert (done.returncode, differing(document)) == (0, set()), document


def test_a_plugin_that_was_replaced(
    live: Callable[..., Gdb], program: Callable[[str], Program], tmp_path: Path
) -> None:
    """The same name, another build; and a slot that somebody wrote to."""
    folder = program("loader/host").path.parent
    plugin = tmp_path / "plugin.so"
    shutil.copy(folder / "libone.so", plugin)
    before = snapshot(live("loader/host", str(plugin)), tmp_path / "before.json")
    plugin.unlink()
    shutil.copy(program("dlopens/libnodelete.so").path, plugin)
    gdb = live("loader/host", str(plugin))
    document = gdb.json(f"plug-diff {before}")
    assert differing(document) == {"changed", "symbols"}
    (module,) = document["changed"]
    assert module["path"] == str(plugin)
    assert len(set(module["replaced"].values())) == 2
    (table,) = document["symbols"]
    assert (table["path"], bool(table["added"]), bool(table["removed"])) == (
        str(plugin), True, True
    )  # fmt: skip
    after = snapshot(gdb, tmp_path / "after.json")
    for options, status in (((), 0), (("--exit-code",), 1)):
        page = tmp_path / "page.html"
        done = diff(before, after, *options, "--html", page)
        assert (done.returncode, done.stderr) == (status, "")
        assert page.read_text().startswith("<!DOCTYPE html>")
    gdb.cmd(f"plug-diff {before} {after} -html {tmp_path}/same.html")
    assert (tmp_path / "same.html").read_bytes() == page.read_bytes()
    done = diff(before, after, "--html", tmp_path / "no" / "page.html")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    slot = next(s for s in gdb.json("plug-got")["modules"][0]["slots"] if s["symbol"] == "setvbuf")
    elsewhere = gdb.python("hex(int(gdb.parse_and_eval('(long)&main')))")
    gdb.cmd(f"set var *(unsigned long *) {slot['address']} = {elsewhere}")
    document = gdb.json(f"plug-diff {after}")
    assert differing(document) == {"providers", "verdicts"}
    (row,) = document["verdicts"]
    assert (row["before"], row["after"], row["leads"]["definition"]) == ("ok", "redirected", "main")
    for width in (80, 160):
        gdb.cmd(f"set width {width}")
        assert max(map(len, gdb.cmd(f"plug-diff {before}").splitlines())) <= width


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_an_allocator_that_is_preloaded(live: Callable[..., Gdb], tmp_path: Path) -> None:
    before = snapshot(live("dlopens/host"), tmp_path / "before.json")
    gdb = live("dlopens/host", env={"LD_PRELOAD": "libjemalloc.so.2"})
    document = gdb.json(f"plug-diff {before}")
    assert "libjemalloc.so.2" in {Path(m["path"]).name for m in document["added"]}
    new = {
        row["symbol"].partition("@")[0]: Path(row["after"][0]["module"]).name
        for row in document["providers"]
    }
    assert new.keys() >= {"malloc", "free", "calloc", "realloc"}
    assert set(new.values()) == {"libjemalloc.so.2"}
    assert differing(document) <= {"added", "providers", "tls"}


def test_bad_input(gdb: Callable[..., Gdb], tmp_path: Path) -> None:
    """One clear line, also without a process; files.py has every kind of damage."""
    (tmp_path / "text").write_text("no snapshot\n")
    session = gdb()
    for arguments, words in (
        (f"{tmp_path}/text {tmp_path}/text", "it is not JSON"),
        (f"{tmp_path}/none", "cannot open"),
        ("", "required: A"),
    ):
        said = session.cmd(f"plug-diff {arguments}")
        assert said.startswith("plug-diff: ")
        assert words in said
        assert "\n" not in said
    done = diff(tmp_path / "text", tmp_path / "text")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
