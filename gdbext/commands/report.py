"""plug-report: the whole post-mortem."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gdb

from gdbext.commands.base import Argument, Command, terminal_width
from gdbext.commands.output import write

if TYPE_CHECKING:
    import argparse

    from gdbext.commands.reportfacts import ReportFacts
    from gdbext.inferior import Inferior


BUNDLED = (
    Argument("-with-args", "Put the program's arguments into the bundle."),
    Argument("-with-environment", "Put its environment into the bundle."),
)


class PlugReport(Command):
    """Show the whole post-mortem of a crash: cause first, then everything around it.

    The cause, if one is to be seen that has to do with libraries, and what to do
    next; signal and fault address; the crashing thread's frames with module, offset
    and build-id; the GOT slots that its code uses there; registers and what they
    point to; files that are missing, by build-id, and how to get them; GOT slots
    that ld.so's own lookup does not confirm; conflicts; threads, those that do the
    same together; thread-local storage; modules: all, or of many those that matter.
    -json has everything. It works on a stopped process and on a core, also without
    symbols."""

    name = "plug-report"
    schema = "report"
    arguments = (
        Argument("-document", "Write the JSON document to FILE too.", "FILE", "file"),
        Argument("-html", "Write one page for a browser to FILE too.", "FILE", "file"),
        Argument("-bundle", "Write what plug-bundle writes to FILE too.", "FILE", "file"),
        *BUNDLED,
        Argument("-symbols", "Load symbols for the modules that stacks go through, into GDB."),
        Argument("-talk", "A file with what GDB said so far; its warnings are reported.", "FILE",
                 "file"),
        Argument("-log", "The log that ld.so wrote of it (LD_DEBUG=files).", "FILE", "file"),
        Argument("-progress", "Say on standard error what is being read."),
        Argument("-color", "Style the text even where it goes to a file."),
    )  # fmt: skip

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> ReportFacts:
        from gdbext.commands.reportfacts import read_report

        def say(stage: str) -> None:
            if args.progress:
                gdb.write(f"plug-report: now {stage}\n", gdb.STDERR)

        if args.log:
            from gdbext.inferior.unloads import read_log

            inferior.logged = read_log(inferior, args.log)
        facts = read_report(inferior, args.talk, args.symbols, say)
        if not args.bundle:
            return facts
        from gdbext.commands.bundlefacts import read_bundle

        say("what belongs into the bundle")
        bundle = read_bundle(inferior, facts.parts, args.with_args, args.with_environment)
        return facts._replace(bundle=bundle)

    def also(self, facts: ReportFacts, args: argparse.Namespace) -> None:
        if args.document:
            write(iter([self.json(facts, args)]), args.document)
        if args.html:
            from gdbext.render.html import report_html

            write(report_html(self.document(facts, args), facts.document("got")), args.html)
        if args.bundle and facts.bundle is not None:
            from gdbext.commands.bundlefacts import pack, write_bundle

            write_bundle(args.bundle, pack(self.bundled(facts), facts.bundle))

    def bundled(self, facts: ReportFacts) -> dict[str, bytes]:
        """The report as a bundle has it: without texts out of the program's memory."""
        from gdbext.commands.report_text import report_lines
        from gdbext.render.html import report_html

        registers = [register._replace(text=None) for register in facts.crash.registers]
        clean = facts._replace(crash=facts.crash._replace(registers=registers))
        args = self.parse([])
        lines = report_lines(clean, False, terminal_width())
        texts = {
            "report.json": [self.json(clean, args)],
            "report.txt": (line + "\n" for line in lines),
            "report.html": report_html(self.document(clean, args), facts.document("got")),
        }
        return {
            name: "".join(parts).encode("utf-8", "backslashreplace")
            for name, parts in texts.items()
        }

    def document(self, facts: ReportFacts, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.commands.report_json import report_document

        return report_document(facts)

    def text(self, facts: ReportFacts, args: argparse.Namespace) -> Iterator[str]:
        from gdbext.commands.report_text import report_lines
        from gdbext.stops.crash import use_color

        return report_lines(facts, args.color or use_color(), terminal_width())
