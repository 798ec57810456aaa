"""The doctor's report as text of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from gdbext.doctor.check import Check
from gdbext.doctor.examination import Examination
from gdbext.doctor.gdbs import INSTALL_GDB

WIDTH = 80
INDENT = " " * 11


def lines(found: Examination) -> Iterator[str]:
    """Give the whole report, line by line."""
    for gdb in found.gdbs:
        yield from section(gdb.path, gdb.checks)
    if not found.gdbs:
        yield from section("gdb", [Check("gdb", "missing", "there is no gdb on PATH", INSTALL_GDB)])
    yield from section("this machine", found.machine)
    if found.works:
        yield f"gdbext works in {found.gdbs[0].path}."
    else:
        yield "gdbext cannot work in the default GDB; see the lines marked missing."


def section(title: str, checks: Sequence[Check]) -> Iterator[str]:
    """Give one heading and its checks, and an empty line."""
    yield title
    for check in checks:
        yield from entry(check)
    yield ""


def entry(check: Check) -> Iterator[str]:
    """Give one check. The remedy is one line, never broken, so that it can be copied."""
    head = f"  {check.status:<9}"
    yield from textwrap.wrap(
        check.text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    if check.remedy:
        yield f"{INDENT}mend: {check.remedy}"
