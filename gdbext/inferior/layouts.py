"""Structures that one frame hands to the next, as the debug info of both modules has them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import gdb

_MOST_FRAMES = 8
_MOST_VARIABLES = 64
_MOST_FIELDS = 64
_STRUCTS = (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION)
_REFERENCES = (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF)


_DEEPEST = 4  # members of members
_KINDS = {
    gdb.TYPE_CODE_PTR: "pointer",
    gdb.TYPE_CODE_REF: "pointer",
    gdb.TYPE_CODE_RVALUE_REF: "pointer",
    gdb.TYPE_CODE_FLT: "real",
    gdb.TYPE_CODE_ARRAY: "array",
    gdb.TYPE_CODE_STRUCT: "structure",
    gdb.TYPE_CODE_UNION: "union",
}


class RawField(NamedTuple):
    """`name` is the path of a member that is no structure itself; `bit` and `bits` are its place
    and size, `kind` what is in it; whether a number has a sign does not move anything."""

    name: str
    bit: int
    bits: int
    kind: str


class RawLayout(NamedTuple):
    """A structure in one object file; `path` is GDB's name of the file, `size` in bytes."""

    path: str
    size: int
    fields: tuple[RawField, ...]


class RawUse(NamedTuple):
    """A structure that frame `level` takes as a parameter, and that its caller `outer`, or the
    caller of that, has at the same address; `copied`: the caller has one, and passes a copy."""

    name: str
    level: int
    outer: int
    layouts: tuple[RawLayout, RawLayout]
    copied: bool = False


class _Held(NamedTuple):
    address: int  # 0: unknown
    name: str
    layout: RawLayout
    parameter: bool
    itself: bool  # and no pointer to it


def read_struct_uses() -> list[RawUse]:
    """What calls between two files hand over: one address that both have as a structure of one
    name. Needs debug info of both. The selected thread and frame stay selected."""
    rows = [(level, path, list(_held(frame, path))) for level, frame, path in _frames()]
    found: dict[tuple[str, str, str], RawUse] = {}
    for at, (level, callee, taken) in enumerate(rows):
        for outer, caller, theirs in rows[at + 1 :]:
            if callee == caller:
                continue
            for held in taken:
                other = _other(held, theirs, outer == level + 1) if held.parameter else None
                if other is not None:
                    copied = other.address != held.address
                    use = RawUse(held.name, level, outer, (held.layout, other.layout), copied)
                    found.setdefault((held.name, callee, caller), use)
    return list(found.values())


def _other(held: _Held, theirs: list[_Held], adjacent: bool) -> _Held | None:
    """The same structure in a frame further out; or one that a copy was made of for the call."""
    named = [h for h in theirs if h.name == held.name]
    same = next((h for h in named if h.address and h.address == held.address), None)
    if same is not None or not (adjacent and held.itself):
        return same
    return next((h for h in named if h.itself), None)


def _frames() -> Iterator[tuple[int, gdb.Frame, str]]:
    """(level, frame, object file) of those of the innermost frames that have debug info."""
    try:
        frame: gdb.Frame | None = gdb.newest_frame()
        for level in range(_MOST_FRAMES):
            if frame is None:
                return
            path = _file(frame)
            if path is not None:
                yield level, frame, path
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
        declared = symbol.type
        itself = declared is not None and declared.strip_typedefs().code in _STRUCTS
        address = 0
        try:
            address, declared = _place(symbol.value(frame))
        except (gdb.error, TypeError):
            if not itself:
                continue  # optimized out, or not in memory
        if declared is None:
            continue
        kind = declared.strip_typedefs()
        layout = _layout(kind, path) if kind.code in _STRUCTS else None
        name = kind.tag or kind.name or declared.unqualified().name
        if layout is not None and name and (address or itself):
            yield _Held(address, name, layout, symbol.is_argument, itself)


def _place(value: gdb.Value) -> tuple[int, gdb.Type]:
    """Where that lies which a value is, or points or refers to, and its type."""
    if value.type.strip_typedefs().code in _REFERENCES:
        value = value.referenced_value()
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_PTR:
        return int(value), kind.target()
    return int(value.address) if value.address is not None else 0, value.type


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
    fields = tuple(islice(_fields(kind, "", 0, _DEEPEST), _MOST_FIELDS))
    return RawLayout(path, int(kind.sizeof), fields) if fields and kind.sizeof else None


def _fields(kind: gdb.Type, path: str, base: int, depth: int) -> Iterator[RawField]:
    """The members, and in place of a structure's those of it."""
    for field in kind.fields():
        bit = getattr(field, "bitpos", None)  # static members have no place
        if bit is None or field.type is None:
            continue
        own = field.type.strip_typedefs()
        name = f"{path}.{field.name}" if path and field.name else path + (field.name or "")
        if own.code in _STRUCTS and depth and own.fields():
            yield from _fields(own, name, base + bit, depth - 1)
        else:
            bits = field.bitsize or 8 * own.sizeof
            yield RawField(name, base + bit, bits, _KINDS.get(own.code, "number"))
