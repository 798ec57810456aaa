"""Groups of crashes as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gdbext.findings.crash.signature import Site
from gdbext.render.fit import bold, fitted, wrapped
from gdbext.render.printable import count, printable
from gdbext.render.tables import table
from gdbext.triage.groups import Group, Groups
from gdbext.triage.outcome import Outcome

_SOME = 3  # programs that are named


def lines(found: Groups, width: int, color: bool) -> Iterator[str]:
    """The largest group first, what could not be read last; in `width` columns."""
    total = found.read + len(found.failed)
    text = f"{count(total, 'core')}: {count(len(found.groups), 'crash signature')}"
    if found.failed:
        text += f", {len(found.failed)} could not be read"
    yield from wrapped("", text, width)
    for group in found.groups:
        yield ""
        yield from _group(group, width, color)
    if found.failed:
        yield ""
        yield bold(f"{len(found.failed)} could not be read:", color)
        for outcome in found.failed:
            yield from wrapped("  ", _failure(outcome), width)


def _group(group: Group, width: int, color: bool) -> Iterator[str]:
    crash = group.crash
    yield bold(f"{count(len(group.cores), 'core')}, signature {group.signature}", color)
    text = crash.text or f"{crash.signal or 'no signal'}{_place(crash.sites)}"
    yield from wrapped("  ", printable(text), width)
    if crash.text is not None:
        rule = f"{crash.what}, {crash.signal or 'no signal'}"
        yield from wrapped("  rule      ", printable(rule), width)
    programs = ", ".join(group.programs[:_SOME]) or "unknown"
    if len(group.programs) > _SOME:
        programs += f" and {len(group.programs) - _SOME} more"
    yield from wrapped("  program   ", printable(programs), width)
    yield from wrapped("  such as   ", printable(group.cores[0]), width)
    rows = [[site.label, site.build_id or "-"] for site in crash.sites]
    headers = ["frame", "build-id"]
    if rows:
        yield from table(headers, fitted(headers, rows, width, (0,)))


def _place(sites: Sequence[Site]) -> str:
    """` in libplugin.so+0x1112 plugin_run`, of the innermost frame that lies in a module."""
    site = next((site for site in sites if site.module is not None), None)
    return f" in {site.label}" if site is not None else ""


def _failure(outcome: Outcome) -> str:
    core, problem = printable(outcome.job.core), printable(outcome.problem or "")
    return problem if core in problem else f"{core}: {problem}"
