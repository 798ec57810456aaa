"""Source lines, highlighted by pygments where colour is wanted."""

from __future__ import annotations

from collections.abc import Iterator

from gdbext.render.printable import printable

_AROUND = 3
_LARGEST = 8 << 20


def source_lines(path: str, line: int, color: bool) -> Iterator[str]:
    """A few lines of a source file around `line`, marked; nothing when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(_LARGEST)
    except (OSError, ValueError):
        return
    lines = text.split("\n")
    if not 0 < line <= len(lines):
        return
    first, last = max(line - _AROUND, 1), min(line + _AROUND, len(lines))
    # Control characters of a source file must not reach the terminal; tabs may.
    shown = [
        "\t".join(printable(part) for part in row.rstrip("\r").split("\t"))
        for row in lines[first - 1 : last]
    ]
    if color:
        shown = _highlight(path, shown)
    for number, row in enumerate(shown, first):
        mark = "=>" if number == line else "  "
        yield f"  {mark} {number:>5}  {row}".rstrip()


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
