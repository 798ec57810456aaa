"""How the crash report looks: colour, width, source, odd and long names."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests import harness, oracles, programs
from tests.harness import Gdb
from tests.programs import Program
from tests.reports import Report
from tests.sessions import Sessions


def base_of(gdb: Gdb, path: Path) -> int:
    """Where a file that is linked at zero was loaded, by /proc."""
    assert gdb.pid
    return min(m.start for m in oracles.proc_maps(gdb.pid) if m.path == str(path))


def test_module_and_offset_without_symbols(
    sessions: Sessions, native: Callable[[str], Program], tmp_path: Path
) -> None:
    folder = shutil.copytree(native("rodatawrite/host").folder, tmp_path / "stripped")
    for name in ("host", "libplugin.so"):
        subprocess.run(["strip", "-s", folder / name], check=True)
    gdb = sessions.live(Program("rodatawrite", folder / "host", "x86_64"), until=None)
    report = Report(gdb.until_signal("SIGSEGV"))
    pc = int(gdb.python("gdb.selected_frame().pc()"))
    offset = pc - base_of(gdb, folder / "libplugin.so")
    assert f"libplugin.so+{offset:#x} plugin_run" in report.facts["crash at"]
    whole = native("rodatawrite/host").folder / "libplugin.so"
    assert "plugin_run" in oracles.said_by("addr2line", "-fe", str(whole), hex(offset))
    assert report.source == []
    assert re.search(r"#1 .* host\+0x[0-9a-f]+ ", report.frames[1])


def test_source_is_marked(live: Callable[..., Gdb]) -> None:
    said = live("nullcall/host", until=None).until_signal("SIGSEGV")
    report = Report(said)
    line = int(programs.marker("nullcall", "crash").rpartition(":")[2])
    assert f"plugin.c:{line} (frame #1, libplugin.so):" in report.text
    marked = [row for row in report.source if row.startswith("  =>")]
    assert len(marked) == 1
    assert f"{line}  " in marked[0]
    assert "optional_feature(3);" in marked[0]
    assert "\x1b" not in said


def test_colour_where_gdb_styles(native: Callable[[str], Program], tmp_path: Path) -> None:
    program = native("nullcall/host")
    for enabled in ("on", "off"):
        early = ["set style enabled " + enabled, "set width 0", "set debuginfod enabled off"]
        words = [word for command in early for word in ("-iex", command)]
        load = [word for command in harness.loading(True) for word in ("-ex", command)]
        gdb = pexpect.spawn(
            harness.gdb_program(),
            ["-nx", "-q", *words, *load, "-ex", "run </dev/null", str(program.path)],
            env={**harness.environment(TERM="xterm-256color")},
            cwd=str(tmp_path),
            encoding="utf-8",
            codec_errors="backslashreplace",
            timeout=harness.TIMEOUT,
        )
        gdb.expect_exact("rip")
        said = str(gdb.before)
        gdb.sendline("kill")
        gdb.sendline("quit")
        gdb.close(force=True)
        report = said[said.index("[gdbext]") - 24 :]
        marked = next(line for line in report.splitlines() if "=>" in line)
        assert ("\x1b[" in marked) == (enabled == "on"), marked
        assert bool(re.search(r"\x1b\[[0-9;]*m\[gdbext\]", report)) == (enabled == "on")


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("name", ["demo/textpipe", "names/host", "stackoverflow/host"])
def test_report_fits_the_width(live: Callable[..., Gdb], name: str, width: int) -> None:
    gdb = live(name, until=None)
    gdb.cmd(f"set width {width}")
    report = Report(gdb.until_signal("SIGSEGV"))
    too_long = [line for line in report.lines if len(line.expandtabs()) > width]
    assert too_long == []
    assert len(report.lines) < 70


def test_long_names_are_whole_where_there_is_room(live: Callable[..., Gdb]) -> None:
    report = Report(live("names/host", until=None).until_signal("SIGSEGV"))
    name = r"Index<std::__cxx11::basic_string<.*::broken_lookup\("
    assert re.search(name, report.facts["crash at"])
    assert len(report.facts["crash at"]) > 300
    assert "plugin_run" in report.frames[2]


def test_recursion_is_one_line(live: Callable[..., Gdb]) -> None:
    gdb = live("stackoverflow/host", until=None)
    report = Report(gdb.until_signal("SIGSEGV"))
    assert "below the stack of thread 1" in report.facts["fault address"]
    assert report.frames[2:] == ["  #2 to #15 are the same", "  … more: backtrace"]
    (stack,) = gdb.json("plug-threads")["stacks"]
    text = gdb.cmd("plug-threads")
    assert f"stack       descend ({len(stack)} times)" in text
    rows = re.findall(r"^  plugin      (#.*) libplugin\.so", text, re.MULTILINE)
    assert rows == ["#0", f"#1 to #{len(stack) - 1}"]


def test_odd_paths(sessions: Sessions, program: Callable[[str], Program], tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 150)
    folder.mkdir()
    odd = folder / "lib \x1b[31m\n]'\".so"
    shutil.copy(program("nullcall/host").folder / "libplugin.so", odd)
    gdb = sessions.live(program("nullcall/host"), str(odd), until=None)
    gdb.cmd("set width 100")
    said = gdb.until_signal("SIGSEGV")
    report = Report(said)
    assert "\x1b" not in report.text
    shown = r"lib \x1b[31m\n]'" + '".so+0x'
    assert report.facts["called from"].startswith(shown)
    assert all(len(line.expandtabs()) <= 100 for line in report.lines)
