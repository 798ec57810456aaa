"""The harness itself, with plain GDB: sessions stop where they should, cores open, all ends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import cores, harness, oracles
from tests.cores import Core
from tests.harness import Batch, Gdb, HarnessError
from tests.programs import Program
from tests.sessions import Sessions


def test_stops_at_a_marker(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until="loaded", gdbext=False)
    assert "main" in gdb.cmd("bt")
    assert "opened\n" in gdb.output()
    assert "deep 3" in gdb.output()


def test_stops_at_a_marker_in_a_plugin(live: Callable[..., Gdb]) -> None:
    gdb = live("nullcall/host", until="crash", gdbext=False)
    assert "plugin_run" in gdb.cmd("bt")
    assert "received signal SIGSEGV" in gdb.cmd("continue")
    assert int(gdb.python("int(gdb.selected_frame().pc())")) == 0


def test_stops_at_a_signal(live: Callable[..., Gdb]) -> None:
    gdb = live("ill/host", until="SIGILL", gdbext=False)
    assert "plugin_run" in gdb.cmd("bt")


def test_stops_at_the_first_instruction(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until=None, gdbext=False)
    assert gdb.output() == ""
    gdb.until("dlopens/host.c:main")


@pytest.mark.parametrize("cpu", ["musl"], indirect=True)
def test_stops_in_a_musl_program(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until="loaded", gdbext=False)
    assert "deep 1" in gdb.output()


def test_arguments_and_environment_reach_the_program(
    live: Callable[..., Gdb], program: Callable[[str], Program], tmp_path: Path
) -> None:
    odd = tmp_path / "a b\"c[d]'e\nf"
    odd.mkdir()
    library = shutil.copy(program("loader/host").folder / "libone.so", odd / "libo ne.so")
    gdb = live("loader/host", f"now:{library}", env={"LD_DEBUG": "files"}, gdbext=False)
    assert f"opened {library}" in gdb.output()
    assert any(loaded.name == str(library) for loaded in oracles.parse_ld_debug_files(gdb.output()))


def test_a_wrong_marker_is_an_error(live: Callable[..., Gdb]) -> None:
    with pytest.raises(AssertionError, match="no marker"):
        live("dlopens/host", until="nowhere", gdbext=False)


def test_a_marker_that_is_not_reached_is_an_error(live: Callable[..., Gdb]) -> None:
    with pytest.raises(HarnessError, match="did not reach"):
        live("fpe/host", until="returned", gdbext=False)


def test_core_opens(open_core: Callable[..., Gdb], core: Callable[..., Core]) -> None:
    made = core("nullcall/host")
    assert core("nullcall/host") == made
    gdb = open_core(made, gdbext=False)
    assert "SIGSEGV" in gdb.greeting
    assert int(gdb.python("int(gdb.selected_frame().pc())")) == 0


def test_core_of_files_that_are_gone(
    open_core: Callable[..., Gdb], core: Callable[..., Core]
) -> None:
    made = core("nullcall/host", gone=True)
    assert not made.program.exists()
    gdb = open_core(made, with_program=False, gdbext=False)
    assert int(gdb.python("int(gdb.selected_frame().pc())")) == 0


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_core_filter_matters(core: Callable[..., Core]) -> None:
    whole, bare = core("nullcall/host", filter=0x7F), core("nullcall/host", filter=0)
    assert whole.path.stat().st_size > bare.path.stat().st_size


def test_core_by_gdb(native: Callable[[str], Program], tmp_path: Path) -> None:
    command = native("nullcall/host").command()
    cores.crash_in_gdb(command, tmp_path, 0x33)
    assert (tmp_path / "core").read_bytes()[:4] == b"\x7fELF"


def test_attach(attach: Callable[..., Gdb]) -> None:
    gdb = attach("loader/host", "libone.so", "wait", gdbext=False)
    assert gdb.pid
    assert any(mapping.path.endswith("/libone.so") for mapping in oracles.proc_maps(gdb.pid))
    assert "wait_for_line" in gdb.cmd("bt")


def test_gdbserver(gdbserver: Callable[..., Gdb]) -> None:
    gdb = gdbserver("dlopens/host", until="loaded", gdbext=False)
    assert "libdeep.so" in gdb.cmd("info sharedlibrary")
    assert "deep 3" in gdb.output()


def test_batch(batch: Callable[..., Batch], native: Callable[[str], Program]) -> None:
    done = batch("-ex", "print 6 * 7", str(native("dlopens/host").path), gdbext=False)
    assert (done.status, done.stdout) == (0, "$1 = 42\n")
    assert batch("-ex", "no-such-command", gdbext=False).status != 0


def test_processes_end_with_their_session(
    program: Callable[[str], Program], tmp_path: Path
) -> None:
    made = Sessions(tmp_path)
    gdb = made.live(program("dlopens/host"), until="loaded", gdbext=False)
    children = set(os.listdir("/proc"))
    made.close()
    assert not gdb._gdb.isalive()
    if gdb.pid:
        assert str(gdb.pid) in children
        assert not Path(f"/proc/{gdb.pid}").exists()


def test_maps_and_auxv_of_a_program_at_a_marker(
    sessions: Sessions, native: Callable[[str], Program]
) -> None:
    gdb = sessions.live(native("dlopens/host"), until="loaded", gdbext=False)
    assert gdb.pid
    auxv = oracles.proc_auxv(gdb.pid)
    said = harness.printed_address(gdb.cmd("info auxv").split("AT_ENTRY")[1])
    assert auxv[oracles.AT_ENTRY] == said
    mappings = oracles.proc_maps(gdb.pid)
    assert any(m.start <= said < m.end and "x" in m.permissions for m in mappings)


def test_json_is_parsed_and_checked(gdb: Callable[..., Gdb]) -> None:
    session = gdb(gdbext=False)
    said = session.json("""python print('{"schema": "gdbext/none/1", "answer": 42}') #""")
    assert said["answer"] == 42
    with pytest.raises(HarnessError, match="no JSON document"):
        session.json("echo hello")
    with pytest.raises(AssertionError, match="schema"):
        session.json("python print('{}') #")


def test_gdb_that_ends_is_an_error(gdb: Callable[..., Gdb]) -> None:
    with pytest.raises(HarnessError, match="GDB ended"):
        gdb(gdbext=False).cmd("quit")
