"""Tables: the quick way of laying one out must look like tabulate's."""

from __future__ import annotations

import re

import pytest
import tabulate
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbext.render.fit import fitted, fitting_path, joined, wrapped
from gdbext.render.tables import pairs, quick_table, table

# Of the characters that are one column wide, and of those that must be escaped.
CELL = st.text(st.sampled_from("ab0xé .%{}|-+\t\n\x1b\x07\x7f\udcff\u202e\xa0"), max_size=12)


@given(
    st.integers(1, 5).flatmap(
        lambda width: st.tuples(
            st.lists(st.sampled_from(["a", "bb", "address", "x"]), min_size=width, max_size=width),
            st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=6),
            st.sampled_from(["", "a", "address x", "bb a x address"]),
        )
    )
)
@settings(max_examples=300, deadline=None)
def test_the_quick_table_looks_like_tabulates(
    facts: tuple[list[str], list[list[str]], str],
) -> None:
    headers, rows, right = facts
    columns = list(zip(*rows)) or [()] * len(headers)
    quick = quick_table(headers, columns, right).split("\n")
    assert quick == list(table(headers, rows, right))
    assert len(quick) == len(rows) + 1
    assert all(line.isprintable() for line in quick)


def test_a_table() -> None:
    rows = [["0x10", "7", "main"], ["0x12345678", "100", "\x1b[31mred\n"]]
    assert list(table(["address", "count", "name"], rows, right="count")) == [
        "  address     count  name",
        "  0x10            7  main",
        "  0x12345678    100  \\x1b[31mred\\n",
    ]


def test_an_empty_table_has_its_headers() -> None:
    assert list(table(["a", "b"], [])) == [quick_table(["a", "b"], [(), ()])] == ["  a  b"]


def test_a_long_table_takes_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabulate, "tabulate", None)  # it would take a second for 40,000 cells
    rows = [[f"{n:#x}", str(n), "symbol", "x" * (n % 30)] for n in range(30_000)]
    lines = list(table(["address", "n", "symbol", "name"], rows, right="n"))
    assert len(lines) == 30_001
    assert lines[1] == f"  {'0x0':<7}  {'0':>5}  symbol"
    assert lines[2] == f"  {'0x1':<7}  {'1':>5}  symbol  x"


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([], []),
        ([("a", "1"), ("long", "2")], ["  a     1", "  long  2"]),
        ([("a", "")], ["  a"]),
        ([("a", "x\ny")], ["  a  x\\ny"]),
    ],
)
def test_pairs(rows: list[tuple[str, str]], lines: list[str]) -> None:
    assert list(pairs(rows, 80)) == lines


def test_long_lines_are_cut_at_spaces_and_slashes() -> None:
    text = "one two three " + "/very/long/path" * 8
    lines = list(wrapped("  head: ", text, 60))
    assert max(map(len, lines)) <= 60
    assert "".join(line.strip() for line in lines) == f"head: {text}"
    assert all(line.endswith(("/", "path")) for line in lines)
    assert all(line.startswith("        ") for line in lines[1:])


def test_a_long_head_leaves_room_for_the_text() -> None:
    lines = list(wrapped("  " + "h" * 70 + ": ", "words and words " * 10, 80))
    assert max(map(len, lines)) <= 80
    assert all(line.startswith(("    words", "    and")) for line in lines[1:])
    assert list(wrapped("head ", "", 80)) == ["head"]


def test_tables_are_made_to_fit() -> None:
    headers = ["module", "slot", "leads to"]
    rows = [["m" * 50, "0x1234", "t" * 30], ["short", "0x5678", "x"]]
    cut = fitted(headers, rows, 60, (0, 2))
    assert max(len(line) for line in table(headers, cut)) <= 60
    assert cut[1] == ["short", "0x5678", "x"]
    assert cut[0][1] == "0x1234"
    assert "…" in cut[0][0]
    assert fitted(headers, rows, 1000, (0, 2)) == rows
    assert fitted(headers, [], 10, (0,)) == []
    narrow = fitted(headers, rows, 5, (0, 2))
    assert len(narrow[0][0]) == 12


def test_a_line_of_parts_cuts_each_part_alone() -> None:
    parts = ["#1 ", "m" * 40, "+0x1234", " ", "f" * 40, " file.c:12"]
    line = joined(parts, 80, (1, 4))
    assert len(line) == 80
    assert re.fullmatch(r"#1 m+…m+\+0x1234 f+…f+ file\.c:12", line)
    assert joined(parts, 200, (1, 4)) == "".join(parts)


@given(st.text(min_size=0, max_size=300), st.integers(1, 120), st.integers(0, 100))
def test_wrapping_ends_and_keeps_all_but_spaces(text: str, width: int, head: int) -> None:
    text = " ".join(text.split())
    lines = list(wrapped("h" * head, text, width))
    assert "".join("".join(lines).split()) == "h" * head + "".join(text.split())


def test_a_long_word_stays_whole_where_a_line_has_room_for_it() -> None:
    words = "called from _ctypes.cpython-311-x86_64-linux-gnu.so+0xfdcb py_dl_open"
    assert list(wrapped("  ", words, 58)) == [
        "  called from",
        "  _ctypes.cpython-311-x86_64-linux-gnu.so+0xfdcb",
        "  py_dl_open",
    ]
    assert next(wrapped("", f"no room {'x' * 70}", 60)) == f"no room {'x' * 52}"


@pytest.mark.parametrize(
    ("room", "shown"),
    [
        (40, "/opt/site/numpy/linalg/_umath.so"),
        (30, ".../numpy/linalg/_umath.so"),
        (20, ".../linalg/_umath.so"),
        (19, ".../_umath.so"),
        (3, ".../_umath.so"),
    ],
)
def test_a_path_loses_its_first_folders(room: int, shown: str) -> None:
    assert fitting_path("/opt/site/numpy/linalg/_umath.so", room) == shown


def test_a_file_name_loses_its_middle_at_last() -> None:
    path = f"/opt/site/_{'u' * 30}.so.26"
    assert fitting_path(path, 30) == f".../_{'u' * 16}…uu.so.26"
    assert fitting_path(path, 5) == f".../_{'u' * 9}…so.26"
    assert fitting_path(path[len("/opt/site") :], 30) == f"/_{'u' * 18}…uuu.so.26"
