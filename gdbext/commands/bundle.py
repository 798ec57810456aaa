"""plug-bundle: the report and all facts in one archive, to be sent to somebody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gdbext.commands.base import Argument, Command, Part, terminal_width
from gdbext.commands.report import BUNDLED, PlugReport

if TYPE_CHECKING:
    import argparse

    from gdbext.commands.bundlefacts import Packed
    from gdbext.inferior import Inferior


class PlugBundle(Command):
    """Write the report and all facts into one archive, to be sent to somebody.

    Who gets it needs neither the machine nor the program: it holds the report as
    text, as a page for a browser and as JSON, all modules and slots, their symbol
    tables and dynamic sections as a snapshot for plug-diff, and build-id and
    SHA-256 of each file. manifest.json lists it all. Register values are in it, and
    the source lines around a crash if they are here. Memory contents are not: texts
    that registers point to are left out. The program's arguments and environment
    are in it only where they are asked for."""

    name = "plug-bundle"
    schema = "bundle"
    arguments = (
        Argument("FILE", "The archive, written whole or not at all, mode 0600.",
                 complete="file", required=True),
        *BUNDLED,
    )  # fmt: skip

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> Packed:
        from gdbext.commands.bundlefacts import pack
        from gdbext.elf.problem import Problem

        words = ["-with-args"] * args.with_args + ["-with-environment"] * args.with_environment
        report = Part.of(PlugReport, inferior, "-bundle", args.file, *words)
        if report.facts is None:
            raise Problem(report.problem or "there is nothing to report on")
        assert isinstance(report.command, PlugReport)
        return pack(report.command.bundled(report.facts), report.facts.bundle)

    def also(self, facts: Packed, args: argparse.Namespace) -> None:
        from gdbext.commands.bundlefacts import write_bundle

        write_bundle(args.file, facts)

    def document(self, facts: Packed, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        return {key: value for key, value in facts.manifest.items() if key != "schema"}

    def text(self, facts: Packed, args: argparse.Namespace) -> Iterator[str]:
        from gdbext.render.fit import wrapped
        from gdbext.render.printable import count, printable
        from gdbext.render.tables import table

        manifest = facts.manifest
        held = [noun for noun in ("arguments", "environment") if manifest[noun]]
        private = f", with {' and '.join(held)}" if held else ", without arguments and environment"
        number = count(len(facts.entries), "file")
        yield from wrapped("", f"{printable(args.file)}: {number}{private}", terminal_width())
        rows = [[entry["name"], str(entry["size"])] for entry in manifest["entries"]]
        yield from table(["file", "bytes"], rows, right="bytes")
        for missing in manifest["missing"]:
            text = printable(missing["reason"])
            yield from wrapped(f"Without {missing['name']}: ", text, terminal_width())
