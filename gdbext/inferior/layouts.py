"""Structures that one frame hands to the next, as the debug info of both modules has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import gdb

_MOST_FRAMES = 8
_MOST_VARIABLES = 64
_MOST_FIELDS = 64
_STRUCTS = (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION)
_REFERENCES = (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF)


class RawLayout(NamedTuple):
    """A structure in one object file; `path` is GDB's name of the file, `size` in bytes, `fields`
    are names and places in bits."""

    path: str
    size: int
    fields: tuple[tuple[str, int], ...]


class RawUse(NamedTuple):
    """A structure at one address, which the caller of frame `level` and that frame both handle."""

    name: str
    level: int
    layouts: tuple[RawLayout, RawLayout]


class _Held(NamedTuple):
    address: int
    name: str
    layout: RawLayout
    parameter: bool


def read_struct_uses() -> list[RawUse]:
    """What calls between two files hand over: one address that both have as a structure of one
    name. Needs debug info of both. The selected thread and frame stay selected."""
    frames = list(_frames())
    found: list[RawUse] = []
    for level, (inner, outer) in enumerate(zip(frames, frames[1:])):
        callee, caller = _file(inner), _file(outer)
        if callee is None or caller is None or callee == caller:
            continue
        theirs = {(h.address, h.name): h.layout for h in _held(outer, caller)}
        for held in _held(inner, callee):
            other = theirs.get((held.address, held.name))
            if held.parameter and other is not None:
                found.append(RawUse(held.name, level, (held.layout, other)))
    return found


def _frames() -> Iterator[gdb.Frame]:
    try:
        frame: gdb.Frame | None = gdb.newest_frame()
        for _ in range(_MOST_FRAMES):
            if frame is None:
                return
            yield frame
            frame = frame.older()
    except gdb.error:
        return  # the stack is damaged from here on


def _file(frame: gdb.Frame) -> str | None:
    function = frame.function()
    return function.symtab.objfile.filename if function is not None and function.symtab else None


def _held(frame: gdb.Frame, path: str) -> Iterator[_Held]:
    """The structures that a frame's parameters and variables are, or point to."""
    count = 0
    for symbol in _variables(frame):
        count += 1
        if count > _MOST_VARIABLES:
            return
        try:
            value = symbol.value(frame)
            kind = value.type.strip_typedefs()
            if kind.code in _REFERENCES:
                value = value.referenced_value()
                kind = value.type.strip_typedefs()
            if kind.code == gdb.TYPE_CODE_PTR:
                address = int(value)
                kind = kind.target().strip_typedefs()
            else:
                address = int(value.address) if value.address is not None else 0
            layout = _layout(kind, path) if kind.code in _STRUCTS else None
        except (gdb.error, TypeError):
            continue  # optimized out, or not in memory
        name = kind.tag or kind.name
        if layout is not None and name and address:
            yield _Held(address, name, layout, symbol.is_argument)


def _variables(frame: gdb.Frame) -> Iterator[gdb.Symbol]:
    try:
        block: gdb.Block | None = frame.block()
    except (gdb.error, RuntimeError):
        return  # no debug info
    while block is not None:
        for symbol in block:
            if symbol.is_argument or symbol.is_variable:
                yield symbol
        if block.function is not None:
            return
        block = block.superblock


def _layout(kind: gdb.Type, path: str) -> RawLayout | None:
    """None for a structure that is declared and not defined there."""
    rows = tuple(
        (field.name or "", bit)
        for field in kind.fields()[:_MOST_FIELDS]
        if (bit := getattr(field, "bitpos", None)) is not None
    )
    return RawLayout(path, int(kind.sizeof), rows) if rows and kind.sizeof else None
