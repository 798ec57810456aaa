"""plug-links and plug-got on every test program: judged by readelf, nm, LD_DEBUG, /proc, DWARF."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import judges, oracles, programs
from tests.harness import Gdb
from tests.needs import judge_needed
from tests.programs import Program
from tests.sessions import Sessions

STOPS = ("loaded", "returned", "done", "planted", "main", "crash", "both")
# test_links.py, test_cases.py, test_needed.py, test_trace.py and test_why.py have these
ELSEWHERE = ("static", "search", "memfd", "needs", "trace", "closing", "why")


def place(run: programs.Run) -> str:
    """Where to look: at the signal, or at the marker behind which everything is loaded."""
    if isinstance(run.status, str):
        return run.handled or run.status
    return next(name for name in STOPS if name in programs.markers(run.scenario))


RUNS = [
    pytest.param(run, id=str(run), marks=[pytest.mark.arm64] * (run.set == "aarch64"))
    for scenario in programs.scenarios()
    if scenario not in ELSEWHERE
    for run in programs.runs(scenario)
]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("run", RUNS)
def test_links_and_slots(run: programs.Run, sessions: Sessions, tmp_path: Path) -> None:
    program = programs.program(f"{run.scenario}/{run.program}", run.set)
    env = {**run.env, "LD_DEBUG": "files:libs", "LD_DEBUG_OUTPUT": str(tmp_path / "ld")}
    bare = run.program == "host_bare"  # has no lines to stop at
    gdb = sessions.live(program, *run.args, until=None if bare else place(run), env=env)
    if bare:
        gdb.until("_Exit")
    links = gdb.json("plug-links")
    loaded = [] if run.set == "musl" else oracles.read_ld_debug_files(tmp_path / "ld")
    objects = judges.judge_links(gdb, program, links, loaded)
    got = gdb.json("plug-got -all")
    assert judges.judge_got(gdb, got, objects) > 10
    wild = [s for m in got["modules"] for s in m["slots"] if s["state"] == "dangling"]
    assert [s["symbol"] for s in wild] == ["getpid"] * (run.args == ("slot",))
    judge_expected_modules(program, links)
    if run.set != "musl":
        judge_needed(gdb.json("plug-needed"), tmp_path / "ld", program.arm64)
    judge_expected_slots(run, gdb)


def judge_expected_modules(program: Program, links: judges.Document) -> None:
    """The facts of expect.json; musl's linker keeps none of them where they can be found."""
    expected = programs.expectations(program.scenario, program.set)
    for name, facts in expected.get("modules", {}).get("loaded", {}).items():
        if program.set == "musl" and not {"relro", "binding"} & set(facts):
            continue
        module = judges.called(links, name)
        for key, value in facts.items():
            if key == "binding" and program.set == "musl":
                value = "now"  # noqa: PLW2901
            shown = module[key]
            if key == "needed_by":
                shown = [Path(path).name for path in shown]
            assert shown == value, (name, key)
    counts = expected.get("module_count", {})
    names = [Path(module["path"]).name for module in judges.modules(links)]
    assert {name: names.count(name) for name in counts} == counts
    namespaces = 1 if program.set == "musl" else expected.get("namespaces", 1)
    assert len(links["namespaces"]) == namespaces


def judge_expected_slots(run: programs.Run, gdb: Gdb) -> None:
    """The slots of expect.json that hold at this stop."""
    here = place(run)
    for slot in programs.expectations(run.scenario, run.set).get("slots", []):
        first = programs.runs(run.scenario)[0]
        if slot.get("at", "loaded") != here or slot.get("run", 0) != (run.args != first.args):
            continue
        shown = gdb.json(f"plug-got {slot['module']} -symbol {slot['symbol']}")
        found = [
            one
            for one in shown["modules"][0]["slots"]
            if one["type"].endswith(slot.get("type", "")) and one["symbol"] == slot["symbol"]
        ]
        assert found
        for one in found:
            assert one["state"] == slot["state"], slot
            if "provider" in slot:
                assert Path(one["provider"]).name == slot["provider"], slot
            if "definition" in slot:
                assert one["definition"] == slot["definition"], slot
