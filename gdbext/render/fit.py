"""Long lines made to fit a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_NARROWEST_CELL = 12
_NARROWEST = 40  # below this nothing can be laid out; the terminal may wrap it
BOLD, PLAIN = "\x1b[1m", "\x1b[m"


def shortened(text: str, width: int) -> str:
    """`text` in `width` columns, with … for what its middle loses; both ends say most."""
    width = max(width, _NARROWEST)
    if len(text) <= width:
        return text
    tail = (width - 1) // 3
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def fitting_path(path: str, room: int) -> str:
    """`path` without so many of its first folders that it fits; the file name always stays."""
    if len(path) <= room:
        return path
    cut = path.find("/", max(len(path) - room + len("..."), 0))
    cut = cut if cut >= 0 else path.rfind("/")
    return "..." + path[cut:] if cut > 0 else path


def wrapped(head: str, text: str, width: int) -> Iterator[str]:
    """`head` and `text` in lines of `width` columns, those after the first below the text.

    A head that takes more than half of a line is followed by lines that are indented a little.
    """
    indent = head if len(head) <= max(width, _NARROWEST) // 2 else "    "
    room = max(width - len(head), _NARROWEST if indent is head else 1)
    while len(text) > room:
        cut = _cut(text, room)
        yield (head + text[:cut]).rstrip()
        head, text = " " * len(indent), text[cut:].lstrip()
        room = max(width - len(indent), _NARROWEST)
    yield (head + text).rstrip()


def _cut(text: str, room: int) -> int:
    """Where to cut a text that is too long: at a space, behind a slash, or anywhere; nearer to
    the front only where the next word then stays whole."""
    cut = text.rfind(" ", room // 2, room + 1)
    if cut <= 0:
        cut = max(text.rfind(mark, room // 2, room) + len(mark) for mark in ("/", "::", ","))
    if cut > room // 2:
        return cut
    space = text.rfind(" ", 1, room // 2)
    word = text[space + 1 :].split(" ", 1)[0]
    return space if space > 0 and len(word) <= room else room


def fitted(
    headers: Sequence[str], rows: list[list[str]], width: int, columns: Sequence[int]
) -> list[list[str]]:
    """The rows of a table, cells of `columns` shortened as far as that makes it fit `width`.

    The widest column loses first, none gets narrower than _NARROWEST_CELL.
    """
    if not rows:
        return rows
    sizes = [max(map(len, column)) for column in zip(headers, *rows)]
    excess = sum(sizes) + 2 * len(sizes) - width  # two spaces in front of each column
    if excess <= 0:
        return rows
    limits = {column: sizes[column] for column in columns}
    while excess > 0:
        widest = max(limits, key=lambda column: limits[column])
        if limits[widest] <= _NARROWEST_CELL:
            break
        limits[widest] -= 1
        excess -= 1
    return [
        [_middle_cut(cell, limits.get(place, len(cell))) for place, cell in enumerate(row)]
        for row in rows
    ]


def _middle_cut(text: str, size: int) -> str:
    if len(text) <= size:
        return text
    tail = (size - 1) // 2
    return f"{text[: size - 1 - tail]}…{text[-tail:]}"


def packed(words: list[str], indent: str, width: int) -> Iterator[str]:
    """`words` in as few lines of `width` columns as they need."""
    line = indent
    for word in words:
        if line != indent and len(line) + 2 + len(word) > max(width, _NARROWEST):
            yield line
            line = indent
        line += word if line == indent else f"  {word}"
    if line != indent:
        yield line


def bold(text: str, color: bool) -> str:
    """`text`, bold where the terminal can."""
    return f"{BOLD}{text}{PLAIN}" if color else text
