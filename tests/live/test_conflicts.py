"""plug-conflicts: by expect.json, and by LD_DEBUG=bindings with readelf on whatever runs."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import bindings, judges, oracles, programs
from tests.apache import APACHE, configuration
from tests.cores import Core
from tests.files import local, with_sections
from tests.harness import Batch, Gdb
from tests.programs import Program, Run
from tests.references import dynamic_symbols, references
from tests.sessions import Sessions

Document = dict[str, Any]
Lost = tuple[str, str, str, str]  # loser, winner, symbol, version


def runs_of(*scenarios: str) -> list[Any]:
    """Their runs; the index is the run's place in expect.json."""
    return [
        pytest.param(
            run,
            programs.index_of(run),
            id=f"{run.scenario}-{run.set}-{programs.index_of(run)}",
            marks=[pytest.mark.arm64] * (run.set == "aarch64"),
        )
        for scenario in scenarios
        for run in programs.runs(scenario)
    ]


def name(path: str) -> str:
    return os.path.basename(path)


def expected(run: Run, index: int, key: str) -> list[Document]:
    """The rows of expect.json that hold for a run."""
    rows = programs.expectations(run.scenario, run.set)[key]
    return [{**r, **r.get(run.set, {})} for r in rows if r.get("run", 0) == index]


# ------------------------------------------------------------------------- by expect.json


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("run", "index"), runs_of("conflicts"))
def test_who_lost_to_whom(run: Run, index: int, sessions: Sessions) -> None:
    program = programs.program(f"{run.scenario}/{run.program}", run.set)
    gdb = sessions.live(program, *run.args, env=run.env)
    document = gdb.json("plug-conflicts")
    assert document["unknown"] == []
    ours = [c for c in lost_rows(document) if ours_only(c)]
    keys = ("symbol", "loser", "winner", "bindings", "kind", "brought_in_by")
    wanted = [{key: row.get(key) for key in keys} for row in expected(run, index, "conflicts")]
    assert [row for row in wanted if row not in ours] == [], ours
    assert [row for row in ours if row["kind"] is None and row not in wanted] == []


def ours_only(row: Document) -> bool:
    """Whether a row is about libraries of the scenario, not of the system."""
    return not re.match(r"lib(c|m|stdc\+\+|gcc_s)\.so|ld-", row["loser"])


def lost_rows(document: Document) -> list[Document]:
    """The rows of both lists, as expect.json has them."""
    return [
        {
            "symbol": c["symbol"],
            "loser": name(c["loser"]),
            "winner": name(c["winner"]),
            "bindings": c["bindings"],
            "kind": c.get("kind"),
            "brought_in_by": c["brought_in_by"],
        }
        for c in document["conflicts"] + document["benign"]
    ]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("run", "index"), runs_of("runtimes"))
def test_families_are_told_by_exports(run: Run, index: int, sessions: Sessions) -> None:
    program = programs.program(f"{run.scenario}/{run.program}", run.set)
    document = sessions.live(program, *run.args, env=run.env).json("plug-conflicts")
    found = [
        {"family": f["family"], "copies": [name(c["module"]) for c in f["copies"]]}
        for f in document["families"]
    ]
    wanted = expected(run, index, "families")
    assert found == [{k: row[k] for k in ("family", "copies")} for row in wanted]
    for family in document["families"]:
        for copy in family["copies"]:
            defined = {s.name for s in oracles.nm_symbols(copy["module"]) if s.kind in "TWiu"}
            assert set(copy["exports"]) <= defined


def test_a_namespace_has_runtimes_of_its_own(live: Callable[..., Gdb]) -> None:
    gdb = live("runtimes/opener", "open:n:libplain.so", "space:n:libother.so")
    assert len(gdb.json("plug-links")["namespaces"]) == 2
    assert gdb.json("plug-conflicts")["families"] == []


# ------------------------------------------------------------------------- by ld.so itself

JUDGED = ("conflicts", "order", "preload", "pair", "promote", "deepbind", "symbolic", "spaces",
          "versions", "unique", "visibility", "fixed", "exported", "hashes", "tlsname", "absolute",
          "cxx", "nopie", "ifuncs")  # fmt: skip


def lost_by_log(log: bindings.Bindings, links: Document, arm64: bool) -> dict[Lost, int]:
    """{(loser, winner, symbol, version): how many references, 0 if some have another winner}.

    A module lost a definition if its file defines the symbol and ld.so bound its own reference
    elsewhere. COPY relocations and dlsym are no references of that kind.
    """
    by_name = {(m["namespace"], m["name"]): m["path"] for m in judges.modules(links)}
    kernel = [m["path"] for m in judges.modules(links) if m["kind"] == "vdso"]
    main = links["namespaces"][0]["modules"][0]["path"]
    found: dict[Lost, int] = {}
    for (namespace, file), bound in log.found.items():
        path = by_name.get((namespace, file), main)
        if path in kernel:
            continue  # libc looks the vDSO's functions up in its name
        here = with_sections(local(path, arm64))
        defined = dynamic_symbols(here)
        counts = Counter(key for key, kind in references(here) if "COPY" not in kind)
        for key, targets in bound.items():
            symbol = defined.get(key)
            if symbol is None or symbol.section == "UND" or not counts[key]:
                continue
            if symbol.visibility != "DEFAULT" or symbol.bind == "LOCAL":
                continue
            for target in targets:
                winner = by_name.get(target, main)
                if (namespace, winner) != (target[0], path):
                    found[path, winner, key[0], key[1]] = (
                        counts[key] if len(set(targets)) == 1 else 0
                    )
    return found


def lost_by_us(document: Document) -> dict[Lost, int]:
    rows = document["conflicts"] + document["benign"]
    keys = [(c["loser"], c["winner"], c["symbol"], c["version"] or "") for c in rows]
    return {key: c["bindings"] for key, c in zip(keys, rows)}


def agree(document: Document, log: bindings.Bindings, links: Document, arm64: bool) -> int:
    """Assert that plug-conflicts says what ld.so did; the number of lost definitions."""
    ours, theirs = lost_by_us(document), lost_by_log(log, links, arm64)
    linker = {m["path"] for m in judges.modules(links) if m["kind"] == "linker"}
    # ld.so relocates itself first, without a word in the log (elf/rtld.c, dl_main).
    ours = {key: count for key, count in ours.items() if key[0] not in linker or key in theirs}
    assert ours.keys() == theirs.keys()
    for key, count in ours.items():
        assert count == (theirs[key] or count), key
    assert document["unknown"] == []
    return len(ours)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("run", "index"), [row for row in runs_of(*JUDGED) if row.values[0].set != "musl"]
)
def test_conflicts_are_what_ld_so_bound(
    run: Run, index: int, sessions: Sessions, tmp_path: Path
) -> None:
    program = programs.program(f"{run.scenario}/{run.program}", run.set)
    output = tmp_path / f"ld{index}"
    env = {**run.env, "LD_BIND_NOW": "1"}
    env |= {"LD_DEBUG": "bindings:files", "LD_DEBUG_OUTPUT": str(output)}
    gdb = sessions.live(program, *run.args, env=env)
    document, links = gdb.json("plug-conflicts"), gdb.json("plug-links")
    lost = agree(document, bindings.read_bindings(output), links, gdb.arm64)
    assert lost or run.scenario not in ("conflicts", "fixed", "exported", "cxx", "unique")
    assert document["duplicate_symbols"] == duplicates(links, gdb.arm64)


def duplicates(links: Document, arm64: bool) -> int:
    """Strong default symbols that several files of one namespace define, by readelf.

    What stands in no hash table is invisible; the linker puts everything defined into it.
    """
    seen: Counter[tuple[int, str, str]] = Counter()
    for module in judges.modules(links):
        if module["kind"] == "vdso" or (module["kind"] == "linker" and module["namespace"]):
            continue
        file = with_sections(local(module["path"], arm64))
        seen.update(
            (module["namespace"], *key)
            for key, symbol in dynamic_symbols(file).items()
            if symbol.section != "UND" and symbol.bind == "GLOBAL"
            and symbol.visibility == "DEFAULT"
        )  # fmt: skip
    return sum(count > 1 for count in seen.values())


@pytest.mark.slow
def test_apache_with_every_module(sessions: Sessions, tmp_path: Path) -> None:
    program = Program("apache", APACHE, "x86_64")
    output = tmp_path / "ld"
    env = {"LD_DEBUG": "bindings,files", "LD_DEBUG_OUTPUT": str(output), "LD_BIND_NOW": "1"}
    gdb = sessions.live(program, "-t", "-f", str(configuration(tmp_path)), until=None, env=env)
    gdb.until("ap_run_test_config")
    document, links = gdb.json("plug-conflicts"), gdb.json("plug-links")
    assert len(judges.modules(links)) > 50
    assert agree(document, bindings.read_bindings(output), links, arm64=False) > 0
    assert document["duplicate_symbols"] == duplicates(links, arm64=False)


# --------------------------------------------------------------------- what a person reads


def test_text(live: Callable[..., Gdb]) -> None:
    run = programs.runs("conflicts")[0]
    gdb = live("conflicts/opener", *run.args)
    text = gdb.cmd("plug-conflicts")
    assert text.startswith("3 conflicts:\n")
    assert "libneeds.so lost to libneeded.so: 1 symbol" in text
    assert "from_needed" in text
    assert "needed by opener" in text
    assert "from_each" not in text, "each of the two keeps its own"
    gdb.cmd("set width 80")
    assert max(map(len, gdb.cmd("plug-conflicts").splitlines())) <= 80


def test_benign_ones_are_listed_on_demand(live: Callable[..., Gdb]) -> None:
    run = programs.runs("conflicts")[2]
    gdb = live("conflicts/opener", *run.args)
    text = gdb.cmd("plug-conflicts")
    assert text.startswith("0 conflicts\n")
    assert re.search(r"^\d+ benign \(inline\): C\+\+ inline functions", text, re.MULTILINE)
    assert "area(Shape const&)" not in text
    assert "area(Shape const&)" in gdb.cmd("plug-conflicts -benign")


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_a_core_and_the_process_say_the_same(
    live: Callable[..., Gdb], open_core: Callable[..., Gdb]
) -> None:
    """For a core of another run, addresses apart."""
    crashed = live("names/host", until="SIGSEGV").json("plug-conflicts")
    from_core = open_core("names/host").json("plug-conflicts")
    for document in (crashed, from_core):
        assert document["unknown"] == []
    assert lost_by_us(from_core) == lost_by_us(crashed)
    assert from_core["duplicate_symbols"] == crashed["duplicate_symbols"]


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_a_core_without_its_files_says_what_it_cannot_know(
    core: Callable[..., Core], open_core: Callable[..., Gdb]
) -> None:
    gdb = open_core(core("names/host", gone=True), with_program=False)
    document = gdb.json("plug-conflicts")
    whole = open_core("names/host").json("plug-conflicts")
    assert set(map(name_row, document["conflicts"])) <= set(map(name_row, whole["conflicts"]))


def name_row(conflict: Document) -> tuple[str, str, str]:
    return name(conflict["loser"]), name(conflict["winner"]), conflict["symbol"]


def test_without_a_process_it_fails(
    batch: Callable[..., Batch], native: Callable[..., Any]
) -> None:
    done = batch("-ex", "plug-conflicts", str(native("conflicts/opener").path))
    assert done.status == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("plug-conflicts: ")
    assert done.stdout == ""
