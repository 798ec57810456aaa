"""The crash report: every crash scenario, on both CPUs and musl, live, attached, remote."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import harness, oracles, programs
from tests.harness import Batch, Gdb
from tests.programs import Program, Run
from tests.reports import BY_US, Report
from tests.sessions import Sessions

RUNS = [
    run
    for scenario in programs.scenarios()
    for run in programs.runs(scenario)
    if isinstance(run.status, str) and run.crash
]


CRASHES = [
    pytest.param(r, id=str(r), marks=[pytest.mark.arm64] * (r.set == "aarch64")) for r in RUNS
]


NATIVE = [run for run in RUNS if run.set == "x86_64" and run.scenario != "static"]


def stop(sessions: Sessions, run: Run, **options: Any) -> tuple[Gdb, Report]:  # noqa: ANN401
    program = programs.program(f"{run.scenario}/{run.program}", run.set)
    gdb = sessions.live(program, *run.args, until=None, env=run.env, **options)
    return gdb, Report(gdb.until_signal(str(run.status)))


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("run", CRASHES)
def test_report(sessions: Sessions, run: Run) -> None:
    gdb, report = stop(sessions, run)
    assert run.crash
    assert report.title.startswith(str(run.status))
    where = report.facts.get("crash at") or report.facts["fault address"]
    pc = int(gdb.python("gdb.selected_frame().pc()"))
    assert harness.printed_address(where) == pc
    if "pc" in run.crash:
        assert pc == run.crash["pc"]
    if "called from" in report.facts:
        assert report.facts["called from"].startswith(f"{run.crash['module']}+0x")
        assert f" {run.crash['module']}+0x" in report.frames[1]
        assert f" {run.crash['symbol']} " in report.frames[1]
    else:
        assert f" {run.crash['module']}+0x" in where
        if run.crash["symbol"]:
            assert f" {run.crash['symbol']}" in where
            assert f" {run.crash['symbol']}" in report.frames[0]
    if "slot" in run.crash:
        assert report.facts["through"].startswith(f"GOT slot of {run.crash['slot']}")
        assert report.facts["through"].endswith(f" in {run.crash['module']}")
    else:
        assert "through" not in report.facts
    fault = run.crash.get("fault")
    if isinstance(fault, dict):
        assert f" {fault['symbol']}+{fault['offset']:#x} " in report.facts["fault address"]
    elif fault is not None:
        assert report.facts["fault address"].startswith(f"{fault:#x}: null")
    if "caller" in run.crash and run.set != "musl":  # musl's abort() cannot be unwound
        assert any(run.crash["caller"]["symbol"] in line for line in report.frames)
    general = re.findall(r"^(r\w+|x\d+|sp|pc) +0x", gdb.cmd("info registers"), re.MULTILINE)
    shown = re.findall(r"\b(?:r[a-z]{2}|r\d+|x\d+|sp|pc)\b", "\n".join(report.registers))
    assert set(general) <= set(shown), report.text
    if run in NATIVE:
        frames_agree_with_gdb_and_proc(gdb, run, report)


def frames_agree_with_gdb_and_proc(gdb: Gdb, run: Run, report: Report) -> None:
    assert gdb.pid
    mappings = oracles.proc_maps(gdb.pid)
    for line in report.frames:
        shown = re.match(r"  #(\d+) +0x([0-9a-f]{16}) (\S+)\+0x([0-9a-f]+) ", line)
        if shown is None or shown[3] == "null":  # GDB takes what lies above _start for a frame
            continue
        number, pc, offset = int(shown[1]), int(shown[2], 16), int(shown[4], 16)
        gdb.cmd(f"frame {number}")
        assert pc == int(gdb.python("gdb.selected_frame().pc()"))
        inside = next(m for m in mappings if m.start <= pc < m.end)
        base = min(m.start for m in mappings if m.path == inside.path)
        assert (Path(inside.path).name, offset) == (shown[3], pc - base)
    if run.scenario == "stackoverflow":
        assert "are the same" in report.frames[-2]
    elif run.scenario not in ("threads", "early"):  # a thread of its own, or before main
        assert any(" host+0x" in line or " textpipe+0x" in line for line in report.frames)


def test_off_prints_nothing(live: Callable[..., Gdb]) -> None:
    said = live("nullcall/host", until=None, before=["set plug stop-on-segv off"]).until_signal(
        "SIGSEGV"
    )
    assert "gdbext" not in said
    assert "Frames:" not in said


def test_setting(gdb: Callable[..., Gdb]) -> None:
    session = gdb()
    assert session.cmd("show plug stop-on-segv") == "A crash report at SIGSEGV and its like is on."
    session.cmd("set plug stop-on-segv off")
    assert session.cmd("show plug stop-on-segv").endswith("is off.")
    assert "SIGFPE" in session.cmd("help set plug stop-on-segv")


@pytest.mark.parametrize(
    "before",
    [["set auto-solib-add off"], ["set debug-file-directory /nonexistent"]],
    ids=["no-solibs", "no-debug-files"],
)
@pytest.mark.parametrize("name", ["nullcall/host", "relrowrite/host"])
def test_without_gdbs_symbols(live: Callable[..., Gdb], name: str, before: list[str]) -> None:
    report = Report(live(name, until=None, before=before).until_signal("SIGSEGV"))
    where = report.facts.get("called from") or report.facts["crash at"]
    assert re.search(r"libplugin\.so\+0x[0-9a-f]+", where)
    assert any("libplugin.so+0x" in line and "plugin_run" in line for line in report.frames)
    if name == "nullcall/host":
        assert report.facts["through"].startswith("GOT slot of optional_feature in libplugin.so")


def test_attached(sessions: Sessions, native: Callable[[str], Program]) -> None:
    gdb = sessions.attach(native("replaced/host"))
    gdb.cmd("handle SIGUSR1 nostop")
    assert gdb.pid
    os.kill(gdb.pid, signal.SIGSEGV)
    report = Report(gdb.until_signal("SIGSEGV"))
    assert report.title == f"SIGSEGV: sent {BY_US}, not by a fault"
    assert "fault address" not in report.facts
    assert any(" host+0x" in line and "main" in line for line in report.frames)


def test_gdbserver(gdbserver: Callable[..., Gdb]) -> None:
    report = Report(gdbserver("nullcall/host", until=None).until_signal("SIGSEGV"))
    assert report.facts["through"].startswith("GOT slot of optional_feature in libplugin.so")
    assert report.title.startswith("SIGSEGV: libplugin.so called optional_feature, whose GOT slot ")
    assert report.facts["signal"] == "SIGSEGV: address not mapped"


def test_thread_is_named(live: Callable[..., Gdb]) -> None:
    gdb = live("threads/host", until=None, env={"THREADS_CRASH": "1"})
    report = Report(gdb.until_signal("SIGSEGV"))
    number = gdb.python("gdb.selected_thread().num")
    assert report.facts["thread"].startswith(f"{number} of 4")
    assert f"stack of thread {number}" in report.text


def test_selection_is_kept(live: Callable[..., Gdb]) -> None:
    gdb = live("threads/host", until=None, env={"THREADS_CRASH": "1"})
    gdb.until_signal("SIGSEGV")
    crashed = int(gdb.python("gdb.selected_thread().num"))
    assert "work" in gdb.cmd("frame")
    assert crashed != 1
    assert int(gdb.python("gdb.selected_frame().level()")) == 0


@pytest.mark.parametrize("pass_", ["nostop noprint pass", "nostop print pass"])
def test_own_handler_under_batch(
    batch: Callable[..., Batch], native: Callable[[str], Program], pass_: str
) -> None:
    arguments = ["-ex", f"handle SIGSEGV {pass_}", "-ex", "run"]
    path = str(native("ownsegv/host").path)
    with_us = batch(*arguments, "-ex", "print $_exitcode", path)
    without = batch(*arguments, "-ex", "print $_exitcode", path, gdbext=False)
    tidy = re.compile(r"process \d+|Thread 0x\w+ \(LWP \d+\)")
    # GDB and the program write to one pipe, so their lines are mixed as it happens.
    ours, theirs = (sorted(tidy.sub("", run.stdout).splitlines()) for run in (with_us, without))
    assert ours == theirs
    assert (with_us.status, with_us.stderr) == (without.status, without.stderr)
    assert "$1 = 7" in with_us.stdout
    shown = 20 if pass_ == "nostop print pass" else 0
    assert with_us.stdout.count("Program received signal SIGSEGV") == shown


def test_own_handler_with_stops(live: Callable[..., Gdb]) -> None:
    gdb = live("ownsegv/host", until="SIGSEGV")
    for _ in range(19):
        Report(gdb.until_signal("SIGSEGV"))
    assert re.search(r"exited with code 0?7", gdb.cmd("continue"))
    assert "recovered 20" in gdb.output()


def test_a_stop_without_signal_says_nothing(live: Callable[..., Gdb]) -> None:
    gdb = live("nullcall/host", until="loaded")
    gdb.cmd("next")
    assert "[gdbext]" not in gdb.text()
    assert "[gdbext] SIGSEGV" in gdb.cmd("next")  # this line calls the plugin


def test_sourcing_twice_reports_once(live: Callable[..., Gdb]) -> None:
    gdb = live("nullcall/host", until=None, before=["source gdbext", "source gdbext"])
    Report(gdb.until_signal("SIGSEGV"))


MISALIGNED = """
int plugin_run(void);
int plugin_run(void)
{
    static char room[64] __attribute__((aligned(16)));
    __asm__ volatile("movaps %%xmm0, (%0)" : : "r"(room + 1) : "memory");
    return 0;
}
"""


STRAY = """
int plugin_run(void);
int plugin_run(void)
{
    return *(volatile int *)0xdeadbeefdeadbee0;
}
"""


@pytest.mark.parametrize(
    ("source", "title", "fault"),
    [
        (MISALIGNED, "SIGSEGV: misaligned operand of an SSE instruction", "room.0+0x1"),
        (STRAY, "SIGSEGV: non-canonical address", "0xdeadbeefdeadbee0: not mapped"),
    ],
    ids=["misaligned", "non-canonical"],
)
def test_general_protection(
    sessions: Sessions,
    native: Callable[[str], Program],
    tmp_path: Path,
    source: str,
    title: str,
    fault: str,
) -> None:
    (tmp_path / "p.c").write_text(source)
    library = tmp_path / "libp.so"
    subprocess.run(
        ["gcc", "-g", "-O0", "-shared", "-fPIC", "-o", library, tmp_path / "p.c"], check=True
    )
    gdb = sessions.live(native("nullcall/host"), str(library), until=None)
    report = Report(gdb.until_signal("SIGSEGV"))
    assert report.title == title
    assert fault in report.facts["fault address"]


def test_qemu_survives_a_bus_error(sessions: Sessions, native: Callable[[str], Program]) -> None:  # noqa: ARG001
    """qemu's stub dies when GDB reads a page whose file was truncated; gdbext must not."""
    gdb = sessions.live(programs.program("bus/host", "aarch64"), until=None)
    report = Report(gdb.until_signal("SIGBUS"))
    address = harness.printed_address(report.facts["fault address"])
    assert address == int(gdb.python("int(gdb.selected_frame().read_register('x0'))"))
    assert gdb.json("plug-regs")["registers"][0]["value"] == hex(address)
    assert gdb.json(f"plug-where {address:#x}")["kind"] == "unknown"
    assert "plugin_run" in gdb.cmd("backtrace")


def test_core_opened_afterwards(open_core: Callable[..., Gdb]) -> None:
    gdb = open_core("nullcall/host")
    rows = {row["name"]: row for row in gdb.json("plug-regs")["registers"]}
    pc = rows.get("rip") or rows["pc"]
    assert (pc["value"], pc["points_to"]) == ("0x0", None)
    gdb.cmd("frame 1")
    place = gdb.json("plug-where $pc")
    assert (Path(place["module"]).name, place["symbol"]) == ("libplugin.so", "plugin_run")
