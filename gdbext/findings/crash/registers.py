"""Registers and what each one points to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gdbext.elf.image import PF_X
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import PAGE
from gdbext.linker.places import Map, Place

_PREVIEW = 48  # bytes of a text that a register points to
_SHORTEST = 4
_POINTS_NOWHERE = ("unmapped", "null", "unknown")


class Register(NamedTuple):
    """One register; `place` is None when its value is no address, `text` a string it points to."""

    name: str
    value: int | None
    place: Place | None
    text: str | None


def explain_registers(values: Iterable[tuple[str, int | None]], space: Map) -> list[Register]:
    """What each value points to."""
    registers = []
    for name, value in values:
        place = space.place(value) if value is not None else None
        if place is not None and place.kind in _POINTS_NOWHERE:
            place = None
        text = _string(space, place) if place is not None else None
        registers.append(Register(name, value, place, text))
    return registers


def _is_pointer(space: Map, data: bytes) -> bool:
    value = int.from_bytes(data[:8], "little")
    return len(data) >= 8 and space.place(value).kind not in _POINTS_NOWHERE


def _is_code(place: Place) -> bool:
    """Whether code is there; read-only data may be in the same segment (GNU ld on ARM64)."""
    if place.section is not None:
        return place.section.startswith((".text", ".plt", ".init", ".fini"))
    executable = place.segment is not None and bool(place.segment.flags & PF_X)
    return executable and place.definition is not None


def _string(space: Map, place: Place) -> str | None:
    """The printable ASCII text at a place that is no code, if there is one."""
    if _is_code(place):
        return None
    size = min(_PREVIEW, PAGE - place.address % PAGE)
    try:
        data = space.process.memory.read(place.address, size)
    except Unreadable:
        return None
    text = data.partition(b"\0")[0]
    if len(text) < _SHORTEST or not all(32 <= byte < 127 for byte in text):
        return None
    if _is_pointer(space, data):
        return None  # 0x555555555140 looks like "@QUUUU"
    return text.decode("ascii") + ("…" if len(text) == size else "")
