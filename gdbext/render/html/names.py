"""Paths, addresses and symbols as they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gdbext.render.html.markup import EMPTY, Markup, code, join, tag


def file_name(path: str) -> str:
    """The last part of a path; the path itself where that is empty."""
    return path.rpartition("/")[2] or path


def folder(path: str) -> str:
    """The part of a path before its file name, without the slash."""
    return path.rpartition("/")[0]


def module(path: str | None) -> Markup:
    """A module by its file name, and its folder small below."""
    if not path:
        return code(None)
    place = folder(path)
    small = tag("span", tag("bdi", place), class_="folder", dir="ltr") if place else EMPTY
    return join([code(file_name(path)), small], " ")


def spot(frame: Mapping[str, Any]) -> Markup:
    """The module and offset of a frame, as addr2line takes them, or a mapped file and the offset in
    that."""
    path = frame.get("module")
    mapped = frame.get("mapped_file")
    if not path and mapped:
        where = code(f"{file_name(mapped)}+{frame.get('file_offset') or ''}")
        return join(
            [where, tag("span", "mapped file", class_="folder"), _small(folder(mapped))], " "
        )
    if not path:
        kind = frame.get("kind")
        what = f"in no module ({kind})" if kind and kind != "module" else "in no module"
        return join([code(frame.get("pc")), tag("span", what, class_="folder")], " ")
    offset = frame.get("offset") or ""
    plus = offset if offset.startswith("-") else f"+{offset}" if offset else ""
    return join([code(file_name(path) + plus), unloaded(frame), _small(folder(path))], " ")


def function(frame: Mapping[str, Any]) -> str:
    """The name of a frame's function as people write it, `` where there is none."""
    return frame.get("demangled") or frame.get("symbol") or ""


def unloaded(frame: Mapping[str, Any]) -> Markup:
    """The mark of code that is gone."""
    if not frame.get("unloaded"):
        return EMPTY
    return badge("unloaded, probable" if frame.get("probable") else "unloaded", "gone")


def badge(text: str, kind: str) -> Markup:
    """A short word that stands out; `kind` is crash, lost, gone or plain."""
    return tag("span", text, class_=f"badge {kind}")


def source(frame: Mapping[str, Any]) -> Markup:
    """File and line; the folder is left to the eye's second look."""
    path = frame.get("file")
    if not path:
        return code(None)
    line = frame.get("line")
    name = file_name(path) + (f":{line}" if line is not None else "")
    return join([code(name), _small(folder(path))], " ")


def versioned(symbol: str | None, version: str | None) -> str:
    """`symbol@version`, as readelf writes it."""
    return f"{symbol}@{version}" if symbol and version else symbol or ""


def count(number: int, noun: str, nouns: str | None = None) -> str:
    """`1 module`, `2,000 modules`."""
    return f"1 {noun}" if number == 1 else f"{number:,} {nouns or noun + 's'}"


def _small(text: str) -> Markup:
    return tag("span", tag("bdi", text), class_="folder", dir="ltr") if text else EMPTY
