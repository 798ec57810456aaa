"""The post-mortem as text: conclusions first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from gdbext.commands.reportfacts import PARTS, ReportFacts
from gdbext.render.fit import bold, wrapped
from gdbext.render.printable import printable
from gdbext.stops.report import report

if TYPE_CHECKING:
    from gdbext.commands.base import Part


def report_lines(facts: ReportFacts, color: bool, width: int) -> Iterator[str]:
    """Everything that matters, in `width` columns where it can be."""
    yield from report(facts.crash, color, width)
    for key, (title, _, _) in PARTS.items():
        part = facts.parts[key]
        yield ""
        yield bold(f"{title}:", color)
        if key == "got" and part.facts is not None:
            yield from _not_ok_text(part)
        else:
            yield from part.text()
    if facts.warnings:
        yield ""
        yield bold("Warnings:", color)
        for line in facts.warnings:
            yield from wrapped("  ", printable(line), width)


def _not_ok_text(part: Part) -> Iterator[str]:
    shown = 0
    for judged in part.facts:
        rows = [row for row in zip(judged.found.slots, judged.judgements) if row[1].verdict != "ok"]
        wrong = judged.header is not None and judged.header.verdict != "ok"
        if rows or judged.found.problem or wrong:
            slots = replace(judged.found, slots=[slot for slot, _ in rows])
            one = judged._replace(found=slots, judgements=[judgement for _, judgement in rows])
            yield from part.command.text([one], part.command.parse(["-all"]))
            shown += 1
    if not shown:
        total = sum(len(judged.found.slots) for judged in part.facts)
        yield f"none of {total}"
