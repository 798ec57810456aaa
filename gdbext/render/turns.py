"""The order of constructors or destructors as a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gdbext.render.fit import cut_middle, shortened
from gdbext.render.printable import count, printable
from gdbext.render.tables import table

_WIDE = 132
_LONGEST_PATH = 48
_NARROWEST = 16
_HEADERS = ["#", "state", "when", "module", "function", "source"]


class Line(NamedTuple):
    """One function, with its own state; `file` is empty where there is no debug info."""

    state: str
    text: str
    file: str
    line: int


class Entry(NamedTuple):
    """One module's turn. `plain`: it has nothing but start files, which are not among `lines`."""

    number: int
    state: str
    when: str
    module: str
    plain: bool
    lines: tuple[Line, ...]


def turns_table(entries: Sequence[Entry], width: int) -> Iterator[str]:
    """A line for each function; neighbours with nothing but start files share one line."""
    cells: list[list[str]] = []
    for group in _groups(entries):
        cells += [_summary(group)] if group[0].plain else _cells(group[0], width >= _WIDE)
    headers = list(_HEADERS)
    if width < _WIDE or not any(row[-1] for row in cells):
        # A column that few lines fill takes too much of a narrow terminal.
        headers.pop()
        cells = [[*row[:-2], ", ".join(filter(None, row[-2:]))] for row in cells]
    sizes = [max(map(len, column)) for column in zip(headers, *cells)]
    module = min(sizes[3], max(width // 4, _NARROWEST))
    room = width - 2 * len(sizes) - (sum(sizes) - sizes[3] - sizes[4]) - module
    for row in cells:
        row[3], row[4] = cut_middle(row[3], module), cut_middle(row[4], max(room, _NARROWEST))
    yield from table(headers, cells, right="#")


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    group: list[Entry] = []
    for entry in entries:
        last = group[-1] if group else None
        same = (
            last is not None
            and last.plain
            and entry.plain
            and (last.state, last.when) == (entry.state, entry.when)
        )
        if group and not same:
            yield group
            group = []
        group.append(entry)
    if group:
        yield group


def _summary(group: Sequence[Entry]) -> list[str]:
    first, last = group[0], group[-1]
    one = first is last
    number = str(first.number) if one else f"{first.number}-{last.number}"
    module = printable(first.module) if one else count(len(group), "module")
    return [number, first.state, first.when, module, "(start files alone)", ""]


def _cells(entry: Entry, wide: bool) -> Iterator[list[str]]:
    """The module is named on its first line; the state again where the functions differ."""
    start = [str(entry.number), entry.state, entry.when, printable(entry.module)]
    mixed = len({line.state for line in entry.lines}) > 1
    for index, line in enumerate(entry.lines):
        path = shortened(line.file, _LONGEST_PATH) if wide else os.path.basename(line.file)
        source = printable(f"{path}:{line.line}") if line.file else ""
        head = list(start) if not index else ["", "", "", ""]
        if mixed:
            head[1] = line.state
        yield [*head, printable(line.text), source]
    if not entry.lines:
        yield [*start, "(none)", ""]
