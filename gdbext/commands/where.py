"""plug-where: what lies at an address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gdb

from gdbext import settings
from gdbext.commands.base import Argument, Command, terminal_width

if TYPE_CHECKING:
    import argparse

    from gdbext.inferior import Inferior
    from gdbext.linker.places import Place


# Types whose values are addresses or numbers; memberptr and the like are left out on purpose.
_ADDRESSES = (
    gdb.TYPE_CODE_PTR,
    gdb.TYPE_CODE_INT,
    gdb.TYPE_CODE_ENUM,
    gdb.TYPE_CODE_CHAR,
    gdb.TYPE_CODE_BOOL,
    gdb.TYPE_CODE_RANGE,
)


# Types whose values are at an address.
_PLACES = (
    gdb.TYPE_CODE_FUNC,
    gdb.TYPE_CODE_ARRAY,
    gdb.TYPE_CODE_REF,
    gdb.TYPE_CODE_RVALUE_REF,
)


class PlugWhere(Command):
    """Say what lies at an address.

    ADDRESS is any expression of the current language, for example 0x7ffff7fba018,
    $rip or &errno. The answer names module, offset (as addr2line takes it),
    segment, section and symbol; a GOT slot or PLT entry; a TLS block; a stack or
    heap; or says that nothing is mapped there, and which library was before it was
    unloaded. That is called probable when GDB did not see the library come and
    ld.so's freed memory alone tells of it."""

    name = "plug-where"
    schema = "where"
    arguments = (
        Argument("ADDRESS", "The expression to explain.", complete="expression", required=True),
    )

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> Place:
        from gdbext.inferior.frames import careful
        from gdbext.linker.loaded.alone import read_linker_or_images

        address = evaluate(args.address)
        linker, _ = read_linker_or_images(inferior)
        return careful(inferior.map(linker), settings.last_signal).place(address)

    def document(self, facts: Place, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.findings.crash.description import describe, place_document
        from gdbext.inferior.frames import demangle

        return {**place_document(facts), "text": describe(facts, demangle)}

    def text(self, facts: Place, args: argparse.Namespace) -> Iterator[str]:  # noqa: ARG002
        from gdbext.findings.crash.description import describe
        from gdbext.inferior.frames import demangle
        from gdbext.render.fit import wrapped
        from gdbext.render.printable import printable

        head = f"{facts.address:#x}: "
        yield from wrapped(head, printable(describe(facts, demangle)), terminal_width())
        yield from _details(facts)


def _details(place: Place) -> Iterator[str]:
    from gdbext.findings.crash.description import access, how_known, slot_name
    from gdbext.inferior.frames import demangle
    from gdbext.render.tables import pairs

    rows: list[tuple[str, str]] = []
    if place.module is not None:
        rows.append(("module", place.module.path))
        if place.module.namespace:
            rows.append(("namespace", str(place.module.namespace)))
    if place.segment is not None and place.module is not None:
        start = place.module.bias + place.segment.vaddr
        end = start + place.segment.memsz
        rows.append(("segment", f"{start:#x} - {end:#x} {access(place.segment.flags)}"))
    if place.ghost is not None:
        library = place.ghost.library
        rows.append(("library", library.path + ("…" if library.cut else "")))
        rows.append(("was at", f"{library.start:#x} - {library.end:#x}"))
        rows.append(("known by", how_known(library)))
    if place.region is not None:
        region = place.region
        path = f" {region.path}" if region.path else ""
        rows.append(
            ("mapping", f"{region.start:#x} - {region.end:#x} {access(region.flags)}{path}")
        )
    for name, slot in (("slot", place.slot), ("PLT entry's slot", place.stub)):
        if slot is not None:
            value = hex(slot.value) if slot.value is not None else "?"
            rows.append((name, f"{slot.address:#x} {slot.type} {slot_name(slot, demangle)}"))
            rows.append(("holds", f"{value} ({slot.state or 'unknown'})"))
    yield from pairs(rows, terminal_width())


def evaluate(expression: str) -> int:
    """An address from an expression of the current language; raises Problem otherwise."""
    from gdbext.elf.problem import Problem

    try:
        return int(expression, 0) & (1 << 64) - 1
    except ValueError:
        pass
    try:
        with calls_forbidden():
            return _address(gdb.parse_and_eval(expression))
    except (gdb.error, OverflowError) as error:
        raise Problem(f"{expression!r}: {error}") from error


@contextmanager
def calls_forbidden() -> Iterator[None]:
    """No function of the program is called for a while.

    An expression may ask for that unawares: GDB puts a string literal into the program's memory
    by calling its malloc.
    """
    before = gdb.parameter("may-call-functions")
    gdb.execute("set may-call-functions off", to_string=True)
    try:
        yield
    finally:
        gdb.execute(f"set may-call-functions {'on' if before else 'off'}", to_string=True)


def _address(value: gdb.Value) -> int:
    from gdbext.elf.problem import Problem

    kind = value.type.strip_typedefs().code
    if kind in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        value = value.referenced_value()
    if kind in _PLACES:
        if value.address is None:
            raise Problem("that value is nowhere in the program's memory")
        return int(value.address)
    if kind not in _ADDRESSES:
        raise Problem(f"a value of type {value.type} is no address; its own is that of &(…)")
    return int(value) & (1 << 64) - 1
