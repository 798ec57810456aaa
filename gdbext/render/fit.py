"""Long lines made to fit a terminal."""

from __future__ import annotations

from collections.abc import Iterator

_NARROWEST = 40  # below this nothing can be laid out; the terminal may wrap it
BOLD, PLAIN = "\x1b[1m", "\x1b[m"


def shortened(text: str, width: int) -> str:
    """`text` in `width` columns, with … for what its middle loses; both ends say most."""
    width = max(width, _NARROWEST)
    if len(text) <= width:
        return text
    tail = (width - 1) // 3
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def wrapped(head: str, text: str, width: int) -> Iterator[str]:
    """`head` and `text` in lines of `width` columns, those after the first below the text."""
    room = max(width - len(head), _NARROWEST)
    while len(text) > room:
        cut = text.rfind(" ", room // 2, room + 1)
        if cut < 0:  # a long path: behind one of its slashes
            cut = text.rfind("/", room // 2, room) + 1 or room
        yield head + text[:cut].rstrip()
        head, text = " " * len(head), text[cut:].lstrip()
    yield head + text


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
