"""Cores that gdbext writes: elf.core and pyelftools read them as they were meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from gdbext.elf.core import NT_PRSTATUS, MappedFile, open_core
from gdbext.elf.corefile import NT_PRFPREG, Stretch, ThreadState, core_file, core_notes
from tests.unit.crafted import words

FILES = (MappedFile(0x401000, 0x403000, 4096, "/lib/\udcff.so"),)
THREADS = (
    ThreadState(7, b"host", {NT_PRSTATUS: words(*range(27)), NT_PRFPREG: b"f" * 512}),
    ThreadState(8, b"worker", {NT_PRSTATUS: words(*range(27, 54))}),
)
STRETCHES = (
    Stretch(0x10000, 0x13000, 6, [(0x10000, b"a" * 4096), (0x12000, b"c" * 100)]),
    Stretch(0x401000, 0x403000, 5, None),
    Stretch(0x500000, 0x501000, 6, []),
)


def written(path: Path, stretches: Sequence[Stretch]) -> str:
    notes = core_notes(THREADS, 7, b"host", words(3, 0x400040, 0, 0), FILES)
    with path.open("wb") as file:
        for offset, data in core_file(62, notes, stretches):
            file.seek(offset)
            file.write(data)
        file.truncate(offset)
    return str(path)


def test_a_core_is_read_as_it_was_meant(tmp_path: Path) -> None:
    core = open_core(written(tmp_path / "core", STRETCHES))
    assert (core.machine, core.pid, core.signal, core.truncated) == (62, 7, None, False)
    assert core.is_snapshot
    assert core.thread_names == {7: "host", 8: "worker"}
    assert core.files == FILES
    assert core.auxv == {3: 0x400040}
    assert core.read(0x10FFF, 3) == b"a\0\0"
    assert core.read(0x12000, 102) == b"c" * 100 + b"\0\0"
    assert core.read(0x401000, 1) is None
    assert core.read(0x500000, 4) == bytes(4)


def test_pyelftools_sees_its_threads(tmp_path: Path) -> None:
    with open(written(tmp_path / "core", STRETCHES), "rb") as stream:
        segment: Any = next(ELFFile(stream).iter_segments("PT_NOTE"))
        notes = [(n["n_name"], n["n_type"], n["n_desc"]) for n in segment.iter_notes()]
    kinds = [kind for owner, kind, _ in notes if owner == "CORE"]
    assert kinds.count("NT_PRSTATUS") == 2
    info = next(desc for _, kind, desc in notes if kind == "NT_PRPSINFO")
    assert (info["pr_pid"], info["pr_fname"].rstrip(b"\0")) == (7, b"host")


def test_more_segments_than_the_header_can_count(tmp_path: Path) -> None:
    many = [Stretch(0x1000 * n, 0x1000 * n + 0x1000, 4, None) for n in range(1, 70_000)]
    core = open_core(written(tmp_path / "core", many))
    assert len(core.loads) == len(many)
