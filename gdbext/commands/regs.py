"""plug-regs: registers and what each one points to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import gdb

from gdbext import settings
from gdbext.commands.base import Command, terminal_width

if TYPE_CHECKING:
    import argparse

    from gdbext.findings.crash.registers import Register
    from gdbext.inferior import Inferior


_BEHIND_VALUE = 32  # columns of a register's name and value


class Registers(NamedTuple):
    """The registers of one frame, by its thread's number and its own."""

    thread: int
    frame: int
    rows: list[Register]


class PlugRegs(Command):
    """Show the registers of the selected frame and what each one points to.

    Values that are no address are shown alone; a short text that a register points
    to is shown in quotes."""

    name = "plug-regs"
    schema = "regs"

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> Registers:  # noqa: ARG002
        from gdbext.elf.problem import Problem
        from gdbext.findings.crash.registers import explain_registers
        from gdbext.inferior.frames import careful, frame_level, register, selected_frame
        from gdbext.linker.loaded.alone import read_linker_or_images

        frame, thread = selected_frame(), gdb.selected_thread()
        if frame is None or thread is None:
            raise Problem("no thread is selected, so there are no registers")
        arch = inferior.arch
        values = [(name, register(name)) for name in arch.registers]
        values.append((arch.flags, register(arch.flags)))
        pointers = [(name, register(name)) for name in arch.thread_pointers]
        values.append(next((p for p in pointers if p[1] is not None), pointers[0]))
        linker, _ = read_linker_or_images(inferior)
        space = careful(inferior.map(linker), settings.last_signal)
        return Registers(thread.num, frame_level(frame), explain_registers(values, space))

    def document(self, facts: Registers, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        rows = [register_document(register) for register in facts.rows]
        return {"thread": facts.thread, "frame": facts.frame, "registers": rows}

    def text(self, facts: Registers, args: argparse.Namespace) -> Iterator[str]:  # noqa: ARG002
        from gdbext.findings.crash.description import register_line
        from gdbext.inferior.frames import demangle
        from gdbext.render.fit import wrapped
        from gdbext.render.printable import printable

        for register in facts.rows:
            line = printable(register_line(register, demangle))
            yield from wrapped(line[:_BEHIND_VALUE], line[_BEHIND_VALUE:], terminal_width())


def register_document(register: Register) -> dict[str, Any]:
    """A register as JSON has it: its value and what that points to."""
    from gdbext.findings.crash.description import describe, place_document
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
