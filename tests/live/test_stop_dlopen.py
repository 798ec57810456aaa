"""Stops at dlopen: which library, who asked, with which flags, before its constructors."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import oracles, programs
from tests.harness import Batch, Gdb, HarnessError
from tests.programs import Program
from tests.sessions import Sessions

EACH_SET = pytest.mark.parametrize(
    "cpu",
    ["x86_64", pytest.param("aarch64", marks=pytest.mark.arm64), "musl"],
    indirect=True,
)
ON = "set plug stop-on-dlopen on"


class Stop:
    """One report of a stop."""

    def __init__(self, said: str) -> None:
        assert said.count("[gdbext] ") == 1, said
        lines = said[said.index("[gdbext] ") :].splitlines()
        assert lines[0].endswith(" is mapped, its constructors have not run"), said
        self.name = lines[0].split()[1]
        rows = (re.match(r"  (\w+(?: \w+)?) +(.*)", line) for line in lines[1:])
        self.facts = {row[1]: row[2] for row in rows if row}


def stops(gdb: Gdb, first: str = "continue", most: int = 20) -> list[Stop]:
    """Every stop until the program has ended."""
    found: list[Stop] = []
    for number in range(most):
        said = gdb.cmd("continue" if number else first)
        if "[Inferior 1" in said:
            assert "[gdbext]" not in said
            return found
        found.append(Stop(said))
    raise HarnessError(f"more than {most} stops")


def started(live: Callable[..., Gdb], name: str, *arguments: str, **options: object) -> Gdb:
    gdb = live(name, *arguments, until=None, **options)
    gdb.cmd(ON)
    return gdb


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


def test_changed_while_it_runs(live: Callable[..., Gdb]) -> None:
    gdb = started(live, "dlopens/host")
    assert Stop(gdb.cmd("continue")).name == "liblazy.so"
    gdb.cmd("set plug stop-on-dlopen libdeep")
    assert Stop(gdb.cmd("continue")).name == "libdeep.so"
    gdb.cmd("set plug stop-on-dlopen off")
    assert "exited normally" in gdb.cmd("continue")


@pytest.mark.parametrize("extra", ["set auto-solib-add on", "set auto-solib-add off"])
def test_run_twice(sessions: Sessions, native: Callable[[str], Program], extra: str) -> None:
    gdb = sessions.gdb(str(native("ctor/host").path), before=[ON, extra])
    for _ in range(2):
        assert [s.name for s in stops(gdb, "run >/dev/null </dev/null")] == [
            "libsimple.so", "libouter.so", "libinner.so",
        ]  # fmt: skip
    Stop(gdb.cmd("run >/dev/null </dev/null"))
    gdb.cmd("kill")
    assert Stop(gdb.cmd("run >/dev/null </dev/null")).name == "libsimple.so"
    gdb.cmd("set plug stop-on-dlopen off")
    assert "exited" in gdb.cmd("run >/dev/null </dev/null")


def test_set_before_the_program_starts(live: Callable[..., Gdb]) -> None:
    gdb = live("ctor/host", until=None, before=[ON])
    assert [s.name for s in stops(gdb)] == ["libsimple.so", "libouter.so", "libinner.so"]


@pytest.mark.parametrize(
    "before",
    [["set auto-solib-add off"], ["set debug-file-directory /nonexistent"]],
    ids=["no-solibs", "no-debug-files"],
)
def test_without_gdbs_symbols(live: Callable[..., Gdb], before: list[str]) -> None:
    gdb = live("ctor/host", until=None, before=[*before, ON])
    found = stops(gdb)
    assert [s.name for s in found] == ["libsimple.so", "libouter.so", "libinner.so"]
    for stop, module in zip(found, ("host", "host", "libouter.so")):
        assert stop.facts["asked by"].startswith(f"{module}+0x")
        assert stop.facts["request"].startswith(f'dlopen("{stop.name}", RTLD_')


def test_attached(sessions: Sessions, native: Callable[[str], Program]) -> None:
    started_ = sessions.start(native("loader/host"), "wait", "libone.so", "wait")
    gdb = sessions.gdb(before=[ON])
    gdb.cmd(f"attach {started_.pid}")
    assert started_.stdin
    started_.stdin.write(b"go\n")
    started_.stdin.flush()
    assert Stop(gdb.cmd("continue")).name == "libone.so"


def test_gdbserver(gdbserver: Callable[..., Gdb]) -> None:
    gdb = gdbserver("ctor/host", until=None, before=[ON])
    assert [s.name for s in stops(gdb)] == ["libsimple.so", "libouter.so", "libinner.so"]


@pytest.mark.parametrize("name", ["static/static_pie", "static/static_fixed", "nopie/host"])
def test_no_stop_for_what_a_program_starts_with(live: Callable[..., Gdb], name: str) -> None:
    assert stops(live(name, until=None, before=[ON])) == []


def test_the_users_breakpoints_stay_clean(live: Callable[..., Gdb]) -> None:
    gdb = started(live, "ctor/host")
    assert gdb.cmd("info breakpoints").startswith("No breakpoints")
    Stop(gdb.cmd("continue"))
    assert gdb.cmd("info breakpoints").startswith("No breakpoints")
    gdb.cmd("break main")
    assert re.search(r"^1 +breakpoint", gdb.cmd("info breakpoints"), re.MULTILINE)


def test_sourcing_twice_stops_once(live: Callable[..., Gdb]) -> None:
    gdb = live("ctor/host", until=None, before=[ON, "source gdbext", ON, "source gdbext", ON])
    assert len(stops(gdb)) == 3


def test_stepping_goes_on(live: Callable[..., Gdb]) -> None:
    """A breakpoint that does not stop does not end a `next` over dlopen; one that stops does."""
    gdb = live("ctor/host", until="dlopen")
    gdb.cmd("set plug stop-on-dlopen libnever")
    gdb.cmd("next")
    assert "open_one" in gdb.cmd("frame")
    assert "simple begins" in gdb.output()
    gdb.cmd("set plug stop-on-dlopen on")
    gdb.until(programs.marker("ctor", "dlopen"))
    assert Stop(gdb.cmd("next")).name == "libouter.so"


def test_the_caller_can_be_reached(live: Callable[..., Gdb]) -> None:
    gdb = started(live, "ctor/host")
    Stop(gdb.cmd("continue"))
    for _ in range(30):
        if "open_one" in gdb.cmd("up"):
            break
    assert "open_one" in gdb.cmd("frame")
    gdb.cmd("set plug stop-on-dlopen off")
    gdb.cmd("frame function open_one")
    # What GDB prints depends on its symbols for libc; that the constructor ran does not.
    level = int(gdb.python("gdb.selected_frame().level()"))
    gdb.cmd(f"frame {level - 1}")
    gdb.cmd("finish")
    assert "open_one" in gdb.cmd("frame")
    assert "simple begins" in gdb.output()


def test_odd_names(sessions: Sessions, program: Callable[[str], Program], tmp_path: Path) -> None:
    odd = tmp_path / "lib \x1b[31m\n]'\".so"
    shutil.copy(program("loader/host").folder / "libone.so", odd)
    gdb = sessions.live(program("loader/host"), str(odd), until=None)
    gdb.cmd(ON)
    said = gdb.cmd("continue")
    assert "\x1b" not in said
    assert Stop(said).facts["library"] == str(tmp_path / (r"lib \x1b[31m\n]'" + '".so'))


def test_core_has_no_stops(open_core: Callable[..., Gdb]) -> None:
    gdb = open_core("nullcall/host")
    assert gdb.cmd(ON) == ""
    assert "nullcall" in gdb.cmd("plug-links")
