"""plug-needed: trees, cycles, versions, openers and drift, judged by readelf and LD_DEBUG."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cores import Core
from tests.harness import Gdb
from tests.needs import judge_needed
from tests.programs import Program, marker
from tests.searches import read_searches
from tests.sessions import Sessions

Document = dict[str, Any]
Start = Callable[..., Gdb]


@pytest.fixture
def start(sessions: Sessions, program: Callable[[str], Program], tmp_path: Path) -> Start:
    """start("libring1.so", env={…}): needs/host, with LD_DEBUG's words in tmp_path/ld.PID."""
    chosen = program("needs/host")

    def run(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> Gdb:  # noqa: ANN401
        debug = {"LD_DEBUG": "files:libs", "LD_DEBUG_OUTPUT": str(tmp_path / "ld"), **(env or {})}
        host = Program("loader", chosen.path, chosen.set)  # it has the loader's sources
        return sessions.live(host, *arguments, env=debug, **options)

    return run


def name(path: str | None) -> str:
    return os.path.basename(path or "")


def module(document: Document, file: str) -> Document:
    found: list[Document] = [m for m in document["modules"] if name(m["path"]) == file]
    assert len(found) == 1
    return found[0]


def names(references: list[Document]) -> list[str]:
    return [name(reference["path"]) for reference in references]


def test_a_cycle_of_needed_libraries(
    start: Start, program: Callable[[str], Program], tmp_path: Path
) -> None:
    gdb = start("libring1.so")
    document = gdb.json("plug-needed")
    judge_needed(document, tmp_path / "ld", program("needs/host").arm64)
    (cycle,) = document["cycles"]
    ring = ["libring1.so", "libring2.so", "libring3.so"]
    assert (cycle["kind"], names(cycle["modules"]), names(cycle["way"])) == (
        "needed", ring, [*ring, "libring1.so"],
    )  # fmt: skip
    assert cycle["edges"] == ["needed"] * 3
    assert document["drift"] == []
    roots = {name(root["path"]): root["why"] for root in document["roots"]}
    assert roots == {"host": "program", "libring1.so": "dlopened"}
    text = gdb.cmd("plug-needed")
    assert ": 1 cycle, every version provided, no drift" in text
    assert text.index("\n  libring1.so (dlopened by host)") < text.index("\n    libring2.so ")
    assert "\n        libring1.so (above: a cycle)" in text
    assert "Cycle: libring1.so -> libring2.so -> libring3.so -> libring1.so: " in text


def test_a_cycle_of_relocations(
    start: Start, program: Callable[[str], Program], tmp_path: Path
) -> None:
    gdb = start("global:libleft.so", "global:libright.so", "libkick.so")
    document = gdb.json("plug-needed")
    judge_needed(document, tmp_path / "ld", program("needs/host").arm64)
    assert names(module(document, "libleft.so")["relocation_needs"]) == ["libright.so"]
    assert names(module(document, "libright.so")["relocation_needs"]) == ["libleft.so"]
    assert names(module(document, "libkick.so")["relocation_needs"]) == [
        "libleft.so",
        "libright.so",
    ]
    (cycle,) = document["cycles"]
    assert (cycle["kind"], names(cycle["modules"])) == ("relocation", ["libleft.so", "libright.so"])
    ways = gdb.json("plug-needed libleft.so")["kept_by"][0]["ways"]
    assert [(name(way["root"]["path"]), names(way["steps"])) for way in ways] == [
        ("libleft.so", []),
        ("libright.so", ["libleft.so"]),
        ("libkick.so", ["libleft.so"]),
    ]
    assert ways[1]["steps"][0]["edge"] == "relocation"
    text = gdb.cmd("plug-needed libleft.so")
    assert "libleft.so is there because of\n  libleft.so (dlopened by host)\n" in text
    assert "  libkick.so (dlopened by host) -> + libleft.so" in text
    assert "unloaded together or not at all" in text


def test_one_library_in_two_versions(
    start: Start, program: Callable[[str], Program], tmp_path: Path
) -> None:
    files = ["libtwin.so.1", "libtwin.so.2", "libdigest-0a1b2c3d.so.4", "libdigest-9f8e7d6c.so.4"]
    document = start(*files).json("plug-needed")
    judge_needed(document, tmp_path / "ld", program("needs/host").arm64)
    assert [(d["kind"], names(d["modules"])) for d in document["drift"]] == [
        ("two versions", files[:2]),
        ("two versions", files[2:]),
    ]
    assert document["cycles"] == []


def test_a_weak_version_is_missing_and_a_soname_is_another(
    start: Start, program: Callable[[str], Program], tmp_path: Path
) -> None:
    gdb = start("libwants.so", "libuser.so")
    document = gdb.json("plug-needed")
    judge_needed(document, tmp_path / "ld", program("needs/host").arm64)
    rows = module(document, "libwants.so")["versions_required"]
    assert {(r["version"], r["weak"], r["state"]) for r in rows} == {
        ("NEEDS_1", False, "provided"),
        ("NEEDS_2", True, "missing"),
    }
    (drift,) = document["drift"]
    assert (drift["kind"], names(drift["modules"])) == (
        "other soname",
        ["libalias.so", "libuser.so"],
    )
    text = gdb.cmd("plug-needed")
    assert "1 version not provided, 1 case of drift" in text
    assert "Version: libwants.so requires NEEDS_2 (weak) of libversioned.so: MISSING in /" in text
    assert "libuser.so needs libalias.so and got a file whose own soname is libalias.so.3" in text
    alone = gdb.json("plug-needed libwants.so")
    assert {name(m["path"]) for m in alone["modules"]} == {"libwants.so", "libversioned.so"}
    assert alone["drift"] == []
    assert "  requires of libversioned.so: NEEDS_2 (weak), NEEDS_1" in gdb.cmd(
        "plug-needed libwants.so"
    )


def test_ld_library_path_came_first(
    start: Start, program: Callable[[str], Program], tmp_path: Path
) -> None:
    folder = program("needs/host").folder / "first"
    gdb = start("libutil.so.1", env={"LD_LIBRARY_PATH": f"/nowhere:{folder}"})
    document = gdb.json("plug-needed")
    judge_needed(document, tmp_path / "ld", program("needs/host").arm64)
    (drift,) = document["drift"]
    assert (drift["kind"], names(drift["modules"])) == ("shadowed", ["libutil.so.1"])
    assert drift["modules"][0]["path"] == f"{folder}/libutil.so.1"
    other = drift["other"]
    assert name(other["path"]) == "libutil.so.1"
    assert other["path"].startswith("/lib/")
    assert f"build-id {other['build_id']}" in drift["evidence"][2]
    assert "LD_LIBRARY_PATH" in gdb.cmd("plug-needed")


def test_one_soname_from_two_places(
    sessions: Sessions, program: Callable[[str], Program], cpu: str
) -> None:
    bare = program("search/bare")
    files = [str(bare.path.parent / folder / "libleaf.so") for folder in ("one", "two")]
    gdb = sessions.live(Program("loader", bare.path, cpu), *files)
    (drift,) = gdb.json("plug-needed")["drift"]
    assert drift["kind"] == "same soname"
    assert [m["path"] for m in drift["modules"]] == files
    assert "libleaf.so is loaded 2 times in one namespace" in drift["text"]


def test_who_opened_a_plugin(start: Start, tmp_path: Path) -> None:
    gdb = start("libopener.so", until="dlopen")
    gdb.until(marker("needs", "inner"))
    inner = module(gdb.json("plug-needed"), "libinner.so")
    assert name(inner["opened_by"]) == "libopener.so"
    assert "still running" in inner["opened_by_reason"]
    gdb.until(marker("loader", "loaded"))
    document = gdb.json("plug-needed")
    inner = module(document, "libinner.so")
    assert (name(inner["opened_by"]), inner["search"]) == ("libopener.so", "RUNPATH")
    assert "only loaded module" in inner["opened_by_reason"]
    assert read_searches(tmp_path / "ld")["libinner.so"] == "RUNPATH"
    assert "  libinner.so (dlopened by libopener.so)  RUNPATH" in gdb.cmd("plug-needed")


def test_namespaces(live: Callable[..., Gdb]) -> None:
    gdb = live("namespaces/host", until="loaded")
    document = gdb.json("plug-needed")
    roots = [(name(r["path"]), r["why"]) for r in document["roots"]]
    assert roots == [("host", "program")] + [("libns.so", "dlopened")] * 3
    by_map = {m["link_map"]: m for m in document["modules"]}
    for one in document["modules"]:
        assert {by_map[n["link_map"]]["namespace"] for n in one["needed"]} <= {one["namespace"]}
    assert "\nNamespace 2\n  libns.so (dlopened)" in gdb.cmd("plug-needed")


def test_a_core_says_what_the_process_said(
    live: Callable[..., Gdb], open_core: Callable[..., Gdb], core: Callable[..., Core]
) -> None:
    def facts(document: Document) -> list[tuple[Any, ...]]:
        return [
            (m["path"], m["kind"], m["search"], m["open_count"], [n["path"] for n in m["needed"]],
             m["versions_required"], m["versions_provided"], m["relocation_needs"])
            for m in document["modules"] if m["kind"] != "vdso"
        ]  # fmt: skip

    process = live("nullcall/host", until="SIGSEGV").json("plug-needed")
    dead = open_core(core("nullcall/host")).json("plug-needed")
    assert facts(dead) == facts(process)
    assert [(d["kind"]) for d in dead["drift"]] == []


@pytest.mark.parametrize("cpu", ["musl"], indirect=True)
def test_musl(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until="loaded")
    document = gdb.json("plug-needed")
    lazy = module(document, "liblazy.so")
    assert names(lazy["needed"]) == ["libdep.so", "ld-musl-x86_64.so.1"]
    assert lazy["relocation_needs"] is None
    assert "no list of them" in lazy["relocation_needs_reason"]
    assert lazy["search"] is None
    assert document["drift"] == []
    assert "libdep.so" in gdb.cmd("plug-needed")


def test_completion_and_failures(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host")
    assert "plug-needed liblazy.so" in gdb.cmd("complete plug-needed libl").splitlines()
    assert gdb.cmd("plug-needed nothing-like-this").startswith("plug-needed: no loaded module has")
    assert "Usage: plug-needed [MODULE] [-json] [-out FILE]" in gdb.cmd("help plug-needed")
