"""Causes of a crash that have to do with libraries: rules, each with its evidence.

A rule fires on what is there to be seen, never on what is likely: a plain null dereference in a
program's own code has no cause here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gdbext.findings.crash.badpc import called_through_slot, executed, unloaded
from gdbext.findings.crash.overflow import overflow
from gdbext.findings.crash.scene import RULES, Cause, Rule, Scene
from gdbext.findings.crash.writes import written


@dataclass(frozen=True)
class CrashFacts:
    """`causes` in order of strength; none that has to do with libraries is an honest answer."""

    causes: tuple[Cause, ...]

    @property
    def cause(self) -> Cause | None:
        """The strongest one."""
        return self.causes[0] if self.causes else None


def find_causes(scene: Scene, others: Sequence[Rule] = ()) -> CrashFacts:
    """All causes that the evidence supports; `others` are further rules."""
    if scene.sent and scene.signal != "SIGABRT":
        return CrashFacts(())
    rules: tuple[Rule, ...] = (called_through_slot, unloaded, written, overflow, executed)
    found: dict[str, Cause] = {}
    for rule in (*rules, *others):
        if scene.sent and rule in rules:
            continue  # abort() is no fault, but what led to it may have a cause
        for cause in rule(scene):
            found.setdefault(cause.rule, cause)
    return CrashFacts(tuple(found[name] for name in RULES if name in found))


def causes_document(facts: CrashFacts) -> dict[str, Any]:
    """`cause` and `causes` as JSON has them."""
    rows = [{"rule": c.rule, "text": c.text, "evidence": list(c.evidence)} for c in facts.causes]
    return {"cause": rows[0] if rows else None, "causes": rows}
