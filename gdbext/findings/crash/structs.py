"""Layouts of one structure that differ between the two sides of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gdbext.findings.crash.scene import STRUCTS, Cause, Scene
from gdbext.linker.loaded.modules import Module

_SHOWN = 8  # fields


class Field(NamedTuple):
    """`name` is the path of a member, `a.b` for one of a member `a`; `bit` is where it begins and
    `bits` its size; `kind` is `pointer`, `number`, `real` or another word for what is in it."""

    name: str
    bit: int
    bits: int
    kind: str

    @property
    def at(self) -> str:
        return f"byte {self.bit // 8}" + (f" bit {self.bit % 8}" if self.bit % 8 else "")


class Layout(NamedTuple):
    """A structure as one module's debug info has it: its size in bytes, and its members."""

    module: Module
    size: int
    fields: tuple[Field, ...]


class StructUse(NamedTuple):
    """A structure that frame `level` takes, and that frame `outer` has as well; `layouts` are those
    of their modules in this order. `copied`: it is passed by value."""

    name: str
    level: int
    outer: int
    layouts: tuple[Layout, Layout]
    copied: bool = False


def struct_mismatch(
    read: Callable[[], Sequence[StructUse]],
) -> Callable[[Scene], Iterator[Cause]]:
    """Two modules on the way have different layouts of a structure that passes between them."""

    def rule(scene: Scene) -> Iterator[Cause]:
        del scene
        for use in read():
            taker, giver = use.layouts
            different = difference(taker, giver)
            if different is None:
                continue
            text = (
                f"{taker.module.file_name} and {giver.module.file_name} have different "
                f"layouts of {use.name}: {different}"
            )
            way = "a copy of one" if use.copied else "the same one"
            yield Cause(
                STRUCTS,
                text,
                (
                    f"frame #{use.level} takes a {use.name}, and frame #{use.outer} has {way}",
                    f"{_layout(taker)}; {_layout(giver)}",
                ),
            )

    return rule


def difference(taker: Layout, giver: Layout) -> str | None:
    """How two layouts differ, None where what `taker` has is there in `giver` too.

    A member that only has another name is no difference, nor is what `giver` has behind the end
    of the other's structure.
    """
    ours = {f.name: f for f in taker.fields}
    theirs = {f.name: f for f in giver.fields}
    moved = [(f, theirs[f.name]) for f in taker.fields if f.name in theirs]
    wrong = [(one, two) for one, two in moved if one[1:] != two[1:]]
    renamed = {f[1:] for f in giver.fields if f.name not in ours}
    added = [f for f in taker.fields if f.name not in theirs and f[1:] not in renamed]
    if not wrong and not added:
        return None
    if taker.size != giver.size:
        return f"{taker.size} and {giver.size} bytes"
    if not wrong:
        return f"only one has {added[0].name}, at {added[0].at}"
    one, two = wrong[0]
    if one.bit != two.bit:
        return f"{one.name} is at {one.at} and at {two.at}"
    if one.bits != two.bits:
        return f"{one.name} at {one.at} has {_size(one)} and {_size(two)}"
    return f"{one.name} at {one.at} is a {one.kind} and a {two.kind}"


def _size(field: Field) -> str:
    return f"{field.bits} bits" if field.bits % 8 else f"{field.bits // 8} bytes"


def _layout(layout: Layout) -> str:
    shown = ", ".join(f"{f.name} +{f.bit // 8}" for f in layout.fields[:_SHOWN])
    more = ", …" if len(layout.fields) > _SHOWN else ""
    return f"{layout.module.file_name}: {layout.size} bytes ({shown}{more})"
