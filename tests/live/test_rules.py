"""Each rule of ld.so's lookup: plug-got and plug-symbol by expect.json, and by what ld.so bound."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from tests import bindings, judges, programs, symbols
from tests.files import local
from tests.programs import Program, Run
from tests.references import dynamic_symbols
from tests.sessions import Sessions

Document = dict[str, Any]


def scenarios() -> list[str]:
    """The scenarios whose expect.json tells of bindings."""
    return [name for name in programs.scenarios() if programs.expectations(name).get("bindings")]


RUNS = [
    pytest.param(run, index, id=f"{run.scenario}-{run.set}-{index}", marks=marks)
    for scenario in scenarios()
    for run in programs.runs(scenario)
    for marks in [[pytest.mark.arm64] * (run.set == "aarch64")]
    for index in [programs.index_of(run)]
]


def expected_rows(run: Run, index: int) -> list[Document]:
    """The rows of expect.json that hold for a run."""
    rows = []
    for general in programs.expectations(run.scenario, run.set)["bindings"]:
        row = {**general, **general.get(run.set, {})}
        if row.get("run", 0) != index or run.set not in row.get("builds", programs.SETS):
            continue
        newest = tuple(map(int, row.get("until_glibc", "99.0").split(".")))
        ours = platform.libc_ver()[1] if run.set == "x86_64" else "0.0"
        if tuple(map(int, ours.split("."))) <= newest:
            rows.append(row)
    return rows


def slots_of(got: Document, row: Document) -> list[Document]:
    """The slots that a row of expect.json is about."""
    found = [
        slot
        for module in got["modules"]
        if os.path.basename(module["path"]) == row["module"]
        and module["namespace"] == row.get("namespace", module["namespace"])
        for slot in module["slots"]
        if slot["symbol"] == row["symbol"]
        and slot["version"] == row.get("version", slot["version"])
        and slot["type"].endswith(row.get("type", ""))
    ]
    assert found, f"no slot for {row}"
    return found


def base_name(path: str | None) -> str | None:
    return None if path is None else os.path.basename(path)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("run", "index"), RUNS)
def test_rule(run: Run, index: int, sessions: Sessions, tmp_path: Path) -> None:
    program = programs.program(f"{run.scenario}/{run.program}", run.set)
    output = tmp_path / "ld"
    # qemu's -E takes a comma for the end of a variable; ld.so takes a colon as well.
    env = {**run.env, "LD_DEBUG": "bindings:files", "LD_DEBUG_OUTPUT": str(output)}
    gdb = sessions.live(program, *run.args, env=env)
    got, links = gdb.json("plug-got -all"), gdb.json("plug-links")
    rows = expected_rows(run, index)
    for row in rows:
        for slot in slots_of(got, row):
            assert base_name(slot["expected"]) == row["winner"], (row, slot)
            assert slot["verdict"] == row.get("verdict", "ok"), (row, slot)
            if "provider" in row:
                assert base_name(slot["provider"]) == row["provider"], (row, slot)
    assert alarms(got) == {
        (row["module"], row["symbol"], row["verdict"]) for row in rows if "verdict" in row
    }
    if run.set != "musl":  # whose linker has no such log
        log = bindings.read_bindings(output)
        judged = bindings.judge_documents(got, links, log, gdb.arm64)
        assert list(bindings.disagreements(judged)) == [], str(judged)
        assert judged.logged > 10, str(judged)
        assert judged.compared == judged.agreed
        rows_agree_with_log(rows, log, program, links)
    if run.scenario not in symbols.SEVERAL:
        symbols.judge_winners(gdb, run, index, got, links)


@pytest.mark.usefixtures("built")
def test_the_judge_finds_each_wrong_slot(sessions: Sessions, tmp_path: Path) -> None:
    """A slot that is missing, or expected to be anybody else's, is a disagreement."""
    program = programs.program("order/opener")
    env = {"LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(tmp_path / "ld"), "LD_BIND_NOW": "1"}
    gdb = sessions.live(program, "open:n:libuser.so", env=env)
    got, links = gdb.json("plug-got -all"), gdb.json("plug-links")
    log = bindings.read_bindings(tmp_path / "ld")
    paths = [module["path"] for module in got["modules"]]
    checked = 0
    for module in got["modules"]:
        for slot in [slot for slot in module["slots"] if slot["symbol"]]:
            right = slot["expected"]
            for wrong in {*paths, None} - {right}:
                slot["expected"] = wrong
                assert len(bindings.judge_documents(got, links, log).disagreements) == 1, slot
            slot["expected"] = right
            checked += 1
        for number, slot in enumerate(list(module["slots"])):
            several = [s["symbol"] for s in module["slots"]].count(slot["symbol"]) > 1
            if slot["symbol"] and not several and slot["state"] != "null":
                del module["slots"][number]
                assert len(bindings.judge_documents(got, links, log).disagreements) == 1, slot
                module["slots"].insert(number, slot)
    assert checked > 20
    assert bindings.judge_documents(got, links, log).disagreements == []


def alarms(got: Document) -> set[tuple[str, str, str]]:
    """The slots whose verdict is not ok."""
    return {
        (os.path.basename(module["path"]), slot["symbol"], slot["verdict"])
        for module in got["modules"]
        for slot in module["slots"]
        if slot["verdict"] != "ok"
    }


# ------------------------------------------------------------------- expect.json, by LD_DEBUG


def rows_agree_with_log(
    rows: list[Document], log: bindings.Bindings, program: Program, links: Document
) -> None:
    """What expect.json says is what ld.so wrote, whatever gdbext says."""
    checked = 0
    for row in rows:
        targets = {
            os.path.basename(target[1])
            for (namespace, name), bound in log.found.items()
            if os.path.basename(name) == row["module"]
            and namespace == row.get("namespace", namespace)
            for (symbol, version), found in bound.items()
            if (symbol, row.get("version", version)) == (row["symbol"], version)
            for target in found
        }
        if targets:
            # How it was bound is the winner's doing, or, for a stale slot, its provider's.
            assert row.get("provider", row["winner"]) in targets, (row, targets)
            assert "type" in row or len(targets) == 1, (row, targets)
            checked += 1
        else:
            file = local(judges.called(links, row["module"])["path"], program.arm64)
            symbol = dynamic_symbols(file)[row["symbol"], ""]
            own = symbol.section != "UND" and symbol.visibility != "DEFAULT"
            assert row["winner"] == (row["module"] if own else None), (row, symbol)
    assert checked or all(row["winner"] in (None, row["module"]) for row in rows)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("scenario", scenarios())
def test_rules_differ_here(scenario: str) -> None:
    """A scenario is worth its place if a symbol in it has several definers to choose from."""
    rows = programs.expectations(scenario)["bindings"]
    assert all(row["why"] for row in rows)
    names = {row["symbol"] for row in rows}
    defined = [
        symbol.name
        for path in (programs.BUILDS / "x86_64" / scenario).iterdir()
        if path.is_file()
        for symbol in dynamic_symbols(path).values()
        if symbol.section != "UND" or symbol.value
    ]
    assert any(defined.count(name) > 1 for name in names) or scenario == "undefined"


def test_readme_names_every_key() -> None:
    text = (programs.TESTPROGS / "README.md").read_text()
    keys = {
        key
        for name in scenarios()
        for row in json.loads((programs.TESTPROGS / name / "expect.json").read_text())["bindings"]
        for key in row
    }
    assert {key for key in keys - set(programs.SETS) if f"`{key}`" not in text} == set()
