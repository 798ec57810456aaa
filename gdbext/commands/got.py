"""plug-got: GOT slots and where each one leads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gdbext.commands.base import Argument, Command, terminal_width

if TYPE_CHECKING:
    import argparse

    from gdbext.inferior import Inferior
    from gdbext.linker.got import ModuleSlots, Slot

_WIDE = 120
_MANY = 2000  # slots; so many are searched, not read
UNVERIFIED = "unverified"
_NO_LOOKUP = "ld.so's own lookup is not modelled yet"


class PlugGot(Command):
    """Show GOT slots and where each one leads.

    MODULE is any part of a loaded file's path; the default is the program.
    A slot is bound (it holds an address in a loaded module), lazy (it still leads back to its
    own module's PLT: no call has needed it so far), null, or dangling (it holds an address in
    no loaded module). Relocations that fill no slot (RELATIVE, COPY) are not shown."""

    name = "plug-got"
    schema = "got"
    arguments = (
        Argument("MODULE", "Show the slots of these modules.", complete="module"),
        Argument("-all", "Show the slots of every module."),
        Argument("-symbol", "Show only slots for the symbol NAME, or NAME@VERSION.", "NAME"),
        Argument(
            "-verdict",
            "Show only slots with this VERDICT.",
            "VERDICT",
            "ok redirected stale dangling unverified",
        ),
    )

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> list[ModuleSlots]:
        from dataclasses import replace

        from gdbext.elf.problem import Problem
        from gdbext.linker.got import read_slots
        from gdbext.linker.modules import read_linker
        from gdbext.linker.selection import select_modules

        if args.verdict not in (None, "ok", "redirected", "stale", "dangling", UNVERIFIED):
            raise Problem(f"{args.verdict!r} is no verdict; see: help plug-got")
        linker = read_linker(inferior)
        if args.module:
            modules = select_modules(linker, args.module)
        else:
            modules = list(linker.modules if args.all or args.symbol else linker.modules[:1])
        found = read_slots(inferior.memory, inferior.arch, linker, inferior.tables, modules)
        if args.symbol:
            found = _with_symbol(found, args.symbol)
            if not any(m.slots for m in found):
                raise Problem(f"no slot for the symbol {args.symbol!r}")
        if args.verdict not in (None, UNVERIFIED):
            found = [replace(m, slots=[]) for m in found]
        return found

    def document(self, facts: list[ModuleSlots], args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        return {"modules": [_document(module) for module in facts]}

    def text(self, facts: list[ModuleSlots], args: argparse.Namespace) -> Iterator[str]:
        chosen = args.module or not (args.all or args.symbol)
        many = sum(len(module.slots) for module in facts) > _MANY
        for module in facts:
            if module.slots or module.problem or chosen:
                yield from _text(module, not args.symbol, many)
        yield _summary(facts)


def _with_symbol(modules: list[ModuleSlots], wanted: str) -> list[ModuleSlots]:
    from dataclasses import replace

    name, _, version = wanted.partition("@")
    version = version.lstrip("@")
    return [
        replace(
            module,
            slots=[
                slot
                for slot in module.slots
                if slot.symbol == name and (not version or slot.version == version)
            ],
        )
        for module in modules
    ]


def _document(module: ModuleSlots) -> dict[str, Any]:
    from gdbext.render.printable import shown

    names: dict[int, str] = {}

    def path(slot: Slot) -> str | None:
        provider = slot.provider
        if provider is None:
            return None
        if id(provider) not in names:
            names[id(provider)] = shown(provider.path)
        return names[id(provider)]

    header = None
    if module.header is not None and module.header_address is not None:
        header = {"address": hex(module.header_address), "values": [hex(w) for w in module.header]}
    return {
        "path": shown(module.module.path),
        "namespace": module.module.namespace,
        "got_header": header,
        "problem": shown(module.problem) if module.problem is not None else None,
        "slots": [
            {
                "address": hex(slot.address),
                "type": slot.type,
                "symbol": slot.symbol,
                "version": slot.version,
                "value": hex(slot.value) if slot.value is not None else None,
                "state": slot.state,
                "provider": path(slot),
                "definition": str(slot.definition) if slot.definition is not None else None,
                "expected": None,
                "verdict": UNVERIFIED,
                "reason": slot.reason or _NO_LOOKUP,
            }
            for slot in module.slots
        ],
    }


def _text(module: ModuleSlots, whole: bool, quick: bool) -> Iterator[str]:
    from gdbext.render.fit import wrapped
    from gdbext.render.printable import count, printable
    from gdbext.render.tables import table

    states = [slot.state for slot in module.slots]
    counts = [
        f"{states.count(state)} {state or 'unknown'}"
        for state in ("bound", "lazy", "null", "dangling", None)
        if state in states
    ]
    yield f"{printable(module.module.path)}: {count(len(states), 'slot')}" + (
        f" ({', '.join(counts)})" if counts else ""
    )
    if module.problem:
        yield f"  cannot be read: {printable(module.problem)}"
    if whole and module.header is not None and module.header_address is not None:
        head = f"  GOT at {module.header_address:#x}: "
        yield from wrapped(head, _header_text(*module.header), terminal_width())
    if not module.slots:
        return
    headers = ["slot", "type", "state", "symbol", "leads to"]
    rows = [
        [hex(s.address), _short(s.type), s.state or "?", _symbol(s), _target(s)]
        for s in module.slots
    ]
    if terminal_width() >= _WIDE:
        headers.insert(2, "value")
        for row, slot in zip(rows, module.slots):
            row.insert(2, _hex(slot.value))
    yield from table(headers, rows, quick=quick)


def _header_text(first: int, second: int, third: int) -> str:
    """GOT[0..2]: _DYNAMIC or nothing; the link_map; the resolver."""
    if not second:
        return f"GOT[0] {first:#x}, not bound lazily"
    return f"GOT[0] {first:#x}, GOT[1] {second:#x} (link_map), GOT[2] {third:#x} (resolver)"


def _summary(modules: list[ModuleSlots]) -> str:
    from gdbext.render.printable import count

    slots = count(sum(len(m.slots) for m in modules), "slot")
    return f"{slots} in {count(len(modules), 'module')}; verdict: {UNVERIFIED} ({_NO_LOOKUP})"


@lru_cache(maxsize=64)
def _short(type_name: str) -> str:
    return type_name.split("_", 3 if type_name.startswith("R_X86_64_") else 2)[-1]


def _hex(value: int | None) -> str:
    return "?" if value is None else hex(value)


def _symbol(slot: Slot) -> str:
    if slot.symbol is None:
        return "-"
    return f"{slot.symbol}@{slot.version}" if slot.version else slot.symbol


def _target(slot: Slot) -> str:
    if slot.provider is None:
        if slot.state == "lazy":
            return "its own PLT"
        return slot.reason or "-"
    module = _file_name(slot.provider.path)
    if _is_tls(slot.kind):
        return f"{module} TLS{_tls_place(slot)}"
    if slot.definition is not None:
        return f"{module} {slot.definition}"
    if slot.value is None:
        return module
    return f"{module}+{slot.value - slot.provider.bias:#x}"


@lru_cache(maxsize=4096)
def _file_name(path: str) -> str:
    return os.path.basename(path) or path


@lru_cache(maxsize=16)
def _is_tls(kind: str) -> bool:
    from gdbext.linker.tlsslots import TLS_KINDS

    return kind in TLS_KINDS


def _tls_place(slot: Slot) -> str:
    """The variable in its module's TLS block: by name, else by offset where the value has it."""
    from gdbext.elf.arch import TPOFF

    if slot.definition is not None:
        return f" {slot.definition}"
    private = slot.provider.private if slot.provider else None
    if slot.kind != TPOFF or slot.value is None or private is None or not private.tls_offset:
        return ""
    # The block starts below the thread pointer on x86-64, above it on ARM64.
    below = slot.value >> 63
    start = (1 << 64) - private.tls_offset if below else private.tls_offset
    return f"+{slot.value - start:#x}"
