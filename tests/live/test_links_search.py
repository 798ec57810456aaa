"""plug-links -search: the rule by which ld.so found each file, as LD_DEBUG=libs tells it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import judges
from tests.harness import Gdb
from tests.oracles import interpreter
from tests.programs import Program
from tests.searches import read_searches
from tests.sessions import Sessions


def searched(gdb: Gdb) -> dict[str, tuple[str | None, str]]:
    """{file name: (rule, words)} of plug-links -search."""
    listed = judges.modules(gdb.json("plug-links -search"))
    assert all(module["search_reason"] for module in listed)
    return {
        os.path.basename(m["path"]): (m["search"], m["search_reason"])
        for m in listed
        if m["kind"] not in ("main", "linker", "vdso")
    }


def judged_searches(
    sessions: Sessions, program: Program, folder: Path, *arguments: str, **env: str
) -> dict[str, str | None]:
    """The rules that plug-links tells, each being what LD_DEBUG=libs of the same run told."""
    output = folder / "search"
    debug = {"LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": str(output)}
    gdb = sessions.live(program, *arguments, until="loaded", env={**env, **debug})
    shown = searched(gdb)
    told = read_searches(output)
    assert told
    rules = {name: rule for name, (rule, _) in shown.items()}
    assert set(told) <= {*rules, "libgone.so"}
    assert {name: rule for name, rule in rules.items() if rule not in ("path", "LD_PRELOAD")} == {
        name: rule for name, rule in told.items() if name in rules
    }
    return rules


def searcher(program: Callable[[str], Program], name: str) -> Program:
    """search/NAME, which is built from the loader's sources: its markers are there."""
    chosen = program(f"search/{name}")
    return Program("loader", chosen.path, chosen.set)


def test_search_by_runpath_and_cache_or_default(
    sessions: Sessions, program: Callable[[str], Program], cpu: str, tmp_path: Path
) -> None:
    rules = judged_searches(sessions, program("dlopens/host"), tmp_path)
    assert rules["libdep.so"] == rules["libdeep.so"] == "RUNPATH"
    assert rules["libc.so.6"] == ("cache" if cpu == "x86_64" else "default")


def test_search_by_ld_library_path(
    sessions: Sessions, program: Callable[[str], Program], tmp_path: Path
) -> None:
    folder = program("loader/host").folder
    rules = judged_searches(
        sessions,
        searcher(program, "bare"),
        tmp_path,
        "libone.so",
        LD_LIBRARY_PATH=f"/nowhere:{folder}",
    )
    assert rules["libone.so"] == "LD_LIBRARY_PATH"


def test_search_in_the_working_directory_and_by_origin(
    sessions: Sessions, program: Callable[[str], Program], tmp_path: Path
) -> None:
    folder = program("loader/host").folder
    bare = searcher(program, "bare")
    for number, path in enumerate((":", "/nowhere:", "${ORIGIN}/../loader", "../loader;/nowhere")):
        output = tmp_path / f"search{number}"
        env = {"LD_LIBRARY_PATH": path, "LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": str(output)}
        gdb = sessions.live(bare, "libone.so", until="loaded", env=env, cwd=folder)
        rule, words = searched(gdb)["libone.so"]
        assert (rule, read_searches(output)["libone.so"]) == ("LD_LIBRARY_PATH",) * 2
        here = "libone.so found in the working directory (LD_LIBRARY_PATH)"
        assert (words == here) is (number < 2)


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_search_by_library_path_of_the_dynamic_linker(
    sessions: Sessions, program: Callable[[str], Program]
) -> None:
    bare, folder = searcher(program, "bare"), program("loader/host").folder
    loader = Program("loader", interpreter(bare.path), "x86_64")
    words = ("--library-path", f"/nowhere:{folder}", str(bare.path), "libone.so")
    # GDB reads no symbols of a program that is ld.so's argument in time for a marker
    gdb = sessions.live(loader, *words, until=None)
    gdb.until("_exit")
    rule, words_ = searched(gdb)["libone.so"]
    assert (rule, words_) == ("LD_LIBRARY_PATH", f"libone.so found in {folder}/ (--library-path)")


def test_search_by_rpath_of_the_loader_and_of_its_loader(
    sessions: Sessions, program: Callable[[str], Program], tmp_path: Path
) -> None:
    rules = judged_searches(sessions, searcher(program, "rpath"), tmp_path, "libmiddle.so")
    assert rules["libmiddle.so"] == "RPATH"
    assert rules["libleaf.so"] == "RPATH"


def test_rpath_is_off_for_one_with_a_runpath(
    sessions: Sessions, program: Callable[[str], Program], tmp_path: Path
) -> None:
    chosen = searcher(program, "rpath")
    library = chosen.path.parent / "two" / "librunpath.so"
    rules = judged_searches(sessions, chosen, tmp_path, str(library))
    assert rules["librunpath.so"] == "path"
    assert rules["libleaf.so"] == "RUNPATH"


def test_search_by_path_and_preload(
    sessions: Sessions, program: Callable[[str], Program], tmp_path: Path
) -> None:
    folder = program("loader/host").folder
    rules = judged_searches(
        sessions,
        program("loader/host"),
        tmp_path,
        str(folder / "libtwo.so"),
        LD_PRELOAD=str(folder / "libundefined.so"),
    )
    assert rules["libundefined.so"] == "LD_PRELOAD"
    assert rules["libtwo.so"] == "path"
    assert rules["libone.so"] == "RUNPATH"


def test_search_is_shown_as_text(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host")
    rows = gdb.cmd("plug-links -search").splitlines()
    assert rows[1].split()[-2:] == ["by", "module"]
    assert any(re.search(r" RUNPATH +/\S*/libdep\.so$", row) for row in rows)
    assert "RUNPATH: libdep.so found in" not in gdb.cmd("plug-links libdep.so")
    assert "libdep.so found in" in gdb.cmd("plug-links libdep.so -search")
