"""plug-needed on programs that nobody here wrote, judged by their LD_DEBUG and by readelf."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.apache import APACHE, configuration
from tests.harness import Gdb
from tests.needs import Document, judge_files, relocation_dependencies
from tests.programs import Program
from tests.searches import parse_found
from tests.sessions import Sessions


def judged(gdb: Gdb, output: Path) -> tuple[Document, int, int]:
    """The document, and how many searches and required versions were compared."""
    document = gdb.json("plug-needed")
    for other in output.parent.glob(f"{output.name}.*"):
        if other.suffix != f".{gdb.pid}":
            other.unlink()  # of a child
    told = parse_found(Path(f"{output}.{gdb.pid}").read_text(errors="surrogateescape"))
    shown = {m["path"]: m["search"] for m in document["modules"]}
    searched = {path: rule for path, rule in told.items() if path in shown}
    assert {path: shown[path] for path in searched} == searched
    fixed = {"program", "interpreter", "kernel", "path", "LD_PRELOAD"}
    assert {path for path, rule in shown.items() if rule not in fixed} == set(searched)
    bound = {
        (module["path"], other["path"])
        for module in document["modules"]
        for other in module["relocation_needs"]
    }
    assert bound == {p for p in relocation_dependencies(output) if set(p) <= set(shown)}
    assert all(need["path"] for module in document["modules"] for need in module["needed"])
    return document, len(searched), judge_files(document, Path)


def healthy(document: Document) -> None:
    """No finding on a program that is as Debian installed it."""
    states = {v["state"] for m in document["modules"] for v in m["versions_required"]}
    assert (document["drift"], document["problems"], states) == ([], [], {"provided"})
    assert not [cycle for cycle in document["cycles"] if cycle["kind"] == "needed"]


@pytest.mark.slow
def test_apache_with_every_module(sessions: Sessions, tmp_path: Path) -> None:
    program = Program("apache", APACHE, "x86_64")
    env = {"LD_DEBUG": "libs:files", "LD_DEBUG_OUTPUT": str(tmp_path / "ld")}
    gdb = sessions.live(program, "-t", "-f", str(configuration(tmp_path)), until=None, env=env)
    gdb.until("ap_run_test_config")
    document, searches, versions = judged(gdb, tmp_path / "ld")
    assert searches > 20
    assert versions > 500
    healthy(document)
    # mod_proxy is opened first, and others call it without needing it
    ways = gdb.json("plug-needed mod_proxy.so")["kept_by"][0]["ways"]
    assert len(ways) > 5


def test_perl_and_its_modules(sessions: Sessions, tmp_path: Path) -> None:
    program = Program("perl", Path("/usr/bin/perl"), "x86_64")
    env = {"LD_DEBUG": "libs:files", "LD_DEBUG_OUTPUT": str(tmp_path / "ld")}
    words = ("-MPOSIX", "-MSocket", "-e", "POSIX::_exit(0)")
    gdb = sessions.live(program, *words, until=None, env=env)
    gdb.until("_exit")
    document, searches, _ = judged(gdb, tmp_path / "ld")
    assert searches >= 3
    healthy(document)
    whys = [root["why"] for root in document["roots"]]
    assert whys == ["program"] + ["dlopened"] * (len(whys) - 1)
    assert len(whys) > 2


def test_gdb_itself(sessions: Sessions, tmp_path: Path) -> None:
    program = Program("gdb", Path("/usr/bin/gdb"), "x86_64")
    env = {"LD_DEBUG": "libs:files", "LD_DEBUG_OUTPUT": str(tmp_path / "ld")}
    gdb = sessions.live(program, "--version", until=None, env=env)
    gdb.until("exit")
    document, searches, versions = judged(gdb, tmp_path / "ld")
    assert searches > 20
    assert versions > 100
    healthy(document)
