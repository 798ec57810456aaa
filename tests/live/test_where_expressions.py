"""What plug-where takes: expressions, options; and what it must not do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Batch, Gdb
from tests.places import where
from tests.programs import Program


@pytest.fixture
def places(live: Callable[..., Gdb], program: Callable[[str], Program]) -> Gdb:
    own = str(program("places/host").path)
    return live("places/host", own, until="loaded")


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("(char *) &main + 1", "module"),
        ("host.c'::main", "error"),
        ("&'host.c'::main", "module"),
        ("-json", "error"),
        ("data", "null"),
        ("& data", "module"),
        ("*&heap", "heap"),
        ("1.5", "error"),
        ("nosuch", "error"),
        ("1 +", "error"),
        ('"text"', "error"),
        ("getpid()", "error"),
        ("sizeof(int) - 5", "unmapped"),
        ("-1", "unmapped"),
        ("0x", "error"),
        ("99999999999999999999999", "unmapped"),
        ("$nosuch", "error"),
        ("*(int*)0", "error"),
    ],
)
@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_expressions(places: Gdb, expression: str, kind: str) -> None:
    said = places.cmd(f"plug-where {expression}")
    if kind == "error":
        assert said.startswith("plug-where: ")
        assert "\n" not in said
    else:
        assert where(places, expression)["kind"] == kind


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_nothing_is_called_and_nothing_is_written(places: Gdb) -> None:
    """GDB puts a string literal into the program's memory, by calling its malloc."""
    places.cmd("break malloc")
    places.cmd("break getpid")
    before = places.cmd("x/400xb heap - 16")
    for expression in ('"text"', "getpid()", '$_strlen("abc")'):
        places.cmd(f"plug-where {expression}")
    assert places.cmd("x/400xb heap - 16") == before
    assert "already hit" not in places.cmd("info breakpoints").partition("malloc")[2]
    assert places.cmd("show may-call-functions").endswith("is on.")


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_options_before_and_after(places: Gdb, tmp_path: Path) -> None:
    wanted = where(places, "(char *) &data + 1")
    out = tmp_path / "with space.json"
    for line in (
        "plug-where (char *) &data + 1 -json",
        "plug-where --json (char *) &data + 1",
    ):
        assert json.loads(places.cmd(line)) == wanted
    for line in (
        f"plug-where -out '{out}' -json (char *) &data + 1",
        f'plug-where -json -out "{out}" (char *) &data + 1',
        f"plug-where -json (char *) &data + 1 -out '{out}'",
        f"plug-where (char *) &data + 1 -out '{out}' -json",
    ):
        out.unlink(missing_ok=True)
        assert places.cmd(line) == ""
        assert json.loads(out.read_text()) == wanted


def test_no_argument_and_no_process(batch: Callable[..., Batch]) -> None:
    for line, text in (("plug-where", "ADDRESS"), ("plug-where 0", "no process")):
        done = batch("-ex", line)
        assert done.status != 0
        assert text in done.stderr
        assert done.stderr.count("\n") == 1


def test_hostile_symbol_names(gdb: Callable[..., Gdb], tmp_path: Path) -> None:
    """GDB would run the second line of a name as a command."""
    session = gdb()
    target = tmp_path / "written"
    session.cmd("python from gdbext.inferior.frames import demangle")
    said = session.cmd(f"python print(repr(demangle('_Z1fv\\nshell touch {target}')))")
    assert said.startswith("'_Z1fv")
    assert not target.exists()
    assert session.cmd("python print(demangle('_Z1fv'))") == "f()"
