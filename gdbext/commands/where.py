"""plug-where: what lies at an address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gdb

from gdbext.commands.base import Argument, Command

if TYPE_CHECKING:
    import argparse

    from gdbext.inferior import Inferior
    from gdbext.linker.places import Place


class PlugWhere(Command):
    """Say what lies at an address.

    ADDRESS is any expression of the current language, for example 0x7ffff7fba018, $rip or
    &errno. The answer names module, offset (as addr2line takes it), segment, section and
    symbol; a GOT slot or PLT entry; a TLS block; a stack or heap; or says that nothing is
    mapped there."""

    name = "plug-where"
    schema = "where"
    arguments = (
        Argument("ADDRESS", "The expression to explain.", complete="expression", required=True),
    )

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> Place:
        from gdbext.elf.problem import Problem
        from gdbext.linker.modules import read_linker

        address = evaluate(args.address)
        try:
            linker = read_linker(inferior)
        except Problem:
            linker = None  # static, or not started: the mappings still say something
        return inferior.map(linker).place(address)

    def document(self, facts: Place, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.findings.description import describe, place_document
        from gdbext.inferior.frames import demangle

        return {**place_document(facts), "text": describe(facts, demangle)}

    def text(self, facts: Place, args: argparse.Namespace) -> Iterator[str]:  # noqa: ARG002
        from gdbext.findings.description import describe
        from gdbext.inferior.frames import demangle
        from gdbext.render.printable import printable

        yield f"{facts.address:#x}: {printable(describe(facts, demangle))}"
        yield from _details(facts)


def _details(place: Place) -> Iterator[str]:
    from gdbext.findings.description import access, slot_name
    from gdbext.render.tables import pairs

    rows: list[tuple[str, str]] = []
    if place.module is not None:
        rows.append(("module", place.module.path))
    if place.segment is not None and place.module is not None:
        start = place.module.bias + place.segment.vaddr
        end = start + place.segment.memsz
        rows.append(("segment", f"{start:#x} - {end:#x} {access(place.segment.flags)}"))
    if place.region is not None:
        region = place.region
        path = f" {region.path}" if region.path else ""
        rows.append(
            ("mapping", f"{region.start:#x} - {region.end:#x} {access(region.flags)}{path}")
        )
    for name, slot in (("slot", place.slot), ("PLT entry's slot", place.stub)):
        if slot is not None:
            value = hex(slot.value) if slot.value is not None else "?"
            rows.append((name, f"{slot.address:#x} {slot.type} {slot_name(slot)}"))
            rows.append(("holds", f"{value} ({slot.state})"))
    yield from pairs(rows)


def evaluate(expression: str) -> int:
    """An address from an expression of the current language; raises Problem otherwise."""
    from gdbext.elf.problem import Problem

    try:
        return int(expression, 0) & (1 << 64) - 1
    except ValueError:
        pass
    try:
        value = gdb.parse_and_eval(expression)
        if value.type.strip_typedefs().code in (gdb.TYPE_CODE_FUNC, gdb.TYPE_CODE_ARRAY):
            return int(value.address or 0)
        return int(value) & (1 << 64) - 1
    except gdb.error as error:
        raise Problem(f"{expression!r}: {error}") from error
