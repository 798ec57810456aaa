"""Source lines around a place, plain and highlighted."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from gdbext.render.source import source_lines

TEXT = "".join(f"int line{n};\t/* {n} */\n" for n in range(1, 11))
WIDE = 200


def lines(path: Path, number: int, color: bool = False, width: int = WIDE) -> list[str]:
    return list(source_lines(str(path), number, color, width))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "x.c"
    path.write_text(TEXT)
    return path


def test_the_lines_around_one(source: Path) -> None:
    shown = lines(source, 5)
    assert [line[:10].split() for line in shown] == [
        ["2"], ["3"], ["4"], ["=>", "5"], ["6"], ["7"], ["8"],
    ]  # fmt: skip
    assert shown[3] == "  =>     5  int line5;\t/* 5 */"


@pytest.mark.parametrize(("number", "first", "last"), [(1, 1, 4), (2, 1, 5), (10, 7, 10)])
def test_at_the_edges_of_the_file(source: Path, number: int, first: int, last: int) -> None:
    shown = [re.sub("[=> ]", "", line.split("int")[0]) for line in lines(source, number)]
    assert shown == [str(n) for n in range(first, last + 1)]


@pytest.mark.parametrize("number", [0, -1, 11, 1 << 40])
def test_lines_that_the_file_does_not_have(source: Path, number: int) -> None:
    assert lines(source, number) == []


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")  # a program may name one; opening it would block
    for name in ("none", "fifo", ".", "a\0b"):
        assert lines(tmp_path / name, 1) == []


def test_colour_changes_no_text(source: Path) -> None:
    coloured = lines(source, 5, color=True)
    assert any("\x1b[" in line for line in coloured)
    plain = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in coloured]
    assert plain == lines(source, 5)
    other = source.with_suffix(".unknown-language")
    other.write_text(TEXT)
    assert lines(other, 5, color=True) == lines(other, 5)


def test_a_source_file_cannot_control_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "x.c"
    path.write_bytes(b"// \x1b[2J\x07\rx\xff\xe2\x80\xae\r\nint a;\r\n")
    for color in (False, True):
        text = "\n".join(lines(path, 1, color))
        left = re.sub("\x1b\\[[0-9;]*m", "", text) if color else text
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", left)
        assert "\\x1b[2J\\x07\\rx" in left
        assert left.splitlines()[1].endswith("int a;")


def test_long_lines_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.c"
    path.write_text("x" * 1000 + "\n")
    assert len(lines(path, 1, width=80)[0]) == 80
    assert lines(path, 1, width=80)[0].endswith("…")
    assert len(lines(path, 1, width=2000)[0]) == 1000 + 12
