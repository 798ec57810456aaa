"""Damaged cores and ELF files through plug-report: no traceback, no hang, a document or one line.

GDBEXT_DAMAGE is how many examples there are of each, for longer runs (`make damage`); they are
always the same ones, unless GDBEXT_DAMAGE_RANDOM is set."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.bad_input import BUG
from tests.cores import Core
from tests.harness import Gdb, validated

EXAMPLES = int(os.environ.get("GDBEXT_DAMAGE", "15"))
SECONDS = 60  # for one report; a hang is longer
X86_64 = pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
BYTES = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])
# Places near the front are in headers and notes, where each byte counts.
PLACES = st.one_of(st.floats(0, 1), st.floats(0, 0.05))
CHANGES = st.lists(st.tuples(PLACES, st.integers(1, 24), BYTES), max_size=12)
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="GDBEXT_DAMAGE_RANDOM" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


def damaged(data: bytes, changes: list[tuple[float, int, int]], size: float) -> bytes:
    """`data` with runs of one byte at some places, and cut off behind `size` of it."""
    body = bytearray(data)
    for place, count, byte in changes:
        at = int(place * (len(body) - 1))
        body[at : at + count] = bytes([byte]) * min(count, len(body) - at)
    return bytes(body[: int(len(body) * size)])


def judge_report(gdb: Gdb) -> None:
    """What plug-report says, as JSON and as text."""
    said = gdb.cmd("plug-report -json", SECONDS)
    assert not BUG.search(said), said
    last = said.splitlines()[-1] if said else ""
    if last.startswith("{"):
        validated(json.loads(last))
        text = gdb.cmd("plug-report", SECONDS)
        assert not BUG.search(text), text
        assert "[gdbext] " in text
    else:
        assert last.startswith("plug-report: "), said


@X86_64
def test_damaged_cores(core: Callable[..., Core], gdb: Callable[..., Gdb], tmp_path: Path) -> None:
    made = core("nullcall/host")
    data = made.path.read_bytes()
    session = gdb(str(made.program))
    numbers = iter(range(1 << 30))
    e_phoff = 32.5 / len(data)

    @bounded
    @given(changes=CHANGES, size=st.one_of(st.just(1.0), PLACES))
    @example(changes=[(e_phoff, 1, 1)], size=1.0)  # GDB finds no registers, and no PC
    def run(changes: list[tuple[float, int, int]], size: float) -> None:
        path = tmp_path / f"core-{next(numbers)}"  # GDB keeps what it knows of one name
        path.write_bytes(damaged(data, changes, size))
        session.cmd(f"core-file {path}", SECONDS)
        judge_report(session)
        session.cmd("core-file")
        path.unlink()

    run()


@X86_64
def test_damaged_files_of_a_core(
    core: Callable[..., Core], gdb: Callable[..., Gdb], tmp_path: Path
) -> None:
    made = core("nullcall/host")
    files = tmp_path / "files"
    shutil.copytree(made.program.parent, files)
    names = [files / "libplugin.so", files / "host"]
    whole = {path: path.read_bytes() for path in names}
    session = gdb(before=[f"set solib-search-path {files}", "set auto-solib-add off"])

    @bounded
    @given(changes=CHANGES, size=st.one_of(st.just(1.0), PLACES), which=st.sampled_from(names))
    def run(changes: list[tuple[float, int, int]], size: float, which: Path) -> None:
        draft = files / "draft"
        # the first page stays, or the file would be another build and not be read at all
        draft.write_bytes(whole[which][:4096] + damaged(whole[which][4096:], changes, size))
        draft.rename(which)
        session.cmd(f"core-file {made.path}", SECONDS)
        said = session.cmd("plug-report -symbols -json", SECONDS)
        assert not BUG.search(said), said
        session.cmd("symbol-file")
        judge_report(session)
        session.cmd("core-file")

    run()
