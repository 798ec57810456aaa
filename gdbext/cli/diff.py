"""`gdbext diff A B`: what changed between two snapshots. No GDB is needed."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from typing import Any

from gdbext.cli.outputs import answering, has_color
from gdbext.cli.status import DONE, FINDINGS
from gdbext.elf.problem import Problem

HELP = "say what changed between two snapshots or bundles"
_UNLIMITED = 1 << 20


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command and its options."""
    command = commands.add_parser(
        "diff", help=HELP, description=f"{HELP[0].upper()}{HELP[1:]}.", allow_abbrev=False
    )
    command.add_argument("before", metavar="A", help="a file of plug-snapshot, or a bundle")
    command.add_argument("after", metavar="B", help="a later one, also of another machine")
    command.add_argument("--json", action="store_true", help="print one JSON document instead")
    command.add_argument("--html", metavar="FILE", help="write a page for the browser too")
    command.add_argument(
        "--exit-code", action="store_true", help="end with status 1 when there is a difference"
    )
    command.set_defaults(command=diff)


def diff(options: argparse.Namespace) -> int:
    """Compare; raises Problem for what is no snapshot."""
    from gdbext.findings.snapshots.differences import compare
    from gdbext.findings.snapshots.differences_document import to_document
    from gdbext.findings.snapshots.snapshot_file import read_snapshot

    before, after = read_snapshot(options.before), read_snapshot(options.after)
    document = to_document(before, after, compare(before, after))
    if options.html is not None:
        _write_page(options.html, document)
    with answering():
        _print(document, options.json)
    return FINDINGS if document["count"] and options.exit_code else DONE


def _print(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        from gdbext.findings.snapshots.differences_document import SCHEMA

        print(json.dumps({"schema": SCHEMA, **document}))
        return
    from gdbext.render.differences import difference_lines

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else _UNLIMITED
    for line in difference_lines(document, width, terminal and has_color()):
        print(line)


def _write_page(path: str, document: dict[str, Any]) -> None:
    from gdbext.render.files import whole_file
    from gdbext.render.html import diff_html

    try:
        with whole_file(path) as file:
            for part in diff_html(document):
                file.write(part.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise Problem(f"cannot write {path!r}: {error.strerror}") from error
