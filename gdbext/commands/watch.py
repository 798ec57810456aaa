"""plug-watch: stop when somebody else than ld.so writes to a GOT slot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gdbext.commands.base import Argument, Command, terminal_width
from gdbext.commands.completion import slot_names

if TYPE_CHECKING:
    import argparse

    from gdbext.findings.slots.writes import JudgedSlot
    from gdbext.inferior import Inferior
    from gdbext.inferior.watchpoints import SlotWatchpoint
    from gdbext.linker.loaded.modules import Linker, Module
    from gdbext.linker.slots.slots import Slot

_SYMBOL = re.compile(r"[\w.$]+(@{1,2}[\w.]+)?", re.ASCII)
_SHOWN = 4  # matches that an error lists


class Row(NamedTuple):
    """A watchpoint and its slot as it is now; `judged` is None while its module is not loaded."""

    watchpoint: SlotWatchpoint
    judged: JudgedSlot | None


class PlugWatch(Command):
    """Stop when a GOT slot is written by anybody but ld.so.

    SLOT is the address of a slot, or the symbol (NAME or NAME@VERSION) of one in
    the program or in -in MODULE; an expression with spaces is put in quotes.
    Without it the slots that are watched are listed.
    The watchpoint is one of the hardware's and costs no time. When ld.so itself
    writes what its lookup gives, as it does at the first call through a lazy slot,
    the program is not stopped. It stops when anything else writes, or when ld.so
    writes anything else (for an audit module); then it says who wrote what, and the
    verdict on that.
    Delete, disable or ignore it by its number, as any watchpoint. It holds for
    another `run` too, and goes when its library is unloaded.
    What the kernel writes (read, process_vm_writev, ptrace, a debugger) no hardware
    watchpoint sees. Of a TLS descriptor the first of its two words is watched."""

    name = "plug-watch"
    schema = "watch"
    arguments = (
        Argument("SLOT", "The slot to watch: an address or a symbol.", complete="slot"),
        Argument("-in", "Look for the symbol in this MODULE.", "MODULE", "module"),
    )

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> list[Row]:
        from gdbext.elf.problem import Problem
        from gdbext.inferior.watchpoints import Watched, set_watchpoint, slot_watchpoints
        from gdbext.linker.loaded.modules import read_linker

        if inferior.target == "core":
            raise Problem("a core does not run: nothing writes to its slots any more")
        linker = read_linker(inferior)
        if args.slot is None:
            if getattr(args, "in"):
                raise Problem("-in says where to look for a symbol, and there is none")
            return [_row(inferior, linker, one) for one in slot_watchpoints()]
        module, slot = _find(inferior, linker, args.slot, getattr(args, "in"))
        for one in slot_watchpoints():
            if one.watched.address == slot.address:
                raise Problem(f"watchpoint {one.number} watches this slot already")
        title = f"{_symbol(slot)} in {module.file_name}"
        watched = Watched(slot.address, title, module.map.l_name, module.map.l_addr)
        return [_row(inferior, linker, set_watchpoint(inferior, watched, is_fine))]

    def document(self, facts: list[Row], args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        return {"watches": [_document(row) for row in facts]}

    def text(self, facts: list[Row], args: argparse.Namespace) -> Iterator[str]:
        from gdbext.render.fit import wrapped
        from gdbext.render.printable import printable
        from gdbext.render.tables import table

        if not facts:
            yield "No slot is watched; plug-watch SLOT watches one."
        elif args.slot is None:
            headers = ["number", "slot", "state", "verdict", "symbol and module"]
            yield from table(headers, [_cells(row) for row in facts])
        else:
            ((watchpoint, judged),) = facts
            head = f"Watchpoint {watchpoint.number}: "
            where = f"{watchpoint.watched.title}, slot {watchpoint.watched.address:#x}"
            now = f"; {_now(judged)}" if judged else ""
            yield from wrapped(head, printable(where + now), terminal_width())

    def choices(self, argument: Argument, before: Sequence[str], current: str) -> Sequence[str]:
        """The symbols of the slots of the program, or of -in MODULE where that is in front."""
        if argument.complete != "slot":
            return super().choices(argument, before, current)
        options = zip(before, before[1:])
        return slot_names(next((value for name, value in options if name.strip("-") == "in"), None))


def is_fine(inferior: Inferior, pc: int, address: int) -> bool:
    """Whether the write that ended before `pc` was ld.so's own, of what its lookup gives."""
    from gdbext.findings.slots.writes import is_linkers_own
    from gdbext.linker.loaded.modules import read_linker

    return is_linkers_own(inferior, read_linker(inferior), inferior.tables, pc, address)


def _find(
    inferior: Inferior, linker: Linker, wanted: str, where: str | None
) -> tuple[Module, Slot]:
    """The one slot that is meant; raises Problem where there is none or more than one."""
    from gdbext.commands.where import evaluate
    from gdbext.elf.problem import Problem
    from gdbext.findings.slots.writes import judge_slot, slots_named
    from gdbext.linker.loaded.selection import select_modules

    modules = select_modules(linker, where) if where else list(linker.modules[:1])
    if _SYMBOL.fullmatch(wanted) and not wanted[0].isdigit():
        found = list(slots_named(inferior, linker, inferior.tables, modules, wanted))
        if len(found) == 1:
            return found[0]
        if found:
            raise Problem(f"{len(found)} slots for {wanted}: {_list(found)}; name one by address")
        if where:
            raise Problem(f"no slot for the symbol {wanted!r} in {_names(modules)}")
        others = list(slots_named(inferior, linker, inferior.tables, linker.modules, wanted))
        if others:
            places = _names([module for module, _ in others])
            raise Problem(
                f"no slot for {wanted!r} in {_names(modules)}, but in {places}; name it with -in"
            )
    try:
        address = evaluate(wanted)
    except Problem as problem:
        raise Problem(
            f"no module has a slot for that symbol, and as an address: {problem}"
        ) from None
    judged = judge_slot(inferior, linker, inferior.tables, address)
    if judged is None:
        raise Problem(f"{address:#x} is no GOT slot; plug-got lists them, plug-where explains it")
    return judged.module, judged.slot


def _list(found: Sequence[tuple[Module, Slot]]) -> str:
    rows = [f"{s.address:#x} {s.type} in {m.file_name}" for m, s in found[:_SHOWN]]
    return ", ".join(rows) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


def _names(modules: Sequence[Module]) -> str:
    names = list(dict.fromkeys(m.file_name for m in modules))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _row(inferior: Inferior, linker: Linker, watchpoint: SlotWatchpoint) -> Row:
    from gdbext.findings.slots.writes import judge_slot
    from gdbext.inferior.watchpoints import PRESENT

    if watchpoint.whereabouts(inferior) != PRESENT:
        return Row(watchpoint, None)
    address = watchpoint.watched.address
    return Row(watchpoint, judge_slot(inferior, linker, inferior.tables, address))


def _now(judged: JudgedSlot) -> str:

    slot, judgement = judged.slot, judged.judgement
    value = hex(slot.value) if slot.value is not None else "what cannot be read"
    target = f" in {slot.provider.file_name}" if slot.provider else ""
    name = f" {slot.definition}" if slot.definition is not None else ""
    reason = f" ({judgement.reason})" if judgement.reason else ""
    return f"it holds {value}{name}{target}, {slot.state or 'unknown'}: {judgement.verdict}{reason}"


def _cells(row: Row) -> list[str]:
    watchpoint, judged = row
    number = f"{watchpoint.number}" + ("" if watchpoint.enabled else " (disabled)")
    state = (judged.slot.state or "?") if judged else "not loaded"
    verdict = judged.judgement.verdict if judged else "-"
    watched = watchpoint.watched
    return [number, hex(watched.address), state, verdict, watched.title]


def _symbol(slot: Slot) -> str:
    from gdbext.findings.crash.description import slot_name
    from gdbext.inferior.frames import demangle

    return slot_name(slot, demangle)


def _document(row: Row) -> dict[str, Any]:
    from gdbext.findings.crash.description import slot_document
    from gdbext.render.printable import shown

    watchpoint, judged = row
    document: dict[str, Any] = {
        "number": watchpoint.number,
        "enabled": bool(watchpoint.enabled),
        "address": hex(watchpoint.watched.address),
        "title": shown(watchpoint.watched.title),
        "loaded": judged is not None,
        "module": None,
        "slot": None,
        "provider": None,
        "definition": None,
        "expected": None,
        "verdict": None,
        "reason": "its module is not loaded",
    }
    if judged is None:
        return document
    slot, (verdict, expected, reason) = judged.slot, judged.judgement
    reason = reason or slot.reason
    return {
        **document,
        "module": shown(judged.module.path),
        "slot": slot_document(slot),
        "provider": shown(slot.provider.path) if slot.provider else None,
        "definition": str(slot.definition) if slot.definition is not None else None,
        "expected": shown(expected.path) if expected else None,
        "verdict": verdict,
        "reason": shown(reason) if reason else None,
    }
