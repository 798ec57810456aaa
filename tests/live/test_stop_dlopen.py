"""Stops at dlopen: which library, who asked, with which flags, before its constructors."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import oracles, programs
from tests.dlopen_stops import ON, Stop, started, stops
from tests.harness import Batch, Gdb
from tests.programs import Program
from tests.sessions import Sessions

EACH_SET = pytest.mark.parametrize(
    "cpu",
    ["x86_64", pytest.param("aarch64", marks=pytest.mark.arm64), "musl"],
    indirect=True,
)


@EACH_SET
def test_constructors_have_not_run(live: Callable[..., Gdb], cpu: str) -> None:
    gdb = started(live, "ctor/host")
    expected = (
        ("libsimple.so", "opening libsimple.so", "host", "open_one", "host.c", "NOW"),
        ("libouter.so", "opening libouter.so", "host", "open_one", "host.c", "NOW"),
        ("libinner.so", "outer begins", "libouter.so", "begin", "outer.c", "LAZY"),
    )
    for name, last, module, function, file, flag in expected:
        stop = Stop(gdb.cmd("continue"))
        assert stop.name == name
        assert gdb.output().splitlines()[-1] == last
        marker = "nested" if file == "outer.c" else "dlopen"
        line = programs.marker("ctor", marker).rpartition(":")[2]
        assert re.fullmatch(
            rf"{module}\+0x[0-9a-f]+ {function} \({file}:{line}\)", stop.facts["asked by"]
        )
        if cpu == "musl":
            assert "flags are not known" in stop.facts["request"]
        else:
            assert stop.facts["request"] == f'dlopen("{name}", RTLD_{flag} | RTLD_LOCAL)'
        assert stop.facts["with it"] == "nothing else"
    assert "exited normally" in gdb.cmd("continue")


@EACH_SET
def test_range_and_path(live: Callable[..., Gdb], program: Callable[[str], Program]) -> None:
    gdb = started(live, "ctor/host")
    stop = Stop(gdb.cmd("continue"))
    path = program("ctor/host").folder / "libsimple.so"
    assert stop.facts["library"] == str(path)
    start, end = (int(word, 16) for word in stop.facts["range"].split(" - "))
    if gdb.pid:
        mapped = [m for m in oracles.proc_maps(gdb.pid) if m.path == str(path)]
        assert start == mapped[0].start
        assert mapped[-1].start < end <= mapped[-1].end


def test_flags(live: Callable[..., Gdb]) -> None:
    words = {
        "libone.so": "RTLD_LAZY | RTLD_LOCAL",
        "now:global:libtwo.so": "RTLD_NOW | RTLD_GLOBAL",
        "deep:nodelete:libundefined.so": "RTLD_LAZY | RTLD_DEEPBIND | RTLD_NODELETE | RTLD_LOCAL",
    }
    gdb = started(live, "loader/host", *words)
    found = stops(gdb)
    assert [s.facts["request"] for s in found] == [
        f'dlopen("{word.rpartition(":")[2]}", {flags})' for word, flags in words.items()
    ]


@EACH_SET
def test_what_comes_with_it(live: Callable[..., Gdb]) -> None:
    gdb = started(live, "loader/host", "libtwo.so")
    found = stops(gdb)
    assert [(s.name, s.facts["with it"]) for s in found] == [("libtwo.so", "libone.so")]


@EACH_SET
def test_reopen_failure_and_return(live: Callable[..., Gdb], cpu: str) -> None:
    """No stop for a library that is there, none for one that is not, one for one that is back."""
    gdb = started(
        live, "loader/host", "libone.so", "libone.so", "global:libone.so", "libmissing.so",
        "noload:libtwo.so", "close:1", "close:2", "close:3", "libone.so",
    )  # fmt: skip
    names = [s.name for s in stops(gdb)]
    assert names == (["libone.so"] if cpu == "musl" else ["libone.so", "libone.so"])


def test_failure_after_mapping_is_one_stop(live: Callable[..., Gdb]) -> None:
    gdb = started(live, "loader/host", "now:libundefined.so", "libone.so")
    names = [s.name for s in stops(gdb)]
    assert names[-1] == "libone.so"
    assert set(names) <= {"libundefined.so", "libone.so"}


def test_every_library_that_ld_debug_names(
    live: Callable[..., Gdb], program: Callable[[str], Program]
) -> None:
    wanted = [
        Path(loaded.name).name
        for loaded in oracles.ld_debug_files(program("dlopens/host"))
        if loaded.how == "dlopened"
    ]
    assert [s.name for s in stops(started(live, "dlopens/host"))] == wanted


def test_namespaces(live: Callable[..., Gdb]) -> None:
    found = stops(started(live, "namespaces/host"))
    assert [s.facts.get("namespace") for s in found] == [None, "1", "2"]
    assert all(s.name == "libns.so" for s in found)
    assert found[1].facts["request"] == 'dlmopen("libns.so", RTLD_LAZY | RTLD_LOCAL)'
    assert "libc.so.6" in found[1].facts["with it"]


def test_libc_opens_too(live: Callable[..., Gdb]) -> None:
    gdb = started(live, "libcdlopen/host")
    found = stops(gdb)
    assert found[0].name == "libnss_compat.so.2"
    assert re.match(r"host\+0x[0-9a-f]+ main \(host.c:\d+\)", found[0].facts["asked by"])
    assert found[0].facts["request"].startswith('by getpwnam: "libnss_compat.so.2", RTLD_NOW')
    if not gdb.arm64:  # the cross libc comes without gconv modules
        assert found[1].name == "ISO8859-2.so"
        assert found[1].facts["request"].startswith("by iconv_open: ")


@EACH_SET
def test_four_threads(live: Callable[..., Gdb]) -> None:
    found = stops(started(live, "racing/host"))
    assert sorted(s.name for s in found) == ["lib1.so", "lib2.so", "lib3.so", "lib4.so"]
    assert all(s.facts["asked by"].startswith("host+0x") for s in found)
    assert all(" work (host.c:" in s.facts["asked by"] for s in found)


def test_regex(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until=None, before=["set plug stop-on-dlopen g[lo]"])
    assert [s.name for s in stops(gdb)] == ["libglobal.so", "libgone.so"]


def test_regex_that_never_matches(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until=None, before=["set plug stop-on-dlopen libnever"])
    assert stops(gdb) == []


def test_settings(gdb: Callable[..., Gdb]) -> None:
    session = gdb()
    show = "show plug stop-on-dlopen"
    assert session.cmd(show) == "Stopping at a dlopen is 'off': never."
    session.cmd("set plug stop-on-dlopen lib.*foo")
    said = session.cmd("set plug stop-on-dlopen (")
    assert said.startswith("set plug stop-on-dlopen: '(' is no regular expression: ")
    assert "\n" not in said
    assert session.cmd(show) == "Stopping at a dlopen is 'lib.*foo': where the path matches."
    session.cmd("set plug stop-on-dlopen")
    assert session.cmd(show).startswith("Stopping at a dlopen is 'off'")
    assert "REGEX" in session.cmd("help set plug stop-on-dlopen") + session.cmd("help set plug")


def test_bad_regex_fails_a_batch(batch: Callable[..., Batch]) -> None:
    done = batch("-ex", "set plug stop-on-dlopen [")
    assert done.status != 0
    assert done.stderr.count("\n") == 1


def test_odd_names(sessions: Sessions, program: Callable[[str], Program], tmp_path: Path) -> None:
    odd = tmp_path / "lib \x1b[31m\n]'\".so"
    shutil.copy(program("loader/host").folder / "libone.so", odd)
    gdb = sessions.live(program("loader/host"), str(odd), until=None)
    gdb.cmd(ON)
    said = gdb.cmd("continue")
    assert "\x1b" not in said
    assert Stop(said).facts["library"] == str(tmp_path / (r"lib \x1b[31m\n]'" + '".so'))
