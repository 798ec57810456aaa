"""Long lines made to fit a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_NARROWEST_CELL = 12
_NARROWEST_NAME = 16
_NARROWEST = 40  # below this nothing can be laid out; the terminal may wrap it
BOLD, PLAIN = "\x1b[1m", "\x1b[m"


def shortened(text: str, width: int) -> str:
    """`text` as cut_middle() has it, for a line of a terminal."""
    return cut_middle(text, max(width, _NARROWEST))


def cut_middle(text: str, size: int, share: int = 3) -> str:
    """`text` in `size` columns, with … for what its middle loses; both ends say most, and one
    part in `share` is the end's."""
    if len(text) <= size:
        return text
    tail = (size - 1) // share
    return f"{text[: size - 1 - tail]}…{text[-tail:]}"


def fitting_path(path: str, room: int) -> str:
    """`path` without so many of its first folders that it fits; a file name that is too long
    by itself loses its middle, but always leaves enough to be told by."""
    if len(path) <= room:
        return path
    cut = path.find("/", max(len(path) - room + len("..."), 0))
    if cut < 0:
        folder, slash, name = path.rpartition("/")
        head = "..." + slash if folder else slash
        return head + cut_middle(name, max(room - len(head), _NARROWEST_NAME))
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
    limits = _limits({column: sizes[column] for column in columns}, excess)
    return [
        [cut_middle(cell, limits.get(place, len(cell)), 2) for place, cell in enumerate(row)]
        for row in rows
    ]


def joined(parts: Sequence[str], width: int, may: Sequence[int]) -> str:
    """`parts` one behind the other in `width` columns: those at the places `may` each lose
    their own middle, the longest first, so that no two of them run into each other."""
    excess = sum(map(len, parts)) - max(width, _NARROWEST)
    if excess <= 0:
        return "".join(parts)
    limits = _limits({place: len(parts[place]) for place in may}, excess)
    return "".join(cut_middle(part, limits.get(i, len(part))) for i, part in enumerate(parts))


def _limits(sizes: dict[int, int], excess: int) -> dict[int, int]:
    """The sizes, smaller by `excess` in all: the largest loses first, none gets too narrow."""
    limits = dict(sizes)
    while excess > 0:
        widest = max(limits, key=lambda place: limits[place])
        if limits[widest] <= _NARROWEST_CELL:
            break
        limits[widest] -= 1
        excess -= 1
    return limits


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
