"""Files: how many are open at a time, and what happens when one is replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gdbext.elf.file import FileView, map_file
from gdbext.elf.problem import Problem
from tests.programs import CHECKOUT


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_many_files_take_few_descriptors(tmp_path: Path) -> None:
    before = descriptors()
    views = []
    for number in range(300):
        path = tmp_path / str(number)
        path.write_bytes(b"%04d" % number * 1000)
        views.append(map_file(str(path)))
    for _ in range(2):
        for number, view in enumerate(views):
            assert view[4:8] == b"%04d" % number
            assert len(view) == 4000
    assert descriptors() - before <= 64
    del views, view
    assert descriptors() <= before


def test_another_file_of_the_same_path_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old" * 100)
    view, other_view = map_file(str(path)), map_file(str(path))
    assert isinstance(other_view, FileView)
    kept = other_view.map()
    other = tmp_path / "other"
    other.write_bytes(b"new" * 100)
    others = [map_file(str(other)) for _ in range(64)]  # view is closed meanwhile
    other.replace(path)
    assert kept[:3] == b"old"
    assert others[-1][:3] == b"new"
    with pytest.raises(Problem, match="was replaced while it was looked at"):
        view[:3]


def test_a_file_that_is_open_stays_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old" * 100)
    view = map_file(str(path))
    assert view[:3] == b"old"
    path.unlink()
    assert view[-3:] == b"old"


def test_a_view_that_outlives_its_module_ends_quietly(tmp_path: Path) -> None:
    """The interpreter clears modules in the reverse order of their imports: os after file.py."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, gdbext.elf.file as module\n"
        "os.kept = module, module.map_file(sys.executable)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_was_cut_has_less_to_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old" * 10_000)
    view = map_file(str(path))
    os.truncate(path, 4)
    assert (view[:3], view[3:9], view[20_000:20_003]) == (b"old", b"o", b"")


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Problem, match="not a regular file"):
        map_file(str(tmp_path / "fifo"))
    with pytest.raises(Problem, match="cannot open"):
        map_file(str(tmp_path / "none"))
    (tmp_path / "empty").touch()
    assert map_file(str(tmp_path / "empty"))[:] == b""
