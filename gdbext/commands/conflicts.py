"""plug-conflicts: modules whose own definition lost to another's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gdbext.commands.base import Argument, Command, terminal_width

if TYPE_CHECKING:
    import argparse

    from gdbext.findings.conflicts.conflicts import Conflict, Conflicts
    from gdbext.findings.conflicts.families import Family
    from gdbext.inferior import Inferior

KINDS = {
    "copy": "the program has its own copy of the variable (COPY relocation)",
    "canonical_plt": "the function's address is the program's PLT entry, for all modules",
    "linker": "ld.so and libc share these on purpose",
    "allocator": "an allocator that is whole takes the place of the C or C++ library's own",
    "unique": "a unique symbol is meant to be one for the whole namespace",
    "inline": "C++ inline functions and templates: all definitions must be the same",
    "typeinfo": "C++ type descriptions: that they are one makes exceptions and casts work",
}
_BESIDE_NAME = 16  # columns of a symbol's row
_MOST_REASONS = 12
_MOST_NAMES = 3  # modules of one reason; more are counted
_MOST_SYMBOLS = 20  # of one loser and winner; more are counted


class ConflictFacts(NamedTuple):
    """The conflicts, and the runtimes that are there more than once."""

    conflicts: Conflicts
    families: list[Family]


class PlugConflicts(Command):
    """Show modules whose own definition of a symbol lost to another module's.

    A conflict is a module that defines a symbol and whose own references to it bind
    to another module's definition. The same symbol defined twice is none as long as
    each module uses its own. What is meant to be so is benign and shown by -benign:
    COPY relocations, canonical PLT addresses, ld.so and libc, another allocator in
    the place of libc's and the C++ library's, C++ inline functions, templates and
    type descriptions.
    Then follow runtime libraries (C++, OpenMP, BLAS, OpenSSL, allocators and so on)
    of which there is more than one copy, told by what they export."""

    name = "plug-conflicts"
    schema = "conflicts"
    arguments = (Argument("-benign", "Show the benign ones as well."),)

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> ConflictFacts:  # noqa: ARG002
        from gdbext.findings.conflicts.conflicts import find_conflicts
        from gdbext.findings.conflicts.families import find_families
        from gdbext.linker.loaded.modules import read_linker
        from gdbext.linker.lookup.lookup import make_lookup

        linker = read_linker(inferior)
        lookup = make_lookup(inferior, linker, inferior.tables)
        conflicts = find_conflicts(inferior.memory, inferior.arch, lookup)
        return ConflictFacts(conflicts, find_families(lookup))

    def document(self, facts: ConflictFacts, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.render.printable import shown

        found = facts.conflicts.found
        return {
            "conflicts": [_document(c) for c in found if c.kind is None],
            "benign": [{**_document(c), "kind": c.kind} for c in found if c.kind is not None],
            "families": [_family(family) for family in facts.families],
            "duplicate_symbols": facts.conflicts.duplicates,
            "unknown": [
                shown(f"{module.path}: {reason}") for module, reason in facts.conflicts.unknown
            ],
        }

    def text(self, facts: ConflictFacts, args: argparse.Namespace) -> Iterator[str]:
        from gdbext.render.fit import wrapped
        from gdbext.render.printable import count

        width = terminal_width()
        found = facts.conflicts.found
        true = [c for c in found if c.kind is None]
        unknown = unknown_text(facts.conflicts)
        yield f"{count(len(true), 'conflict')}{unknown}" + (":" if true else "")
        yield from _groups(true)
        benign = [c for c in found if c.kind is not None]
        for kind, meaning in KINDS.items():
            same = [c for c in benign if c.kind == kind]
            if same:
                yield from wrapped(f"{len(same)} benign ({kind}): ", meaning, width)
                yield from _groups(same) if args.benign else ()
        yield from families_text(facts.families)
        yield (
            f"{count(facts.conflicts.duplicates, 'strong symbol')} defined by more than one "
            "module; that alone is no conflict"
        )
        yield from not_judged("Not judged: ", facts.conflicts, width)


def _document(conflict: Conflict) -> dict[str, Any]:
    from gdbext.inferior.frames import demangle
    from gdbext.render.printable import shown

    plain = demangle(conflict.symbol)
    return {
        "symbol": conflict.symbol,
        "demangled": shown(plain) if plain != conflict.symbol else None,
        "version": conflict.version,
        "namespace": conflict.loser.namespace,
        "loser": shown(conflict.loser.path),
        "winner": shown(conflict.winner.path),
        "bindings": conflict.bindings,
        "reason": shown(conflict.reason),
        "brought_in_by": shown(conflict.brought),
    }


def _family(family: Family) -> dict[str, Any]:
    from gdbext.render.printable import shown

    return {
        "family": family.name,
        "namespace": family.namespace,
        "copies": [
            {"module": shown(copy.module.path), "exports": list(copy.exports)}
            for copy in family.copies
        ],
    }


def unknown_text(conflicts: Conflicts) -> str:
    """What a count of conflicts leaves open: nothing, or the modules that were not judged."""
    from gdbext.render.printable import count

    modules = {module.map.address for module, _ in conflicts.unknown}
    return f", unknown of {count(len(modules), 'module')}" if modules else ""


def not_judged(head: str, conflicts: Conflicts, width: int) -> Iterator[str]:
    """Why references could not be judged: each reason once, with the modules that have it."""
    from gdbext.render.fit import wrapped
    from gdbext.render.printable import printable

    reasons: dict[str, list[str]] = {}
    for module, reason in conflicts.unknown:
        reasons.setdefault(reason, []).append(module.file_name)
    order = sorted(reasons.items(), key=lambda item: -len(item[1]))
    for reason, names in order[:_MOST_REASONS]:
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        text = f"{', '.join(names[:_MOST_NAMES])}{more}: {reason}"
        yield from wrapped(head, printable(text), width)
    if len(order) > _MOST_REASONS:
        yield f"{head}{len(order) - _MOST_REASONS} more reasons (-json shows all)"


def _groups(conflicts: list[Conflict]) -> Iterator[str]:
    """The symbols of each loser and winner together."""
    from gdbext.render.fit import shortened, wrapped
    from gdbext.render.printable import count, printable
    from gdbext.render.tables import table

    groups: dict[tuple[int, int, str], list[Conflict]] = {}
    for conflict in conflicts:
        key = conflict.loser.map.address, conflict.winner.map.address, conflict.reason
        groups.setdefault(key, []).append(conflict)
    width = terminal_width()
    for same in sorted(groups.values(), key=len, reverse=True):
        first = same[0]
        title = f"{first.loser.file_name} lost to {first.winner.file_name}: "
        yield from wrapped("  ", printable(title + count(len(same), "symbol")), width)
        yield from wrapped("    rule    ", printable(first.reason), width)
        yield from wrapped(
            "    winner  ", printable(f"{first.winner.path}: {first.brought}"), width
        )
        yield from wrapped("    loser   ", printable(first.loser.path), width)
        shown = same[:_MOST_SYMBOLS]
        rows = [[str(c.bindings), shortened(name_of(c), width - _BESIDE_NAME)] for c in shown]
        yield from (f"  {line}" for line in table(["references", "symbol"], rows, "references"))
        if len(same) > len(shown):
            yield f"    and {len(same) - len(shown)} more (-json shows all)"


def families_text(families: list[Family]) -> Iterator[str]:
    """Which runtimes there are more copies of, and where each copy is."""
    from gdbext.render.fit import wrapped
    from gdbext.render.printable import printable

    if families:
        yield "Runtime libraries with more than one copy:"
    width = max(map(len, (f.name for f in families)), default=0)
    for family in families:
        for place, copy in enumerate(family.copies):
            head = f"  {'' if place else family.name:<{width}}  "
            yield from wrapped(head, printable(copy.module.path), terminal_width())


def name_of(conflict: Conflict) -> str:
    """The symbol as people write it, with its version."""
    from gdbext.inferior.frames import demangle

    name = demangle(conflict.symbol)
    return f"{name}@{conflict.version}" if conflict.version else name
