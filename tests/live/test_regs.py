"""plug-regs: values against `info registers`, and the selection."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tests.harness import Batch, Gdb
from tests.programs import Program


def rows(gdb: Gdb) -> dict[str, Any]:
    return {row["name"]: row for row in gdb.json("plug-regs")["registers"]}


def said_by_gdb(gdb: Gdb) -> dict[str, int]:
    text = gdb.cmd("info registers")
    return {m[1]: int(m[2], 16) for m in re.finditer(r"^(\w+) +(0x[0-9a-f]+)", text, re.MULTILINE)}


def check_against_gdb(gdb: Gdb) -> None:
    ours, theirs = rows(gdb), said_by_gdb(gdb)
    assert len(ours) >= 18
    for name, row in ours.items():
        if name in theirs:
            assert int(row["value"], 16) == theirs[name], name
    general = {n for n in theirs if re.fullmatch(r"r(?!flags)\w+|x\d+|sp|pc|eflags|cpsr", n)}
    assert general <= set(ours)


def test_values_are_gdbs(live: Callable[..., Gdb]) -> None:
    check_against_gdb(live("dlopens/host"))


@pytest.mark.parametrize("cpu", ["musl"], indirect=True)
def test_values_on_musl(live: Callable[..., Gdb]) -> None:
    check_against_gdb(live("dlopens/host"))


def test_values_on_a_core(open_core: Callable[..., Gdb]) -> None:
    check_against_gdb(open_core("relrowrite/host"))


def test_values_through_gdbserver(gdbserver: Callable[..., Gdb]) -> None:
    check_against_gdb(gdbserver("dlopens/host"))


def test_selected_frame_counts_and_stays(live: Callable[..., Gdb]) -> None:
    gdb = live("abort/host", until="SIGABRT")
    inner = rows(gdb)
    document = gdb.json("plug-regs")
    assert (document["thread"], document["frame"]) == (1, 0)
    gdb.cmd("up")
    gdb.cmd("up")
    outer, level = rows(gdb), gdb.json("plug-regs")["frame"]
    assert level == 2
    assert "#2 " in gdb.cmd("frame")
    pc = "pc" if "pc" in outer else "rip"
    assert outer[pc]["value"] != inner[pc]["value"]
    check_against_gdb(gdb)


def test_other_threads(live: Callable[..., Gdb]) -> None:
    gdb = live("threads/host", until="SIGSEGV", env={"THREADS_CRASH": "1"})
    seen = set()
    for number in range(1, 5):
        gdb.cmd(f"thread {number}")
        check_against_gdb(gdb)
        found = rows(gdb)
        stack = found.get("rsp") or found["sp"]
        assert stack["points_to"]["kind"] == "stack"
        assert stack["points_to"]["thread"] == number
        pointer = found.get("fs_base") or found.get("TPIDR_EL0") or found["tpidr"]
        assert (pointer["points_to"]["kind"], pointer["points_to"]["thread"]) == ("tcb", number)
        assert gdb.json("plug-regs")["thread"] == number
        assert gdb.python("gdb.selected_thread().num") == str(number)
        seen.add(stack["value"])
    assert len(seen) == 4


def test_what_registers_point_to(live: Callable[..., Gdb]) -> None:
    gdb = live("rodatawrite/host", until="SIGSEGV")
    found = rows(gdb)
    pc = found.get("rip") or found["pc"]
    assert pc["points_to"]["symbol"] == "plugin_run"
    letter = next(
        row for row in found.values() if (row["points_to"] or {}).get("symbol") == "greeting"
    )
    assert (letter["string"], letter["points_to"]["symbol_offset"]) == ("ello", 1)
    text = gdb.cmd("plug-regs")
    assert 'greeting+0x1 (.rodata) "ello"' in text
    assert len(text.splitlines()) == len(found)


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_a_pointer_is_no_text(live: Callable[..., Gdb], program: Callable[[str], Program]) -> None:
    """0x555555555141 in memory looks like "AQUUUU"."""
    gdb = live("places/host", str(program("places/host").path), until="loaded")
    gdb.cmd("set $rbx = heap")
    for value, text in (("0x555555555141", None), ("0x444444555141", "AQUDDD")):
        gdb.cmd(f"set {{long}}heap = {value}")
        assert gdb.json("plug-where 0x555555555141")["kind"] == "module"
        assert rows(gdb)["rbx"]["string"] == text


def test_out_and_json(live: Callable[..., Gdb], tmp_path: Path) -> None:
    gdb = live("dlopens/host")
    target = tmp_path / "regs.json"
    assert gdb.cmd(f"plug-regs -json -out {target}") == ""
    document = harness.validated(json.loads(target.read_text()))
    assert document == gdb.json("plug-regs")
    assert target.stat().st_mode & 0o777 == 0o600


def test_no_process(batch: Callable[..., Batch]) -> None:
    done = batch("-ex", "plug-regs")
    assert done.status != 0
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("plug-regs: no process")
