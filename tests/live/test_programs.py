"""The test programs do what their expect.json says, without any debugger."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import IO, Any

import pytest

from tests import oracles, programs
from tests.programs import Run
from tests.sessions import Sessions

RUNS = [run for scenario in programs.scenarios() for run in programs.runs(scenario)]
ARM64 = pytest.mark.arm64


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    "run", [pytest.param(run, id=str(run), marks=[ARM64] * (run.set == "aarch64")) for run in RUNS]
)
def test_program_does_what_is_expected(run: Run, tmp_path: Path) -> None:
    program = programs.program(f"{run.scenario}/{run.program}", run.set)
    done = subprocess.run(
        program.command(*run.args),
        input=run.stdin,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **run.env},
        timeout=240,
    )
    status = -getattr(signal, run.status) if isinstance(run.status, str) else run.status
    assert done.returncode == status, done.stdout + done.stderr
    if run.stdout is not None:
        lines = done.stdout.replace(str(program.folder), "{folder}").splitlines()
        assert lines == list(run.stdout)


def test_every_folder_says_what_it_expects() -> None:
    folders = {path.parent.name for path in programs.TESTPROGS.glob("*/*.c*")} - {"common"}
    assert folders <= set(programs.scenarios()), "some need nothing but sources of common/"


def test_markers_are_found() -> None:
    assert programs.marker("abort", "loaded").startswith("common/host.c:")
    assert programs.marker("demo", "crash").startswith("demo/words.c:")
    every = {name: programs.markers(name) for name in programs.scenarios()}
    twice = [(name, one) for name, found in every.items() for one in found if len(found[one]) > 1]
    assert twice == []


def stops(scenario: str, name: str) -> dict[tuple[int, str], list[dict[str, Any]]]:
    """(which run, the marker to stop at) of a scenario's expected slots: the slots there."""
    found: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for slot in programs.expectations(scenario, name).get("slots", []):
        found.setdefault((slot.get("run", 0), slot.get("at", "loaded")), []).append(slot)
    return found


STOPS = [
    pytest.param(scenario, name, *stop, slots, id=f"{scenario}-{name}-{stop[0]}-{stop[1]}")
    for scenario in programs.scenarios()
    for name in ("x86_64", "musl")
    if name in programs.expectations(scenario)["builds"]
    for stop, slots in stops(scenario, name).items()
]


@pytest.mark.parametrize(("scenario", "name", "number", "until", "slots"), STOPS)
@pytest.mark.usefixtures("built")
def test_expected_slots_are_true(
    scenario: str,
    name: str,
    number: int,
    until: str,
    slots: list[dict[str, Any]],
    sessions: Sessions,
) -> None:
    """Read each expected slot by readelf's offset and /proc, where there is a /proc to read."""
    run = [run for run in programs.runs(scenario) if run.set == name][number]
    program = programs.program(f"{scenario}/{run.program}", name)
    gdb = sessions.live(program, *run.args, until=until, gdbext=False)
    assert gdb.pid
    maps = oracles.proc_maps(gdb.pid)
    with Path(f"/proc/{gdb.pid}/mem").open("rb") as memory:
        for slot in slots:
            judge_slot(slot, maps, memory, expected_base(scenario, slot["module"]))


def judge_slot(
    slot: dict[str, Any], maps: list[oracles.Mapping], memory: IO[bytes], first: int
) -> None:
    """One expected slot of a module whose first segment is at FIRST in its file."""
    mine = [mapping for mapping in maps if mapping.path.endswith(f"/{slot['module']}")]
    wanted = [
        one
        for one in oracles.readelf_slots(mine[0].path)
        if one.symbol == slot["symbol"] and one.type.endswith(slot.get("type", ""))
    ]
    assert wanted, slot
    for one in wanted:
        memory.seek(mine[0].start - first + one.offset)
        value = int.from_bytes(memory.read(8), "little")
        into = [m.path.rpartition("/")[2] for m in maps if m.start <= value < m.end]
        if slot["state"] == "null":
            assert value == 0, slot
        elif slot["state"] == "lazy":
            assert into == [slot["module"]], slot
        elif "provider" not in slot:
            assert into, slot
            assert into != [slot["module"]], slot
        else:
            assert into == [slot["provider"].replace("ld-musl-x86_64.so.1", "libc.so")], slot


def expected_base(scenario: str, module: str) -> int:
    """The address of a module's first PT_LOAD in its file."""
    base: int = programs.expectations(scenario).get("first_load", {}).get(module, 0)
    return base


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("name", programs.SETS)
def test_tls_models_have_their_relocations(name: str) -> None:
    wanted = programs.expectations("tls", name)["relocations"][name]
    for library, types in wanted.items():
        path = programs.BUILDS / name / "tls" / library
        assert set(types) <= {slot.type for slot in oracles.readelf_slots(path)}


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("name", ["x86_64", "aarch64"])
def test_irelative_slots_share_a_resolver(name: str) -> None:
    slots = oracles.readelf_slots(programs.BUILDS / name / "ifunc" / "libifunc.so")
    resolvers = [slot.addend for slot in slots if slot.type.endswith("_IRELATIVE")]
    assert len(resolvers) == 2
    assert len(set(resolvers)) == 1
