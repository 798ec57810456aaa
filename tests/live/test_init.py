"""plug-init: the orders that LD_DEBUG=files tells, and at each stop what runs there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Gdb
from tests.programs import Program, markers, program
from tests.sessions import Sessions

Document = dict[str, Any]
ALL = ["x86_64", "aarch64", "musl"]
CALL = re.compile(r"^ *\d+:\tcalling (init|preinit|fini): (.*?)(?: \[\d+\])?$", re.MULTILINE)


def calls(text: str, kind: str) -> list[str]:
    """The file names of ld.so's calls of one KIND, in order; "" is the program."""
    return [Path(path).name if path else "" for one, path in CALL.findall(text) if one == kind]


def turns(document: Document, which: str) -> list[tuple[str, Document]]:
    """(file name, turn) of the turns with functions."""
    return [(Path(t["path"]).name, t) for t in document[which] if t["functions"]]


ENVIRONMENTS = {
    "plain": {},
    "preload": {"LD_PRELOAD": "libpreloaded.so"},
    "old": {"GLIBC_TUNABLES": "glibc.rtld.dynamic_sort=1"},
}


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_orders_are_those_of_the_linker(
    name: str, sessions: Sessions, program: Callable[[str], Program], tmp_path: Path
) -> None:
    chosen = program("initorder/host")
    output = tmp_path / "ld"
    env = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(output), **ENVIRONMENTS[name]}
    if "LD_PRELOAD" in env:
        env["LD_PRELOAD"] = str(chosen.folder / env["LD_PRELOAD"])
    gdb = sessions.live(chosen, until="loaded", env=env)
    document = gdb.json("plug-init")
    said = {path: len(path.read_text()) for path in tmp_path.glob("ld.*")}
    assert len(said) == 1
    gdb.cmd("delete")
    gdb.cmd("continue")
    (path,) = said
    text = path.read_text()
    begun, ended = text[: said[path]], text[said[path] :]
    wanted = [each for each in calls(begun, "init") if each != "libgone.so"]  # closed again
    own = [(n, t) for n, t in turns(document, "constructors") if t["called_by"] == "ld.so"]
    preinit = [n for n, t in own if t["functions"][0]["kind"] == "preinit_array"]
    assert preinit == [Path(chosen.path).name]
    found = [n for n, t in own if t["functions"][0]["kind"] != "preinit_array"]
    # ld.so is named even where it has no constructors, in another namespace by some builds
    assert [n for n in wanted if not n.startswith("ld-")] == [
        n for n in found if not n.startswith("ld-")
    ]
    assert len(set(found)) > 11
    assert ("libpreloaded.so" in found) == (name == "preload")
    order = [n for n, _ in turns(document, "destructors")]
    told = [each or chosen.path.name for each in calls(ended, "fini")]
    assert [each for each in told if each in set(order)] == order
    assert document["destructor_order"] == {"old": "moves"}.get(name, "depth-first")
    assert {t["state"] for t in document["constructors"]} == {"run"}
    assert {t["state"] for t in document["destructors"]} == {"not yet"}
    assert document["notes"] == document["problems"] == []


def printed(lines: list[str], word: str) -> list[str]:
    """Who said that it begins or ends, in order, each once in a row."""
    names = [line.split()[0].split("'")[0] for line in lines if word in line]
    return [n for i, n in enumerate(names) if i == 0 or names[i - 1] != n]


def short_names(document: Document, which: str) -> list[str]:
    """As the test program prints them; without the dynamic linker, which prints nothing."""
    names = [name for name, _ in turns(document, which) if not name.startswith("ld-")]
    return [name[3:-3] if name.startswith("lib") else "main" for name in names]


@pytest.mark.parametrize("cpu", ["musl"], indirect=True)
def test_order_of_musl(live: Callable[..., Gdb]) -> None:
    gdb = live("initorder/host")
    document = gdb.json("plug-init")
    gdb.cmd("delete")
    gdb.cmd("continue")
    lines = gdb.output().splitlines()
    before = lines[: lines.index("loaded")]
    # "opener begins … opener has begun" has inner's lines in the middle
    told = list(dict.fromkeys(printed(before, "begins")))
    assert short_names(document, "constructors") == told
    told = list(dict.fromkeys(printed(lines[lines.index("loaded") :], "ends")))
    assert short_names(document, "destructors") == told
    assert document["destructor_order"] == "reverse"


def running(document: Document, which: str) -> list[tuple[str, str | None]]:
    """(file name, symbol) of what is running."""
    found = []
    for name, turn in turns(document, which):
        if turn["state"] == "running":
            symbols = [f["symbol"] for f in turn["functions"] if f["state"] == "running"]
            assert len(symbols) < 2
            found.append((name, symbols[0] if symbols else None))
    return found


@pytest.mark.parametrize("cpu", ALL, indirect=True)
def test_what_runs_at_each_stop(sessions: Sessions, cpu: str) -> None:
    chosen = program("initorder/host", cpu)
    gdb = sessions.live(chosen, until=None)
    for places in markers("initorder").values():
        for place in places:
            gdb.cmd(f"break {place}")
    library = "gdb.solib_name(gdb.newest_frame().pc()) or ''"
    seen = set()
    for _ in range(100):
        gdb.cmd("continue")
        if gdb.python("len(gdb.selected_inferior().threads())") == "0":
            break
        name = gdb.python("gdb.newest_frame().name()")
        module = Path(gdb.python(library)).name or "host"
        document = gdb.json("plug-init")
        begins, ends = running(document, "constructors"), running(document, "destructors")
        seen.add(name)
        if name in ("main", "by_atexit"):
            assert begins == ends == []
            continue
        here = (module, None if name == "work" else name)
        if name.startswith("end") or name == "own_fini":
            assert (begins, ends) == ([], [here])
        elif module == "libinner.so":
            # musl's own functions cannot be unwound: its mark tells of the outer one
            assert begins == [("libopener.so", None if cpu == "musl" else "begin"), here]
            assert ends == []
        elif (name, cpu) != ("work", "musl") or begins or ends:
            assert [here] == begins + ends
        judge_states(document)
    else:
        raise AssertionError("the program does not end")
    early = {"before_all"} - ({"before_all"} if cpu == "musl" else set())
    assert seen == early | {
        "begin_early", "begin", "end", "end_late", "own_init", "own_fini", "work", "main",
        "by_atexit",
    }  # fmt: skip


SIGNS = {"run": "R", "running": "*", "not yet": "-", None: "?"}


def judge_states(document: Document) -> None:
    """What is before the running one in the order has run, what is behind it has not."""
    first = "".join(SIGNS[turn["state"]] for _, turn in turns(document, "constructors"))
    last = "".join(SIGNS[turn["state"]] for _, turn in turns(document, "destructors"))
    assert re.fullmatch(r"R*(\*\*?)?R?-*", first), first
    if set(last) != {"?"}:  # musl, in a destructor that left its frame
        # what dlclose ends is somewhere in the middle
        assert re.fullmatch(r"R*\*?-*|-*\*-*", last), last
    for turn in document["constructors"] + document["destructors"]:
        states = "".join(SIGNS[f["state"]] for f in turn["functions"])
        assert re.fullmatch(r"R*|-*|\?*|R*\*-*", states), states


def test_stripped(sessions: Sessions, native: Callable[[str], Program], tmp_path: Path) -> None:
    """Without symbols and debug info the same functions are told, by unwind tables."""
    chosen = native("initorder/host")
    folder = tmp_path / "bare"
    shutil.copytree(chosen.folder, folder)
    for path in folder.glob("*"):
        if path.is_file():
            subprocess.run(["strip", str(path)], check=True)
    gdb = sessions.live(Program("initorder", folder / "host", "x86_64"), until=None)
    full = sessions.live(chosen, until=None)
    whole = {}
    full.until("_exit")
    for which in ("constructors", "destructors"):
        for name, turn in turns(full.json("plug-init"), which):
            whole[name, turn["namespace"], which] = [f["start_file"] for f in turn["functions"]]
    gdb.cmd("break write")
    stops = 0
    while True:
        gdb.cmd("continue")
        if gdb.python("len(gdb.selected_inferior().threads())") == "0":
            break
        text = gdb.cmd("output/s ((char*)$rsi)[0]@((int)$rdx-1)").strip('"')
        document = gdb.json("plug-init")
        for which in ("constructors", "destructors"):
            for name, turn in turns(document, which):
                flags = whole.get((name, turn["namespace"], which))
                if name.startswith("lib") and name[3] != "c" and flags is not None:
                    assert [f["start_file"] for f in turn["functions"]] == flags, (name, which)
        who, _, what = text.partition(" ")
        who = who.split("'")[0]
        if who in ("main", "loaded", "atexit") and what in ("", "preinit"):
            continue
        module = "host" if who == "main" else f"lib{who}.so"
        stops += 1
        found = [
            (Path(t["path"]).name, [f["index"] for f in t["functions"] if f["state"] == "running"])
            for t in document["constructors"] + document["destructors"]
            if t["state"] == "running"
        ]
        if who == "tail":
            assert found == [(module, [])]
            continue
        assert found[-1][0] == module, text
        (index,) = found[-1][1]
        if "DT_" in text:
            assert index is None
        elif who not in ("main", "opener"):
            assert index == (0 if what in ("begins early", "ends late") else 2), text
    assert stops > 60


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_core_says_the_same(live: Callable[..., Gdb], sessions: Sessions, tmp_path: Path) -> None:
    gdb = live("initorder/host", until="nested")
    gdb.until("initorder/library.c:begin")
    core = tmp_path / "core"
    gdb.cmd(f"gcore {core}")
    expected = gdb.json("plug-init")
    assert [name for name, _ in running(expected, "constructors")] == [
        "libopener.so",
        "libinner.so",
    ]
    again = sessions.gdb(str(program("initorder/host").path), f"--core={core}")
    assert again.json("plug-init") == expected


@pytest.mark.parametrize("with_program", [True, False])
def test_core_of_a_crash(with_program: bool, open_core: Callable[..., Gdb]) -> None:
    gdb = open_core("nullcall/host", with_program=with_program)
    document = gdb.json("plug-init")
    named = {Path(t["path"]).name: t for t in document["constructors"]}
    assert named["libplugin.so"]["state"] == "run"
    assert named["libplugin.so"]["when"] == "dlopen"
    assert named["libplugin.so"]["opened"] == named["libplugin.so"]["path"]


def test_text_and_help(live: Callable[..., Gdb]) -> None:
    gdb = live("initorder/host", until="nested")
    for width in (80, 160):
        gdb.cmd(f"set width {width}")
        lines = gdb.cmd("plug-init").split("\n")
        assert lines[0].startswith("Constructors, in the order of their calls: ")
        assert max(map(len, lines)) <= width
        assert lines[-1].startswith("Running in thread 1: [1] begin of ")
    gdb.cmd("set width 0")
    rows = gdb.cmd("plug-init libopener").split("\n")
    assert rows[0].endswith("1 module (1 running)")
    assert re.search(r"run +dlopen +libopener.so +DT_INIT own_init +\S+opener.c:\d+$", rows[2])
    assert re.search(r"running +\[1\] begin +\S+opener.c:\d+$", rows[4])
    assert "Destructors, in the order in which exit() would run them: 1 module" in rows[6]
    # libopener.so has one, at index 0; it is among what a module in full shows
    assert " [0] frame_dummy" in rows[3]
    assert " [0] frame_dummy" not in gdb.cmd("plug-init")
    assert " [0] frame_dummy" in gdb.cmd("plug-init -all")
    assert "no loaded module has 'nothing'" in gdb.cmd("plug-init nothing")
    assert "-fini" in gdb.cmd("complete plug-init -f")


def test_before_the_start(sessions: Sessions, program: Callable[[str], Program]) -> None:
    gdb = sessions.live(program("initorder/host"), until=None)
    assert "the dynamic linker has not run yet" in gdb.cmd("plug-init")
