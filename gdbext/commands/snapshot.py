"""plug-snapshot: the linking state of a process as one document, for plug-diff."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gdbext.commands.base import Argument, Command, Part, terminal_width
from gdbext.commands.got import PlugGot
from gdbext.commands.links import PlugLinks
from gdbext.commands.output import output_file
from gdbext.commands.threads import PlugThreads
from gdbext.commands.tls import PlugTls

if TYPE_CHECKING:
    import argparse

    from gdbext.commands.links import LinksFacts
    from gdbext.findings.snapshots.snapshot import Snapshot
    from gdbext.findings.snapshots.snapshot_facts import Tables
    from gdbext.inferior import Inferior
    from gdbext.linker.loaded.modules import Module

_SOURCES: dict[str, tuple[type[Command], tuple[str, ...]]] = {
    "links": (PlugLinks, ()),
    "got": (PlugGot, ("-all",)),
    "tls": (PlugTls, ()),
    "threads": (PlugThreads, ()),
}


class PlugSnapshot(Command):
    """Write the linking state to a file, to be compared by plug-diff or `gdbext diff`.

    It has the modules of every namespace with build-id, dynamic section and symbol
    table, all slots with where they lead and the verdict on each, thread-local
    storage, and where each thread began. All places are relative to modules, so
    that snapshots of different processes and machines compare. There are no memory
    contents, arguments or environment in it.
    A FILE whose name ends with .gz is packed. With -json the document is printed
    instead."""

    name = "plug-snapshot"
    schema = "snapshot"
    arguments = (Argument("FILE", "Write the snapshot to FILE, whole or not at all, mode 0600.",
                          complete="file"),)  # fmt: skip

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> Snapshot:
        from gdbext.elf.problem import Problem

        if args.file is None and not args.json:
            raise Problem("name a FILE to write to, or print the snapshot by -json")
        parts = {key: Part.of(kind, inferior, *words) for key, (kind, words) in _SOURCES.items()}
        return take_snapshot(inferior, parts)

    def also(self, facts: Snapshot, args: argparse.Namespace) -> None:
        if args.file is not None:
            with output_file(args.file) as file:
                file.write(self._packed(self.json(facts, args).encode(), args.file))

    def _packed(self, data: bytes, path: str) -> bytes:
        import gzip

        return gzip.compress(data, mtime=0) if path.endswith(".gz") else data

    def json(self, facts: Snapshot, args: argparse.Namespace) -> str:  # noqa: ARG002
        from gdbext.findings.snapshots.snapshot import snapshot_json

        return snapshot_json(facts)

    def document(self, facts: Snapshot, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.findings.snapshots.snapshot import to_document

        return to_document(facts)

    def text(self, facts: Snapshot, args: argparse.Namespace) -> Iterator[str]:
        from gdbext.render.fit import wrapped
        from gdbext.render.printable import count, printable

        slots = sum(len(module.slots.offsets) for module in facts.modules if module.slots)
        symbols = sum(len(module.symbols.names) for module in facts.modules if module.symbols)
        sizes = f"{count(len(facts.modules), 'module')}, {count(slots, 'slot')}, " + (
            count(symbols, "symbol")
        )
        yield from wrapped("", f"{printable(args.file)}: {sizes}", terminal_width())
        for problem in facts.problems:
            yield from wrapped("Note: ", printable(problem), terminal_width())


def take_snapshot(inferior: Inferior, parts: Mapping[str, Part]) -> Snapshot:
    """The snapshot, of what plug-links, plug-got -all, plug-tls and plug-threads found.

    Raises Problem where nothing is known of the modules; of the others any may have failed.
    """
    from gdbext import __version__
    from gdbext.elf.problem import Problem
    from gdbext.findings.snapshots.snapshot_facts import Origin, Others, make_snapshot
    from gdbext.render.printable import shown

    documents = {key: parts[key].document() for key in _SOURCES}
    links = documents["links"]
    if links is None:
        raise Problem(parts["links"].problem or "the modules are not known")
    program = inferior.main_path()
    origin = Origin(
        __version__, inferior.target, inferior.arch.name, shown(program) if program else None
    )
    problems = [
        f"plug-{key}: {shown(part.problem)}" for key in _SOURCES if (part := parts[key]).problem
    ]
    others = Others(documents["got"], documents["tls"], documents["threads"], problems)
    tables = [_tables(inferior, module) for module in _in_order(parts["links"].facts)]
    return make_snapshot(origin, links, tables, others)


def _in_order(links: LinksFacts) -> Iterator[Module]:
    """The modules as plug-links's document has them."""
    for namespace in links.linker.namespaces:
        for link in links.links:
            if link.module.namespace == namespace.index:
                yield link.module


def _tables(inferior: Inferior, module: Module) -> Tables:
    from gdbext.elf.problem import Problem
    from gdbext.elf.symbols import read_dynamic_strings
    from gdbext.findings.snapshots.snapshot_facts import Tables
    from gdbext.linker.slots.symbolfacts import read_dynamic_facts, read_symbols
    from gdbext.render.printable import shown

    tables = inferior.tables.of(module)
    if tables is None:
        return Tables(None, None, shown(module.problem or "its image is not known"))
    try:
        strings = read_dynamic_strings(inferior.memory, tables.image)
    except Problem as problem:
        return Tables(None, None, shown(str(problem)))
    dynamic = read_dynamic_facts(tables.image, strings)
    try:
        return Tables(dynamic, read_symbols(tables), None)
    except Problem as problem:
        return Tables(dynamic, None, shown(str(problem)))
