"""Stops at dlopen in every kind of session, and beside what the user does."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests import programs
from tests.dlopen_stops import ON, Stop, started, stops
from tests.harness import Gdb
from tests.programs import Program
from tests.sessions import Sessions


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


def test_core_has_no_stops(open_core: Callable[..., Gdb]) -> None:
    gdb = open_core("nullcall/host")
    assert gdb.cmd(ON) == ""
    assert "nullcall" in gdb.cmd("plug-links")
