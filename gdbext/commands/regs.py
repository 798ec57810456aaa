"""plug-regs: registers and what each one points to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gdbext.commands.base import Command

if TYPE_CHECKING:
    import argparse

    from gdbext.findings.registers import Register
    from gdbext.inferior import Inferior


class PlugRegs(Command):
    """Show the registers of the selected frame and what each one points to.

    Values that are no address are shown alone; a short text that a register points to is
    shown in quotes."""

    name = "plug-regs"
    schema = "regs"

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> list[Register]:  # noqa: ARG002
        from gdbext.elf.problem import Problem
        from gdbext.findings.registers import explain_registers
        from gdbext.inferior.frames import register, selected_frame
        from gdbext.linker.modules import read_linker

        if selected_frame() is None:
            raise Problem("no thread is selected, so there are no registers")
        arch = inferior.arch
        values = [(name, register(name)) for name in arch.registers]
        values.append((arch.flags, register(arch.flags)))
        pointers = [(name, register(name)) for name in arch.thread_pointers]
        values.append(next((p for p in pointers if p[1] is not None), pointers[0]))
        try:
            linker = read_linker(inferior)
        except Problem:
            linker = None  # static, or not started: the mappings still say something
        return explain_registers(values, inferior.map(linker))

    def document(self, facts: list[Register], args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        return {"registers": [_document(register) for register in facts]}

    def text(self, facts: list[Register], args: argparse.Namespace) -> Iterator[str]:  # noqa: ARG002
        from gdbext.findings.description import register_lines
        from gdbext.inferior.frames import demangle

        yield from register_lines(facts, demangle)


def _document(register: Register) -> dict[str, Any]:
    from gdbext.findings.description import describe, place_document
    from gdbext.inferior.frames import demangle

    document: dict[str, Any] = {
        "name": register.name,
        "value": hex(register.value) if register.value is not None else None,
        "points_to": place_document(register.place) if register.place is not None else None,
        "text": describe(register.place, demangle) if register.place is not None else None,
        "string": register.text,
    }
    if register.value is None:
        document["value_reason"] = "this target or core does not have it"
    return document
