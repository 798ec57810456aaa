"""What is to be done: the jobs for the cores whose outcomes are not known yet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

from gdbext.render.printable import shown
from gdbext.triage.outcome import Identity, Job, Outcome, Settings
from gdbext.triage.search import Core

_Key = tuple[str, Optional[Identity], Settings]


class Plan(NamedTuple):
    """`known` are outcomes of an earlier run that still hold."""

    known: tuple[Outcome, ...]
    jobs: tuple[Job, ...]


def plan(
    cores: Sequence[Core],
    settings: Settings,
    seconds: float,
    reports: str | None,
    before: Iterable[Outcome],
    *,
    retry: bool,
) -> Plan:
    """The outcomes `before` are taken over where core, identity and settings are the same.

    Not so with `retry` those that failed, nor what lacks the report that the folder `reports` is
    to hold. `seconds` is the time limit of each job."""
    usable: dict[_Key, Outcome] = {
        (outcome.job.core, outcome.job.identity, outcome.job.settings): outcome
        for outcome in before
        if outcome.job.identity is not None and not (retry and outcome.crash is None)
    }
    written = Settings(*(shown(word) if word else word for word in settings))
    known, jobs = [], []
    for core in cores:
        report = os.path.join(reports, _file_name(core.path)) if reports else None
        outcome = usable.get(_key(core, written))
        if outcome is not None and _has_report(outcome, report):
            known.append(outcome)
        else:
            jobs.append(Job(core.path, core.identity, settings, seconds, report))
    return Plan(tuple(known), tuple(jobs))


def _key(core: Core, settings: Settings) -> _Key:
    return shown(core.path), core.identity, settings


def _has_report(outcome: Outcome, report: str | None) -> bool:
    if report is None or outcome.crash is None:
        return True
    return outcome.job.report == shown(report) and os.path.isfile(report)


def _file_name(core: str) -> str:
    """A name for a core's report: the core's own may hold anything, and two may share it."""
    return hashlib.sha256(os.fsencode(core)).hexdigest()[:16] + ".json"
