"""Tables: tabulate for those that people read whole, one format string for very long ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from gdbext.render.printable import printable

# tabulate takes 25 microseconds a row, 0.7 s for the 29,000 slots of 500 plugins: what has
# more rows than a person reads is laid out by one format string instead.
_LONG = 400
_PLAIN = bytes(range(0x20, 0x7F)) + b"\n"


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], right: str = "", quick: bool = False
) -> Iterator[str]:
    """The lines of a table, indented by two; columns named in `right` are right-aligned.

    `quick` is for one of very many tables.
    """
    flush = [header in right.split() for header in headers]
    if len(rows) <= _LONG and not quick:
        from tabulate import tabulate

        # The headers are a row: as headers they would make their columns two wider.
        text = tabulate(
            [headers, *([printable(cell) for cell in row] for row in rows)],
            tablefmt="plain",
            disable_numparse=True,
            colalign=["right" if f else "left" for f in flush],
        )
        yield from (f"  {line}".rstrip() for line in text.split("\n"))
        return
    rows = _clean(rows)
    sizes = [max(map(len, column)) for column in zip(headers, *rows)]
    cells = [f"%{'' if right_aligned else '-'}{size}s" for size, right_aligned in zip(sizes, flush)]
    if not flush[-1]:
        cells[-1] = "%s"
    form = "\n".join(["  " + "  ".join(cells)] * (len(rows) + 1))
    text = form % (*headers, *chain.from_iterable(rows))  # all rows in one step
    lines = text.split("\n")
    if not all(row[-1] for row in rows):  # an empty cell leaves spaces behind the one before it
        lines = [line.rstrip() for line in lines]
    yield from lines


def _clean(rows: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    """The cells as tabulate shows them: escaped, without spaces around them.

    Hardly any table needs that, so all of it is looked at in one go first.
    """
    flat = "\n".join(map("\n".join, rows))
    cells = sum(map(len, rows))
    if (
        flat.count("\n") == max(cells - 1, 0)
        and (_is_plain(flat) or flat.replace("\n", "").isprintable())
        and not (" \n" in flat or "\n " in flat or " " in (flat[:1], flat[-1:]))
    ):
        return rows
    return [[printable(cell).strip() for cell in row] for row in rows]


def _is_plain(text: str) -> bool:
    """Whether there is nothing but printable ASCII and line ends; told in an eighth of the time."""
    return text.isascii() and not text.encode().translate(None, _PLAIN)


def pairs(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """`name   value` lines, the names in one column."""
    size = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        yield f"  {name:<{size}}  {printable(value)}".rstrip()
