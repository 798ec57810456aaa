"""The scopes of each module against LD_DEBUG=scopes, and those of dlsym with a handle."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import judges, programs
from tests.harness import Gdb

OBJECT = re.compile(r"^ *\d+:\tobject=(?P<name>.*) \[(?P<namespace>\d+)\]$")
SCOPE = re.compile(r"^ *\d+:\t scope (?P<number>\d+): (?P<names>.*)$")
GLOBAL = re.compile(r"^ *\d+:\tadd (?P<name>.*) \[(?P<namespace>\d+)\] to global scope$")


def parse_scopes(text: str) -> dict[str, dict[int, list[str]]]:
    """LD_DEBUG=scopes in the base namespace: {object: {number: names}} in the end.

    The global scope is printed as it was when an object came in; what was added to it later is
    told apart (glibc, elf/dl-open.c, add_to_global_update)."""
    found: dict[str, dict[int, list[str]]] = {}
    current: dict[int, list[str]] = {}
    added: list[str] = []
    main: list[str] = []
    for line in text.splitlines():
        if match := OBJECT.match(line):
            base = match["namespace"] == "0"
            current = found.setdefault(match["name"], {}) if base else {}
        elif match := SCOPE.match(line):
            names = match["names"].split()
            main = main or names
            current[int(match["number"])] = names
        elif (match := GLOBAL.match(line)) and match["namespace"] == "0":
            added.append(match["name"])
    whole = main + [name for name in added if name not in main]
    for scopes in found.values():
        for number, names in scopes.items():
            if names[: len(main)] == main:
                scopes[number] = whole
    return found


@pytest.mark.parametrize("scenario", ["dlopens", "initorder", "openers", "deepbind", "symbolic"])
def test_scopes_are_those_of_ld_debug(
    scenario: str, cpu: str, live: Callable[..., Gdb], tmp_path: Path
) -> None:
    log = tmp_path / "ld"
    run = next(run for run in programs.runs(scenario) if run.set == cpu)
    gdb = live(
        f"{scenario}/{run.program}",
        *run.args,
        env={"LD_DEBUG": "scopes", "LD_DEBUG_OUTPUT": str(log)},
    )
    (file,) = tmp_path.glob("ld.*")
    told = parse_scopes(file.read_text())
    modules = [m for m in judges.modules(gdb.json("plug-links")) if m["namespace"] == 0]
    names = {m["path"]: m["name"] for m in modules}
    program_name = next(iter(told))  # ld.so calls it by argv[0]
    names[modules[0]["path"]] = program_name
    compared = 0
    for module in modules:
        here = names[module["path"]]
        if module["kind"] in ("vdso", "linker") or here not in told:
            continue
        rows = gdb.json(f"plug-symbol malloc -from '{module['path']}'")["scope"]
        own: dict[int, list[str]] = {}
        for row in rows:
            listed = own.setdefault(row["list"], [])
            if row["module"] in names and names[row["module"]] not in listed:
                listed.append(names[row["module"]])
        assert own == told[here], module["path"]
        compared += 1
    assert compared >= 3


def test_dlsym_with_a_handle_searches_its_dependencies_alone(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host")
    found = gdb.json("plug-symbol dep_value -handle liblazy.so")
    assert found["winner"].endswith("/libdep.so")
    assert {row["list"] for row in found["scope"]} == {0}
    assert [Path(row["module"]).name for row in found["scope"]][:2] == ["liblazy.so", "libdep.so"]
    # RTLD_LOCAL: the program itself does not find it
    assert gdb.json("plug-symbol dep_value")["winner"] is None
    assert "one of -from and -handle" in gdb.cmd("plug-symbol malloc -from host -handle libdep")
