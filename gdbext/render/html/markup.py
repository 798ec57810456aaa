"""HTML in which every plain string is escaped: what is not Markup cannot become a tag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from gdbext.render.printable import printable


class Markup(str):
    """HTML already. `tag` and `join` make it; any other string is text and gets escaped."""

    __slots__ = ()


EMPTY = Markup("")
_LONG = 40  # rows of a table that needs a box of its own to scroll in
_VOID = frozenset({"meta", "br", "input", "col"})


def text(value: str) -> Markup:
    """A string as HTML text or attribute value; control characters are shown escaped."""
    return value if isinstance(value, Markup) else Markup(escape(printable(value)))


def join(parts: Iterable[str], between: str = "") -> Markup:
    """Several pieces, one behind the other."""
    return Markup(text(between).join(text(part) for part in parts))


def tag(name: str, /, *children: str, **attributes: str | int | bool | None) -> Markup:
    """An element. `class_` is class, `aria_label` is aria-label; None and False leave one out."""
    opened = start(name, **attributes)
    return opened if name in _VOID else Markup(f"{opened}{join(children)}</{name}>")


def start(name: str, /, **attributes: str | int | bool | None) -> Markup:
    """The start tag of an element."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{text(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Markup(f"<{name}{written}>")


class Column(NamedTuple):
    """A column's title and, for the style, its class (`number`, `code`, `wide`)."""

    title: str
    kind: str = ""


class Row(NamedTuple):
    """Cells in the columns' order; `kind` is a class of the row (`quiet`: nothing is wrong)."""

    cells: Sequence[str]
    kind: str = ""


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Row],
    *,
    header: int = 0,
    kind: str = "sortable",
) -> Markup:
    """A table in a box that scrolls by itself where the window is narrow or the rows are many.

    The cells of column `header` name their rows. The roles say again what the elements are, since
    the style turns the rows of some tables into blocks on a narrow screen.
    """
    heads = [
        tag("th", column.title, scope="col", role="columnheader", class_=column.kind or None)
        for column in columns
    ]
    # A table has thousands of cells, but each column's tags are always the same.
    names = ["th" if place == header else "td" for place in range(len(columns))]
    starts = [
        start(
            name,
            class_=column.kind or None,
            role="rowheader" if name == "th" else "cell",
            scope="row" if name == "th" else None,
        )
        for name, column in zip(names, columns)
    ]
    body = [
        tag(
            "tr",
            *(
                Markup(f"{opened}{text(cell)}</{name}>")
                for opened, cell, name in zip(starts, row.cells, names)
            ),
            class_=row.kind or None,
            role="row",
        )
        for row in rows
    ]
    inner = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *heads, role="row"), role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        class_=kind or None,
        role="table",
    )
    box = "scroll long" if len(body) > _LONG else "scroll"
    return tag("div", inner, class_=box, role="group", aria_label=caption, tabindex=0)


def section(name: str, title: str, *children: str, note: str = "") -> Markup:
    """A part of the page with its heading; `name` is what links lead to."""
    heading = tag("h2", title, id=f"{name}-title")
    about = tag("p", note, class_="note") if note else EMPTY
    return tag("section", heading, about, *children, id=name, aria_labelledby=f"{name}-title")


def facts(pairs: Iterable[tuple[str, str]], kind: str = "facts") -> Markup:
    """Names and values, one under the other."""
    rows = (tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs)
    return tag("dl", *rows, class_=kind)


def items(values: Iterable[str], kind: str | None = None) -> Markup:
    """A list; nothing where there is none."""
    found = [tag("li", value) for value in values]
    return tag("ul", *found, class_=kind) if found else EMPTY


def code(value: str | None) -> Markup:
    """A name or an address from the program, kept apart from the text around it."""
    return tag("code", value, dir="ltr") if value else tag("span", "–", class_="none")


def folded(summary: str, *children: str, kind: str | None = None) -> Markup:
    """What is shown when somebody asks for it, and on paper unless `kind` is `quiet`."""
    return tag("details", tag("summary", summary), *children, class_=kind)
