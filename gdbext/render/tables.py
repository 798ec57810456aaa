"""Tables: tabulate for those that people read whole, one format string for very long ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gdbext.render.printable import printable

# tabulate takes 25 microseconds a row, 0.7 s for the 29,000 slots of 500 plugins: what has
# more rows than a person reads is laid out by one format string instead.
_LONG = 400


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], right: str = "", quick: bool = False
) -> Iterator[str]:
    """The lines of a table, indented by two; columns named in `right` are right-aligned.

    `quick` is for one of very many tables.
    """
    width = len(headers)
    cells = [[printable(cell) for cell in row] for row in rows]
    flush = [header in right.split() for header in headers]
    if len(cells) <= _LONG and not quick:
        from tabulate import tabulate

        text = tabulate(
            cells,
            headers=headers,
            tablefmt="plain",
            disable_numparse=True,
            colalign=["right" if f else "left" for f in flush] if cells else None,
        )
        yield from ("  " + line.rstrip() for line in text.split("\n"))
        return
    sizes = [max(map(len, column)) for column in zip(headers, *cells)]
    form = "  " + "  ".join(
        f"%{'' if flush[i] else '-'}{sizes[i] if i < width - 1 or flush[i] else 0}s"
        for i in range(width)
    )
    for row in (headers, *cells):
        yield form % tuple(row)


def pairs(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """`name   value` lines, the names in one column."""
    size = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        yield f"  {name:<{size}}  {printable(value)}".rstrip()
