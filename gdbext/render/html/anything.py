"""Parts of a report that have no picture of their own, shown by their shape."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gdbext.render.html.markup import Column, Markup, Row, code, facts, items, table, tag

_MOST = 2000  # rows or entries
_SHORT = 18  # letters that fit into a narrow column


def anything(name: str, value: Any) -> Markup:  # noqa: ANN401
    """A JSON value: objects alike as a table, one object as names and values, others as a list."""
    if isinstance(value, Mapping):
        pairs = [(key, inner) for key, inner in value.items() if key != "schema"]
        parts = [key for key, inner in pairs if inner and isinstance(inner, (Mapping, list))]
        plain = facts((words(key), inline(inner)) for key, inner in pairs if key not in parts)
        blocks = (
            tag("div", tag("h3", words(key)), anything(key, inner))
            for key, inner in pairs
            if key in parts
        )
        return tag("div", plain, *blocks)
    if isinstance(value, list):
        return _list(name, value)
    return inline(value)


def _list(name: str, values: Sequence[Any]) -> Markup:
    shown, rest = values[:_MOST], len(values) - _MOST
    more = [tag("p", f"and {rest:,} more", class_="note")] if rest > 0 else []
    if shown and all(isinstance(value, Mapping) for value in shown):
        keys = list(dict.fromkeys(key for value in shown for key in value))
        columns = [Column(words(key), _width(key, shown)) for key in keys]
        rows = (Row([inline(value.get(key)) for key in keys]) for value in shown)
        return tag("div", table(words(name), columns, rows), *more)
    return tag("div", items(inline(value) for value in shown), *more)


def _width(key: str, rows: Sequence[Mapping[str, Any]]) -> str:
    long = any(len(str(row.get(key, ""))) > _SHORT for row in rows)
    return "name" if long else ""


def inline(value: Any) -> Markup:  # noqa: ANN401
    """A value within a line: what is inside of it is said in words, as deep as it goes."""
    if isinstance(value, Mapping):
        pairs = (f"{key.replace('_', ' ')} {_said(inner)}" for key, inner in value.items())
        return tag("span", ", ".join(pairs))
    if isinstance(value, list):
        return items(map(inline, value[:_MOST])) or tag("span", "none")
    if isinstance(value, str) and " " not in value:
        return code(value)  # addresses, paths and names have no spaces; sentences do
    return code(None) if value is None else tag("span", _said(value))


def _said(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or isinstance(value, (str, int)):
        return "unknown" if value is None else str(value)
    return json.dumps(value, ensure_ascii=False)


def words(key: str) -> str:
    """A key of the document as a title: `slots_near_call` is "Slots near call"."""
    return key.replace("_", " ").capitalize()
