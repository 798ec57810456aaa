"""Outcomes grouped by the signature of the crash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from gdbext.triage.outcome import Crash, Outcome


class Group(NamedTuple):
    """Cores with one signature. `crash` is that of the core whose frames have the most names;
    `programs` are paths, the most frequent first."""

    signature: str
    crash: Crash
    programs: tuple[str, ...]
    cores: tuple[str, ...]


class Groups(NamedTuple):
    """The largest group first; `failed` are the outcomes of cores that could not be read."""

    groups: tuple[Group, ...]
    failed: tuple[Outcome, ...]

    @property
    def read(self) -> int:
        """How many cores could be read."""
        return sum(len(group.cores) for group in self.groups)


def grouped(outcomes: Iterable[Outcome]) -> Groups:
    """The groups, in an order that does not depend on that of the outcomes."""
    by_signature: dict[str, list[tuple[str, Crash]]] = {}
    failed = []
    for outcome in sorted(outcomes, key=lambda outcome: outcome.job.core):
        if outcome.crash is None:
            failed.append(outcome)
        else:
            rows = by_signature.setdefault(outcome.crash.signature, [])
            rows.append((outcome.job.core, outcome.crash))
    groups = [_group(signature, rows) for signature, rows in by_signature.items()]
    groups.sort(key=lambda group: (-len(group.cores), group.signature))
    return Groups(tuple(groups), tuple(failed))


def _group(signature: str, rows: list[tuple[str, Crash]]) -> Group:
    programs = Counter(crash.program for _, crash in rows if crash.program)
    return Group(
        signature,
        max((crash for _, crash in rows), key=_names),
        tuple(program for program, _ in programs.most_common()),
        tuple(core for core, _ in rows),
    )


def _names(crash: Crash) -> int:
    return sum(site.symbol is not None for site in crash.sites)


def document(found: Groups) -> dict[str, Any]:
    """The groups as JSON has them, by the schema triage.json."""
    from gdbext import __version__
    from gdbext.render.printable import shown

    return {
        "schema": "gdbext/triage/1",
        "gdbext": __version__,
        "cores": found.read + len(found.failed),
        "read": found.read,
        "groups": [
            {
                "signature": group.signature,
                "count": len(group.cores),
                "what": group.crash.what,
                "cause": group.crash.text,
                "signal": group.crash.signal,
                "frames": [site._asdict() for site in group.crash.sites],
                "programs": [shown(program) for program in group.programs],
                "cores": [shown(core) for core in group.cores],
            }
            for group in found.groups
        ],
        "failed": [
            {"core": shown(outcome.job.core), "problem": shown(outcome.problem or "")}
            for outcome in found.failed
        ],
    }
