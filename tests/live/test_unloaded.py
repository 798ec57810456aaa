"""Code and data of libraries that were unloaded: seen by GDB, or found in memory and in cores."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import programs
from tests.cores import Core
from tests.harness import Gdb, load_gdbext
from tests.programs import Program
from tests.reports import Report

NAMES = {"function": "work", "table": "operations"}


def value(gdb: Gdb, name: str) -> int:
    return int(gdb.python(f"int(gdb.parse_and_eval('(unsigned long){name}'))"))


def symbol_addresses(library: Path) -> dict[str, int]:
    said = subprocess.run(["nm", library], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in said.splitlines())
    return {row[2]: int(row[0], 16) for row in rows if len(row) == 3}


def check(gdb: Gdb, program: Program, evidence: str, file_is_here: bool = True) -> None:
    """What the host kept of libgone.so is told as that, by nm's own addresses."""
    library = program.folder / "libgone.so"
    known = symbol_addresses(library)
    for variable, name in NAMES.items():
        place = gdb.json(f"plug-where {value(gdb, variable):#x}")
        assert place["kind"] == "unloaded"
        assert place["unloaded"]["evidence"] == evidence
        assert place["unloaded"]["probable"] is (evidence == "memory")
        assert int(place["offset"], 16) == known[name]
        if file_is_here:
            assert Path(place["module"]).name == "libgone.so"
            assert (place["symbol"], place["symbol_offset"]) == (name, 0)
            how = "unloaded, probable" if evidence == "memory" else "unloaded"
            assert place["text"] == f"libgone.so ({how}), +{known[name]:#x}, {name}"
        else:
            assert str(place["module"]).startswith("libgone")
            assert "symbol" not in place


def check_others(gdb: Gdb) -> None:
    """What is no unloaded library: a page of code that nobody loaded, and an address of nothing."""
    page = gdb.json(f"plug-where {value(gdb, 'page') + 8:#x}")
    assert page["kind"] in ("anonymous", "unknown")  # qemu lists no mappings
    assert gdb.json(f"plug-where {value(gdb, 'wild'):#x}")["kind"] == "unmapped"


def test_seen_by_gdb(live: Callable[..., Gdb], program: Callable[[str], Program]) -> None:
    gdb = live("unloaded/host", "call", until="loaded")
    assert gdb.json(f"plug-where {value(gdb, 'function'):#x}")["kind"] == "module"
    gdb.until(programs.marker("unloaded", "unloaded"))
    check(gdb, program("unloaded/host"), "events")
    check_others(gdb)
    report = Report(gdb.until_signal("SIGSEGV"))
    work = symbol_addresses(program("unloaded/host").folder / "libgone.so")["work"]
    assert f"libgone.so (unloaded), +{work:#x}, work" in report.facts["fault address"]
    assert report.frames[0].endswith(f" libgone.so (unloaded), +{work:#x}, work")


def test_another_library_in_its_place(live: Callable[..., Gdb]) -> None:
    """GDB's events, the trace and what is left in memory: the last one of two is told."""
    for events, before in ((True, None), (True, "plug-trace on"), (False, None)):
        gdb = live("unloaded/host", "next", until=None, gdbext=events)
        if before:
            gdb.cmd(before)
        gdb.until_signal("SIGSEGV")
        if not events:
            load_gdbext(gdb)
        place = gdb.json(f"plug-where {value(gdb, 'function'):#x}")
        assert (Path(place["module"]).name, place["symbol"]) == ("libnext.so", "work")


def test_found_in_memory(live: Callable[..., Gdb], program: Callable[[str], Program]) -> None:
    gdb = live("unloaded/host", "call", until="unloaded", gdbext=False)
    load_gdbext(gdb)
    check(gdb, program("unloaded/host"), "memory")
    check_others(gdb)


@pytest.mark.parametrize(
    ("mode", "symbol"),
    [("thread", "wait_here"), ("back", "call_back"), ("atexit", "handler"), ("key", "destructor")],
)
def test_ways_into_it(live: Callable[..., Gdb], mode: str, symbol: str) -> None:
    gdb = live("unloaded/host", mode, until=None)
    report = Report(gdb.until_signal("SIGSEGV"))
    assert re.search(rf"libgone\.so \(unloaded\), \+0x[0-9a-f]+, {symbol}", report.frames[0])


def test_code_that_nobody_loaded(live: Callable[..., Gdb]) -> None:
    for mode, signal, told in (
        ("jit", "SIGILL", r"anonymous memory|in no loaded module"),
        ("wild", "SIGSEGV", r"not mapped"),
    ):
        report = Report(live("unloaded/host", mode, until=None).until_signal(signal))
        assert re.search(told, report.frames[0])
        assert not re.search(r"\(unloaded", report.text)


def test_heap_in_use_again(live: Callable[..., Gdb]) -> None:
    """Others wrote over what ld.so left: less may be known, and nothing wrong is said."""
    gdb = live("unloaded/host", "reuse", until="reused", gdbext=False)
    load_gdbext(gdb)
    for variable in NAMES:
        place = gdb.json(f"plug-where {value(gdb, variable):#x}")
        assert place["kind"] in ("unloaded", "unmapped")
        assert str(place.get("module") or "libgone.so").endswith("libgone.so")
    check_others(gdb)


def test_attached_afterwards(attach: Callable[..., Gdb], native: Callable[[str], Program]) -> None:
    gdb = attach("unloaded/host", "call", "wait")
    check(gdb, native("unloaded/host"), "memory")
    check_others(gdb)


@pytest.mark.parametrize("with_program", [True, False])
def test_core(
    core: Callable[..., Core],
    open_core: Callable[..., Gdb],
    program: Callable[[str], Program],
    with_program: bool,
) -> None:
    made = core("unloaded/host", "call")
    gdb = open_core(made, with_program=with_program)
    pc = int(gdb.python("int(gdb.selected_frame().pc())"))
    place: dict[str, Any] = gdb.json(f"plug-where {pc:#x}")
    known = symbol_addresses(program("unloaded/host").folder / "libgone.so")
    assert (place["kind"], place["symbol"]) == ("unloaded", "work"), json.dumps(place)
    assert int(place["offset"], 16) == known["work"]
    if with_program and not made.arm64:  # in qemu's cores GDB does not find the variables
        check(gdb, program("unloaded/host"), "memory")
        check_others(gdb)


def test_core_of_another_machine(
    core: Callable[..., Core], open_core: Callable[..., Gdb], program: Callable[[str], Program]
) -> None:
    """No file of it is here: the name is left, without a symbol."""
    made = core("unloaded/host", "call", gone=True)
    gdb = open_core(made, with_program=False)
    pc = int(gdb.python("int(gdb.selected_frame().pc())"))
    place = gdb.json(f"plug-where {pc:#x}")
    known = symbol_addresses(program("unloaded/host").folder / "libgone.so")
    assert place["kind"] == "unloaded"
    # In qemu's cores no image is left that would tell where link_map's private fields are.
    assert place["module"] is None if made.arm64 else place["module"].startswith("libgone")
    assert "symbol" not in place
    assert int(place["offset"], 16) == known["work"]


def test_told_by_a_trace(live: Callable[..., Gdb], program: Callable[[str], Program]) -> None:
    """A record of a trace is as good as the library's own: its file gives the symbols."""
    gdb = live("unloaded/host", "call", until="loaded")
    library = program("unloaded/host").folder / "libgone.so"
    modules = gdb.json("plug-links")["namespaces"][0]["modules"]
    own = next(m for m in modules if m["path"] == str(library))
    size = int(own["end"], 16) - int(own["start"], 16)
    start = int(own["start"], 16) - (1 << 34)  # where nothing is
    record = f"{str(library)!r}, {start}, {start + size}, None"
    gdb.cmd("python from gdbext.loads import Unload, unloads")
    gdb.cmd(f"python unloads.append(Unload(gdb.selected_inferior().pid, {record}))")
    work = symbol_addresses(library)["work"]
    place = gdb.json(f"plug-where {start + work:#x}")
    assert place["text"] == f"libgone.so (unloaded), +{work:#x}, work"
    assert place["unloaded"]["evidence"] == "trace"


def test_what_a_trace_saw_being_unloaded(
    live: Callable[..., Gdb], program: Callable[[str], Program]
) -> None:
    gdb = live("unloaded/host", "call", until="loaded")
    gdb.cmd("plug-trace on")
    gdb.until(programs.marker("unloaded", "unloaded"))
    check(gdb, program("unloaded/host"), "trace")
    events = gdb.json("plug-report")["events"]
    assert [event["kind"] for event in events] == ["dlclose"]
