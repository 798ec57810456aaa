"""plug-got: GOT slots and where each one leads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gdbext.commands.base import Argument, Command, terminal_width
from gdbext.commands.slots import hexadecimal, short_type, symbol_text, target_texts

if TYPE_CHECKING:
    import argparse

    from gdbext.findings.slots.gotheaders import HeaderJudgement
    from gdbext.findings.slots.judgements import Judgements
    from gdbext.inferior import Inferior
    from gdbext.linker.loaded.modules import Module
    from gdbext.linker.slots.slots import ModuleSlots, Slot

_WIDE = 120
_MANY = 2000  # slots; so many are searched, not read


class JudgedModule(NamedTuple):
    """The slots of a module, the verdict on each, and that on GOT[1] and GOT[2]."""

    found: ModuleSlots
    judgements: Judgements
    header: HeaderJudgement | None

    def only(self, indices: Sequence[int]) -> JudgedModule:
        """The same with these slots alone."""
        return JudgedModule(self.found.only(indices), self.judgements.only(indices), self.header)


class PlugGot(Command):
    """Show GOT slots, where each one leads, and whether ld.so would send it there.

    MODULE is any part of a loaded file's path; the default is the program.
    A slot is bound (it holds an address in a loaded module), lazy (it still leads
    back to its own module's PLT: no call has needed it so far), null, or dangling
    (it holds an address in no loaded module). Relocations that fill no slot
    (RELATIVE, COPY) are not shown.
    The verdict compares it with ld.so's own lookup, done anew: ok; redirected, it
    leads elsewhere (tampering, a hook, an audit module); stale, right when it was
    bound, but it would bind elsewhere now; dangling; unverified, for the reason
    that is given."""

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

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> list[JudgedModule]:
        from gdbext.elf.problem import Problem
        from gdbext.findings.slots.gotheaders import judge_headers
        from gdbext.findings.slots.verdicts import VERDICTS, make_judge
        from gdbext.linker.loaded.modules import read_linker
        from gdbext.linker.loaded.selection import select_modules
        from gdbext.linker.lookup.references import referring
        from gdbext.linker.slots.got import read_slots

        if args.verdict not in (None, *VERDICTS):
            raise Problem(f"{args.verdict!r} is no verdict; see: help plug-got")
        linker = read_linker(inferior)
        if args.module:
            modules = select_modules(linker, args.module)
        else:
            everywhere = args.all or args.symbol or args.verdict
            modules = list(linker.modules if everywhere else linker.modules[:1])
        tables, judge = inferior.tables, make_judge(inferior, linker, inferior.tables)
        numbers = None
        if args.symbol:
            name = args.symbol.partition("@")[0].encode("utf-8", "surrogateescape")
            numbers = referring(linker, tables, name)
        found = read_slots(
            inferior.memory, inferior.arch, linker, tables, modules, numbers, judge.lookup
        )
        if args.symbol:
            found = _with_symbol(found, args.symbol)
            if not any(m.slots for m in found):
                raise Problem(f"no slot for the symbol {args.symbol!r}")
        judgements = judge.judge(found)
        headers = judge_headers(inferior.memory, inferior.arch, linker, found)
        judged = [JudgedModule(*row) for row in zip(found, judgements, headers)]
        return [_with_verdict(m, args.verdict) for m in judged] if args.verdict else judged

    def document(self, facts: list[JudgedModule], args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        paths: dict[int, str] = {}
        return {"modules": [_document(module, paths) for module in facts]}

    def text(self, facts: list[JudgedModule], args: argparse.Namespace) -> Iterator[str]:
        chosen = args.module or not (args.all or args.symbol or args.verdict)
        width = terminal_width()  # GDB is slow to say it
        many = sum(len(module.found.slots) for module in facts) > _MANY
        for module in facts:
            header = module.header is not None and module.header.verdict != "ok"
            if module.found.slots or module.found.problem or chosen or header:
                whole = not (args.symbol or args.verdict) or header
                yield from _text(module, whole, many, width)
        yield _summary(facts)


def _with_symbol(modules: list[ModuleSlots], wanted: str) -> list[ModuleSlots]:
    name, _, version = wanted.partition("@")
    version = version.lstrip("@")
    return [
        module.only(
            [
                i
                for i, slot in enumerate(module.slots)
                if slot.symbol == name and (not version or slot.version == version)
            ]
        )
        for module in modules
    ]


def _with_verdict(module: JudgedModule, verdict: str) -> JudgedModule:
    rows = [i for i, each in enumerate(module.judgements.verdicts) if each == verdict]
    header = module.header if module.header and module.header.verdict == verdict else None
    return module.only(rows)._replace(header=header)


def _document(judged: JudgedModule, paths: dict[int, str]) -> dict[str, Any]:
    from gdbext.render.printable import shown

    def path(module: Module | None) -> str | None:
        if module is None:
            return None
        if id(module) not in paths:
            paths[id(module)] = shown(module.path)
        return paths[id(module)]

    module = judged.found
    header = None
    if module.header is not None and module.header_address is not None:
        verdict, reason = judged.header or (None, None)
        header = {
            "address": hex(module.header_address),
            "values": [hex(w) for w in module.header],
            "verdict": verdict,
            "reason": reason,
        }
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
                "provider": path(slot.provider),
                "definition": str(slot.definition) if slot.definition is not None else None,
                "expected": path(expected),
                "verdict": verdict,
                "reason": _reason(slot, reason),
            }
            for slot, (verdict, expected, reason) in zip(module.slots, judged.judgements)
        ],
    }


def _reason(slot: Slot, reason: str | None) -> str | None:
    """What there is to say: on the verdict, else on what the slot holds."""
    from gdbext.render.printable import shown

    text = reason or slot.reason
    return shown(text) if text else None


def _text(judged: JudgedModule, whole: bool, quick: bool, width: int) -> Iterator[str]:
    from gdbext.render.fit import fitted, wrapped
    from gdbext.render.printable import count, printable
    from gdbext.render.tables import quick_table, table

    module, slots = judged.found, judged.found.slots
    verdicts = judged.judgements.verdicts
    fine = verdicts.count("ok") == len(verdicts)
    states = counts(["bound", "lazy", "null", "dangling", None], slots.states)
    told = count(len(slots), "slot") + (f" ({states}): {_summed(verdicts)}" if states else "")
    yield from wrapped("", f"{printable(module.module.path)}: {told}", width)
    if module.problem:
        yield from wrapped("  cannot be read: ", printable(module.problem), width)
    if whole and module.header is not None and module.header_address is not None:
        head = f"  GOT at {module.header_address:#x}: "
        yield from wrapped(head, _header_text(*module.header), width)
        if judged.header is not None and judged.header.reason:
            text = printable(judged.header.reason)
            yield from wrapped(f"  {judged.header.verdict}: ", text, width)
    if not slots:
        return
    wide = width >= _WIDE
    columns: dict[str, list[str]] = {
        "slot": list(map(hex, slots.addresses)),
        "type": list(map(short_type, slots.types)),
        "value": list(map(hexadecimal, slots.values)) if wide else [],
        "state": [state or "?" for state in slots.states],
        "verdict": [] if fine else verdicts,
        "symbol": list(map(symbol_text, slots.symbols, slots.versions)),
        "leads to": target_texts(slots, brief=not wide),
    }
    columns = {header: cells for header, cells in columns.items() if cells}
    headers = list(columns)
    if quick:
        yield quick_table(headers, list(columns.values()))
    else:
        rows = list(map(list, zip(*columns.values())))
        rows = fitted(headers, rows, width, (len(headers) - 2, len(headers) - 1))
        yield from table(headers, rows)
    if not fine:
        yield from _reasons(judged, width)


def _reasons(judged: JudgedModule, width: int) -> Iterator[str]:
    """Why slots are not ok, each reason once."""
    from gdbext.render.fit import wrapped
    from gdbext.render.printable import count, printable

    groups: dict[tuple[str, str], list[Slot]] = {}
    for slot, judgement in zip(judged.found.slots, judged.judgements):
        if judgement.verdict != "ok":
            key = judgement.verdict, judgement.reason or "for no reason that is known"
            groups.setdefault(key, []).append(slot)
    for (verdict, reason), slots in groups.items():
        one = symbol_text(slots[0].symbol, slots[0].version)
        which = one if len(slots) == 1 else count(len(slots), "slot")
        head = f"  {verdict}: {printable(which)}: "
        yield from wrapped(head, printable(reason), width)


def counts(words: Sequence[str | None], found: Sequence[str | None]) -> str:
    """`3 bound, 1 lazy`, in the order of `words`."""
    pairs = [(found.count(word), word or "unknown") for word in words]
    return ", ".join(f"{number} {word}" for number, word in pairs if number)


def _summed(verdicts: Sequence[str]) -> str:
    from gdbext.findings.slots.verdicts import VERDICTS

    return "all ok" if verdicts.count("ok") == len(verdicts) else counts(VERDICTS, verdicts)


def _header_text(first: int, second: int, third: int) -> str:
    """GOT[0..2]: _DYNAMIC or nothing; the link_map; the resolver."""
    if not second:
        return f"GOT[0] {first:#x}, not bound lazily"
    return f"GOT[0] {first:#x}, GOT[1] {second:#x} (link_map), GOT[2] {third:#x} (resolver)"


def _summary(modules: list[JudgedModule]) -> str:
    from itertools import chain

    from gdbext.render.printable import count

    verdicts = list(chain.from_iterable(m.judgements.verdicts for m in modules))
    holding = sum(bool(m.found.slots) for m in modules)
    some = f"{holding} of " if holding < len(modules) else ""
    text = f"{count(len(verdicts), 'slot')} in {some}{count(len(modules), 'module')}"
    return f"{text}: {_summed(verdicts)}" if verdicts else text
