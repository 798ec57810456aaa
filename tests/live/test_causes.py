"""The cause of a crash: each rule on both CPUs, and no cause where there is none."""

from __future__ import annotations

import json
import os
import re
import signal as signals
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import programs
from tests.cores import Core
from tests.harness import Gdb, load_gdbext
from tests.programs import Program, Run
from tests.reports import BY_US, Report
from tests.sessions import Sessions

READ = (
    "__import__('json').dumps(__import__('gdbext.findings.crash.crash',fromlist=['x'])"
    ".causes_document(__import__('gdbext.stops.crash',fromlist=['x']).read_crash("
    "__import__('gdbext.inferior',fromlist=['x']).Inferior(), {!r}).causes))"
)

# By scenario, and by a run's first argument where the runs of one differ: the rule and what its
# sentence names. Scenarios that are about a cause say it in expect.json.
EXPECTED: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("nullcall", ""): ("null_slot", ("optional_feature", "libplugin.so", "weak")),
    ("nullcall", "libnoplt.so"): ("null_slot", ("optional_feature", "libnoplt.so")),
    ("demo", ""): ("null_slot", ("metrics_observe", "libwords.so", "weak")),
    ("wildcall", "slot"): ("wild_slot", ("getpid", "libtarget.so", "0x1badc0de0")),
    ("relrowrite", ""): ("write_to_relro", ("libplugin.so", "plugin_run", "names")),
    ("rodatawrite", ""): ("write_to_read_only", ("libplugin.so", "plugin_run", "greeting")),
    ("stackoverflow", ""): ("stack_overflow", ("descend", "libplugin.so", "calls itself")),
    ("stackoverflow", "libthread.so"): ("stack_overflow", ("descend", "libthread.so", "thread 2")),
    ("shapes", "wide"): ("stack_overflow", ("wide in libplugin.so takes 67", "bytes")),
    ("shapes", "mutual"): (
        "stack_overflow",
        ("thread 2", "ping of libplugin.so", "pong of libother.so"),
    ),
    ("shapes", "tail"): ("null_slot", ("libplugin.so called undefined_feature", "weak")),
    ("shapes", "literal"): ("write_to_read_only", ("rename_it in libplugin.so had ", "libc.so.6")),
    ("shapes", "copied"): ("struct_mismatch", ("parcel", "count at byte 0", "8 bytes and 4 bytes")),
    ("unloaded", "call"): ("call_into_unloaded", ("host", "work", "libgone.so")),
    ("unloaded", "table"): ("unloaded_data", ("main in host", "operations", "libgone.so")),
    ("unloaded", "thread"): ("in_unloaded", ("wait_here", "libgone.so")),
    ("unloaded", "back"): ("in_unloaded", ("call_back", "libgone.so")),
    ("unloaded", "atexit"): ("call_into_unloaded", ("libc.so.6", "handler", "libgone.so")),
    ("unloaded", "signal"): (
        "call_into_unloaded",
        ("handler of SIGALRM", "on_signal", "libgone.so"),
    ),
}
# Crashes that have nothing to do with libraries.
NONE = (
    ("abort", ""), ("fpe", ""), ("ill", ""), ("bus", ""), ("threads", ""), ("unloaded", "wild"),
    ("wildcall", "pointer"), ("names", ""), ("shapes", "callback"),
)  # fmt: skip


def causes(gdb: Gdb, signal: str) -> dict[str, Any]:
    answer = gdb.python(READ.format(signal)).splitlines()[-1]  # GDB may warn of a core's sections
    document: dict[str, Any] = json.loads(answer)
    assert document["cause"] == (document["causes"][0] if document["causes"] else None)
    return document


def crash(sessions: Sessions, run: Run) -> tuple[Gdb, Report, dict[str, Any]]:
    program = programs.program(f"{run.scenario}/{run.program}", run.set)
    gdb = sessions.live(program, *run.args, until=None, env=run.env)
    report = Report(gdb.until_signal(str(run.status)))
    return gdb, report, causes(gdb, str(run.status))


def run_of(scenario: str, argument: str, cpu: str) -> Run:
    signalled = [r for r in programs.runs(scenario) if r.set == cpu and isinstance(r.status, str)]
    for run in signalled:
        if (run.args[:1] or ("",)) == (argument,):
            return run
    first = signalled[0]
    return Run(scenario, cpu, first.program, (argument,), status="SIGSEGV")


def check(found: dict[str, Any], report: Report, rule: str, names: tuple[str, ...]) -> None:
    assert found["cause"]["rule"] == rule
    for name in names:
        assert name in found["cause"]["text"]
    assert found["cause"]["evidence"]
    assert report.title.endswith(found["cause"]["text"])


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("scenario", "argument"), EXPECTED, ids=map("-".join, EXPECTED))
def test_cause(sessions: Sessions, cpu: str, scenario: str, argument: str) -> None:
    _, report, found = crash(sessions, run_of(scenario, argument, cpu))
    check(found, report, *EXPECTED[scenario, argument])


STATED = [s for s in programs.scenarios() if "cause" in programs.expectations(s)]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("scenario", STATED)
def test_cause_of_its_scenario(sessions: Sessions, cpu: str, scenario: str) -> None:
    _, report, found = crash(sessions, run_of(scenario, "", cpu))
    wanted = programs.expectations(scenario)["cause"]
    check(found, report, wanted["rule"], tuple(wanted["names"]))


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("scenario", "argument"), NONE, ids=map("-".join, NONE))
def test_no_cause(sessions: Sessions, cpu: str, scenario: str, argument: str) -> None:
    if cpu == "aarch64" and scenario in ("names", "abort"):
        cpu = "x86_64"  # one of them is enough there
    run = run_of(scenario, argument, cpu)
    _, report, found = crash(sessions, run)
    assert found == {"cause": None, "causes": []}
    assert " which " not in report.title


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)  # GDB 13.1 cannot read qemu's ARM64
def test_a_handler_that_gives_up(live: Callable[..., Gdb]) -> None:  # signal frames
    """The crash is the fault that called the handler, not the signal that ended the process."""
    gdb = live("gaveup/host", until=None)
    gdb.cmd("handle SIGSEGV nostop noprint pass")
    report = Report(gdb.until_signal("SIGABRT"))
    check(causes(gdb, "SIGABRT"), report, "null_slot", ("optional_feature", "libplugin.so"))
    assert report.title.startswith("SIGSEGV: ")
    ended = report.facts["ended by"]
    frames = re.fullmatch(
        r"SIGABRT, sent by the process's own handler of SIGSEGV \(frames #0 to #(\d+)\)", ended
    )
    assert frames, ended
    assert report.frames[0].split()[:2] == [f"#{int(frames[1]) + 1}", "0x0000000000000000"]
    assert any("plugin_run" in line for line in report.frames)
    assert gdb.python("gdb.selected_frame() == gdb.newest_frame()") == "True"


def test_probable_without_events(live: Callable[..., Gdb]) -> None:
    gdb = live("unloaded/host", "call", until="SIGSEGV", gdbext=False)
    load_gdbext(gdb)
    found = causes(gdb, "SIGSEGV")["cause"]
    assert found["rule"] == "call_into_unloaded"
    assert "libgone.so (probable)" in found["text"]
    assert "probable, not certain" in found["evidence"][1]


def test_in_a_core(open_core: Callable[..., Gdb]) -> None:
    gdb = open_core("nullcall/host")
    if gdb.arm64:
        return  # qemu's cores hold no image of libplugin.so: nothing says what the slot is
    assert causes(gdb, "SIGSEGV")["cause"]["rule"] == "null_slot"


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)  # qemu's cores list no guard pages
def test_a_core_whose_stack_overflowed(
    core: Callable[..., Core], open_core: Callable[..., Gdb]
) -> None:
    """The innermost frame is where the core has no memory, its callers are not."""
    found = causes(open_core(core("shapes/host", "mutual")), "SIGSEGV")["cause"]
    assert "ping of libplugin.so" in found["text"]
    assert "pong of libother.so" in found["text"]


DEBIAN = {
    "perl": (
        "/usr/bin/perl",
        "-e",
        "use POSIX; use Storable; $| = 1; print qq(ready\\n); <STDIN>",
    ),
    "bash": ("/bin/bash", "-c", "echo ready; read line"),
    "python3": (
        "python3",
        "-c",
        "import ssl, sqlite3, ctypes; print('ready', flush=True); input()",
    ),
}


@pytest.mark.parametrize("name", DEBIAN)
def test_healthy_programs_that_are_killed(sessions: Sessions, name: str) -> None:
    """By SIGSEGV, and by the SIGABRT after which the way to the crash is looked at."""
    path, *arguments = DEBIAN[name]
    gdb = sessions.attach(Program(name, Path(path), "x86_64"), *arguments)
    assert gdb.pid
    for kind in ("SIGSEGV", "SIGABRT"):
        os.kill(gdb.pid, signals.Signals[kind])
        report = Report(gdb.until_signal(kind))
        assert report.title == f"{kind}: sent {BY_US}, not by a fault"
        assert causes(gdb, kind)["causes"] == []
        gdb.cmd("queue-signal 0")
