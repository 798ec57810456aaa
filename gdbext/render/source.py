"""Source lines, highlighted by pygments where colour is wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gdbext.render.printable import printable

_AROUND = 3
_LARGEST = 8 << 20
_NUMBER = 12  # columns of the mark and the line number
_SHORTEST = 28
_TAB = 8


def source_lines(path: str, line: int, color: bool, width: int) -> Iterator[str]:
    """A few lines of a source file around `line`, marked, cut at `width` columns.

    Nothing when the file cannot be read, or is no regular file: a program names it.
    """
    if not os.path.isfile(path):
        return
    try:
        # a lone carriage return ends no line for a compiler
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
            text = file.read(_LARGEST)
    except (OSError, ValueError):
        return
    lines = text.removesuffix("\n").split("\n")
    if not 0 < line <= len(lines):
        return
    first, last = max(line - _AROUND, 1), min(line + _AROUND, len(lines))
    # Control characters of a source file must not reach the terminal; tabs may.
    shown = [
        _cut("\t".join(printable(part) for part in row.rstrip("\r").split("\t")), width)
        for row in lines[first - 1 : last]
    ]
    if color:
        shown = _highlight(path, shown)
    for number, row in enumerate(shown, first):
        mark = "=>" if number == line else "  "
        yield f"  {mark} {number:>5}  {row}".rstrip()


def _cut(row: str, width: int) -> str:
    """The row in what the line number leaves of `width`, tabs expanded if it is cut."""
    room = max(width - _NUMBER, _SHORTEST)
    expanded = row.expandtabs(_TAB)
    return row if len(expanded) <= room else expanded[: room - 1] + "…"


def _highlight(path: str, rows: list[str]) -> list[str]:
    from pygments import highlight
    from pygments.formatters import TerminalFormatter
    from pygments.lexers import get_lexer_for_filename
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_for_filename(path, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return rows
    text: str = highlight("\n".join(rows), lexer, TerminalFormatter())
    highlighted = text.rstrip("\n").split("\n")
    return highlighted if len(highlighted) == len(rows) else rows
