"""plug-symbol: how ld.so resolves a name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gdbext.commands.base import Argument, Command, terminal_width

if TYPE_CHECKING:
    import argparse

    from gdbext.findings.symbol import Bound, Explanation
    from gdbext.inferior import Inferior
    from gdbext.linker.loaded.modules import Linker, Module
    from gdbext.linker.lookup.answers import Candidate, Found

_SYMBOL = re.compile(r"(?P<name>[^@]+?)(?:@@?(?P<version>[^@]+))?")
_MOST_SCOPES = 4
_MANY = 12  # slots that agree in all that is shown
_BINDINGS = {0: "local", 1: "global", 2: "weak", 10: "unique"}
_TYPES = {0: "notype", 1: "object", 2: "func", 5: "common", 6: "tls", 10: "ifunc"}


class PlugSymbol(Command):
    """Show how ld.so resolves a symbol, and who is bound to which definition.

    NAME may have a version (memcpy@GLIBC_2.14) and may be a C++ name as people
    write it. The lookup is the one that ld.so would do now for MODULE, by default
    the program: its scopes in order, each definition in them, and why one is taken
    and another skipped. If MODULE itself refers to NAME, its own version and kind
    of reference count; otherwise it is the lookup of dlsym. Then follow all slots
    for NAME, with what each is bound to."""

    name = "plug-symbol"
    schema = "symbol"
    arguments = (
        Argument("NAME", "The symbol, or NAME@VERSION.", complete="symbol", required=True),
        Argument("-from", "The module that refers to it.", "MODULE", "module"),
        Argument("-handle", "What dlsym finds by the handle of this module.", "MODULE", "module"),
    )

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> Explanation:
        from gdbext.elf.problem import Problem
        from gdbext.findings.slots.verdicts import make_judge
        from gdbext.findings.symbol import explain
        from gdbext.linker.loaded.modules import read_linker

        linker = read_linker(inferior)
        if args.handle and vars(args)["from"]:
            raise Problem("one of -from and -handle, please")
        module = _module(linker, args.handle or vars(args)["from"])
        match = _SYMBOL.fullmatch(_unquoted(args.name))
        if match is None:
            raise Problem(f"{args.name!r} is no symbol name")
        name = _mangled(inferior, linker, match["name"])
        judge = make_judge(inferior, linker, inferior.tables)
        facts = explain(
            judge, linker, inferior.tables, module, name, match["version"], bool(args.handle)
        )
        known = facts.candidates or facts.bound or facts.elsewhere or facts.problem
        if not known:
            raise Problem(f"no loaded module defines or uses {args.name!r}")
        return facts

    def document(self, facts: Explanation, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.inferior.frames import demangle
        from gdbext.render.printable import shown

        name = _name(facts)
        plain = demangle(name)
        document: dict[str, Any] = {
            "symbol": shown(name),
            "demangled": shown(plain) if plain != name else None,
            "version": facts.wanted.version,
            "from": shown(facts.module.path),
            "asked_by": facts.asked_by or "dlsym",
            "scope": list(_rows(facts)),
            "winner": shown(facts.winner.module.path) if facts.winner else None,
            "definition": _definition(facts.winner) if facts.winner else None,
            "elsewhere": [shown(m.path) for m in facts.elsewhere],
            "bound_by": [_bound(b) for b in facts.bound],
        }
        if facts.winner is None:
            document["winner_reason"] = shown(facts.problem or "no module in its scopes defines it")
        return document

    def text(self, facts: Explanation, args: argparse.Namespace) -> Iterator[str]:  # noqa: ARG002
        from gdbext.inferior.frames import demangle
        from gdbext.render.fit import packed, wrapped
        from gdbext.render.printable import printable

        name = _name(facts)
        version = f"@{facts.wanted.version}" if facts.wanted.version else ""
        way = f"referred to by {facts.asked_by}" if facts.asked_by else "looked up as dlsym would"
        yield printable(f"{name}{version} seen from {facts.module.file_name}, {way}")
        if demangle(name) != name:
            yield f"  {printable(demangle(name))}"
        width = terminal_width()
        if facts.winner is not None:
            place = f"{facts.winner.module.file_name} at {facts.winner.address:#x}"
            yield from wrapped("  winner: ", printable(f"{place}, {facts.rule}"), width)
        else:
            what = "this version of it" if facts.wanted.version and facts.candidates else "it"
            why = facts.problem or f"none; no module in its scopes defines {what}"
            yield from wrapped("  winner: ", printable(why), width)
        yield from _scopes(facts)
        if facts.elsewhere:
            others = packed([m.file_name for m in facts.elsewhere], "  ", width)
            yield "Defined outside of these scopes:"
            yield from map(printable, others)
        yield from _bindings(facts)


def _unquoted(name: str) -> str:
    """GDB's users put names with spaces into quotes."""
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] in "'\"" else name


def _module(linker: Linker, wanted: str | None) -> Module:
    from gdbext.elf.problem import Problem
    from gdbext.linker.loaded.selection import select_modules

    if wanted is None:
        return linker.modules[0]
    found = select_modules(linker, wanted)
    if len({m.path for m in found}) > 1:
        names = ", ".join(m.file_name for m in found[:5])
        raise Problem(f"{wanted!r} names several modules ({names}…); give more of the path")
    return found[0]


def _mangled(inferior: Inferior, linker: Linker, name: str) -> str:
    """The linker's name for a C++ name; raises Problem when several functions have it."""
    from gdbext.elf.problem import Problem
    from gdbext.findings.cxxnames import is_plain, named, pattern_of
    from gdbext.inferior.frames import demangle
    from gdbext.linker.lookup.references import names_with

    pattern = None if is_plain(name) else pattern_of(name)
    if pattern is None:
        return name
    found: dict[str, str] = {}
    for module in linker.modules:
        tables = inferior.tables.of(module)
        try:
            for raw in names_with(tables.symbols, pattern) if tables else ():
                found.setdefault(raw.decode("ascii", "replace"), "")
        except Problem:
            continue  # this module's names are not there
    same = named(name, {mangled: demangle(mangled) for mangled in found})
    if len(set(same.values())) > 1:
        some = "; ".join(sorted(set(same.values()))[:6])
        raise Problem(f"{name!r} names {len(set(same.values()))} symbols: {some}")
    return next(iter(same), name)


def _name(facts: Explanation) -> str:
    return facts.wanted.name.decode("utf-8", "surrogateescape")


def _rows(facts: Explanation) -> Iterator[dict[str, Any]]:
    """Every module of every scope, in the order of the search."""
    from gdbext.render.printable import shown

    for number, scope in enumerate(facts.scopes):
        found: dict[int, list[Candidate]] = {}
        for candidate in facts.candidates:
            if candidate.scope is scope:
                found.setdefault(candidate.module.map.address, []).append(candidate)
        for module in scope.modules:
            head = {"list": number, "kind": scope.kind, "module": shown(module.path)}
            candidates = found.pop(module.map.address, ())
            for c in candidates:
                yield {**head, "defines": True, "version": c.version, "skipped": c.skipped or None}
            if not candidates:
                yield {**head, "defines": False, "version": None, "skipped": None}


def _definition(found: Found) -> dict[str, Any]:
    symbol = found.symbol
    return {
        "address": hex(found.address),
        "type": _TYPES.get(symbol.type, str(symbol.type)),
        "binding": _BINDINGS.get(symbol.binding, str(symbol.binding)),
        "size": symbol.size,
    }


def _bound(row: Bound) -> dict[str, Any]:
    from gdbext.render.printable import shown

    slot, judgement = row.slot, row.judgement
    reason = judgement.reason or slot.reason
    return {
        "module": shown(row.module.path),
        "namespace": row.module.namespace,
        "slot": hex(slot.address),
        "type": slot.type,
        "version": slot.version,
        "state": slot.state,
        "provider": shown(slot.provider.path) if slot.provider else None,
        "expected": shown(judgement.expected.path) if judgement.expected else None,
        "verdict": judgement.verdict,
        "reason": shown(reason) if reason else None,
    }


def _scopes(facts: Explanation) -> Iterator[str]:
    """The scopes up to the one that decides, and those behind it that have the name too."""
    from gdbext.findings.symbol import scope_name
    from gdbext.render.fit import wrapped
    from gdbext.render.printable import count, printable

    decided, shown, more = False, 0, 0
    met: set[int] = set()
    for number, scope in enumerate(facts.scopes, 1):
        found = [c for c in facts.candidates if c.scope is scope]
        modules = {c.module.map.address for c in found}
        if decided and (modules <= met or shown >= _MOST_SCOPES):
            more += 1
            continue
        met |= modules
        title = f"{scope_name(scope, facts.module)}, {count(len(scope.modules), 'module')}"
        yield from wrapped(f"Scope {number}: ", printable(title), terminal_width())
        yield from _candidates(found) if found else ["  (not defined here)"]
        shown += 1
        decided = decided or any(not c.skipped for c in found)
    if more:
        yield f"{count(more, 'more scope')}, which the lookup does not reach"


def _candidates(candidates: list[Candidate]) -> Iterator[str]:
    from gdbext.render.fit import fitted
    from gdbext.render.tables import table

    rows = [
        [
            c.module.file_name,
            f"@{c.version}" if c.version else "-",
            f"skipped: {c.skipped}" if c.skipped else "wins",
        ]
        for c in candidates
    ]
    headers = ["module", "version", "outcome"]
    yield from table(headers, fitted(headers, rows, terminal_width(), (0,)))


def _bindings(facts: Explanation) -> Iterator[str]:
    """The slots; those of many modules that agree are one row, and none of the others is."""
    from gdbext.render.fit import fitted
    from gdbext.render.printable import count
    from gdbext.render.tables import table

    if not facts.bound:
        yield "No slot refers to it."
        return
    yield "Bound now:"
    groups: dict[tuple[str, str, str, str], list[Bound]] = {}
    for b in facts.bound:
        version = f"@{b.slot.version}" if b.slot.version else "-"
        target = b.slot.provider.file_name if b.slot.provider else "-"
        key = version, b.slot.state or "?", target, b.judgement.verdict
        groups.setdefault(key, []).append(b)
    rows = []
    for key, same in groups.items():
        if len(same) > _MANY:
            modules = len({b.module.map.address for b in same})
            rows.append([count(modules, "module"), count(len(same), "slot"), *key])
        else:
            rows += [[b.module.file_name, hex(b.slot.address), *key] for b in same]
    headers = ["module", "slot", "version", "state", "leads to", "verdict"]
    yield from table(headers, fitted(headers, rows, terminal_width(), (0, 4)))
