"""Tables: tabulate for those that people read whole, one format string for very long ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from gdbext.render.fit import wrapped
from gdbext.render.printable import printable

# tabulate takes 25 microseconds a row, 0.7 s for the 29,000 slots of 500 plugins: what has
# more rows than a person reads is laid out by one format string instead.
_LONG = 400
_PLAIN = bytes(range(0x20, 0x7F)) + b"\n"


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], right: str = "", quick: bool = False
) -> Iterator[str]:
    """The lines of a table, indented by two; columns named in `right` are right-aligned.

    `quick` is for commands that make no other table: tabulate takes 30 ms to load.
    """
    if rows and (quick or len(rows) > _LONG):
        yield from quick_table(headers, list(zip(*rows)), right).split("\n")
        return
    from tabulate import tabulate

    # The headers are a row: as headers they would make their columns two wider.
    text = tabulate(
        [headers, *([printable(cell) for cell in row] for row in rows)],
        tablefmt="plain",
        disable_numparse=True,
        colalign=["right" if header in right.split() else "left" for header in headers],
    )
    yield from (f"  {line}".rstrip() for line in text.split("\n"))


def quick_table(headers: Sequence[str], columns: Sequence[Sequence[str]], right: str = "") -> str:
    """The same table as one text, from its columns; for one of very many tables, too."""
    columns = list(map(_clean, columns))
    forms = [
        f"%{'' if header in right.split() else '-'}{max(map(len, (header, *column)))}s"
        for header, column in zip(headers, columns)
    ]
    if headers[-1] not in right.split():
        forms[-1] = "%s"
    form = "\n".join(["  " + "  ".join(forms)] * (len(columns[-1]) + 1))
    text = form % (*headers, *chain.from_iterable(zip(*columns)))  # all rows in one step
    if all(columns[-1]):
        return text
    # an empty cell leaves spaces behind the one before it
    return "\n".join(line.rstrip() for line in text.split("\n"))


def _clean(cells: Sequence[str]) -> Sequence[str]:
    """The cells as tabulate shows them: escaped, without spaces around them.

    Hardly any column needs that, so all of it is looked at in one go first.
    """
    text = "\n".join(cells)
    if (
        text.count("\n") == max(len(cells) - 1, 0)
        and (_is_plain(text) or text.replace("\n", "").isprintable())
        and not (" " in text and (" \n" in text or "\n " in text or " " in (text[:1], text[-1:])))
    ):
        return cells
    return [printable(cell).strip() for cell in cells]


def _is_plain(text: str) -> bool:
    """Whether there is nothing but printable ASCII and line ends; told in an eighth of the time."""
    return text.isascii() and not text.encode().translate(None, _PLAIN)


def pairs(rows: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """`name   value` lines of `width` columns, the names in one column."""
    size = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        yield from wrapped(f"  {name:<{size}}  ", printable(value), width)
