"""plug-diff: what changed between two snapshots, or since one was taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gdbext.commands.base import Argument, Command, Part, terminal_width
from gdbext.commands.output import write
from gdbext.commands.snapshot import PlugSnapshot
from gdbext.commands.why import Nobody

if TYPE_CHECKING:
    import argparse

    from gdbext.inferior import Inferior


class PlugDiff(Command):
    """Compare two snapshots of plug-snapshot, or one with the process as it is now.

    A and B are snapshots or bundles, also of other processes and machines; without
    B it is what changed since A. Shown are modules that came, went, moved or were
    built anew; their properties and their order; symbols that another definition
    provides now; slots with another verdict; symbol tables; threads by where they
    began; thread-local storage. Addresses play no part, and a slot that was lazy
    and is bound now is no difference."""

    name = "plug-diff"
    schema = "diff"
    arguments = (
        Argument("A", "The earlier snapshot, or a bundle.", complete="file", required=True),
        Argument("B", "The later one; the default is the process now.", complete="file"),
        Argument("-html", "Write one page for a browser to FILE too.", "FILE", "file"),
    )

    def open(self) -> Inferior | Nobody:
        from gdbext.inferior import Inferior, has_process

        return Inferior() if has_process() else Nobody()

    def facts(self, inferior: Inferior | Nobody, args: argparse.Namespace) -> dict[str, Any]:
        from os.path import expanduser

        from gdbext.elf.problem import Problem
        from gdbext.findings.snapshots.differences import compare
        from gdbext.findings.snapshots.differences_document import to_document
        from gdbext.findings.snapshots.snapshot_file import read_snapshot

        before = read_snapshot(expanduser(args.a))
        if args.b is not None:
            after = read_snapshot(expanduser(args.b))
        elif isinstance(inferior, Nobody):
            raise Problem("there is no process to compare with; name a second snapshot")
        else:
            now = Part.of(PlugSnapshot, inferior, "-json")
            if now.facts is None:
                raise Problem(now.problem or "the state of the process is not known")
            after = now.facts
        return to_document(before, after, compare(before, after))

    def also(self, facts: dict[str, Any], args: argparse.Namespace) -> None:
        if args.html:
            from gdbext.render.html import diff_html

            write(diff_html(facts), args.html)

    def document(self, facts: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        return facts

    def text(self, facts: dict[str, Any], args: argparse.Namespace) -> Iterator[str]:  # noqa: ARG002
        from gdbext.render.differences import difference_lines
        from gdbext.stops.crash import use_color

        yield from difference_lines(facts, terminal_width(), use_color())
