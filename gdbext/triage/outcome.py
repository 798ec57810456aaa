"""What is to be done for one core, what came of it, and that as a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gdbext.elf.problem import Problem
from gdbext.findings.crash.signature import Site

LINE_SCHEMA = "gdbext/triage-core/1"


class Settings(NamedTuple):
    """What the answer depends on besides the core: the options of `gdbext report`."""

    exe: str | None = None
    sysroot: str | None = None
    gdb: str | None = None


class Identity(NamedTuple):
    """Tells whether a file is the one that was read before: bytes, and nanoseconds of its mtime."""

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Job:
    """One core to read within `seconds`. `identity` is None where there is no such file; `report`
    is the file that takes the whole document, where somebody wants it."""

    core: str
    identity: Identity | None
    settings: Settings
    seconds: float
    report: str | None = None


@dataclass(frozen=True)
class Crash:
    """What a report says in short. `what` and `sites` are those of the signature."""

    signature: str
    what: str
    text: str | None
    signal: str | None
    program: str | None
    sites: tuple[Site, ...]


@dataclass(frozen=True)
class Outcome:
    """A core that was read (`crash`) or could not be (`problem`, one line)."""

    job: Job
    crash: Crash | None
    problem: str | None
    seconds: float


def failed(job: Job, problem: str, seconds: float = 0.0) -> Outcome:
    """The outcome for a core that could not be read."""
    return Outcome(job, None, " ".join(problem.split()), seconds)


def line_document(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON has it, by the schema triage-core.json."""
    from gdbext.render.printable import shown

    job, crash = outcome.job, outcome.crash
    return {
        "schema": LINE_SCHEMA,
        "core": shown(job.core),
        "identity": job.identity._asdict() if job.identity else None,
        "settings": {k: shown(v) if v else v for k, v in job.settings._asdict().items()},
        "status": "ok" if crash else "failed",
        "problem": None if outcome.problem is None else shown(outcome.problem),
        "seconds": round(outcome.seconds, 3),
        "report": shown(job.report) if crash and job.report else None,
        "signature": crash.signature if crash else None,
        "what": crash.what if crash else None,
        "cause": crash.text if crash else None,
        "signal": crash.signal if crash else None,
        "program": crash.program if crash else None,
        "frames": [site._asdict() for site in crash.sites] if crash else [],
    }


def line(outcome: Outcome) -> bytes:
    """An outcome as one line."""
    return json.dumps(line_document(outcome)).encode() + b"\n"


def from_line(data: bytes) -> Outcome:
    """The outcome that a line tells of; raises Problem for any other line."""
    try:
        document = json.loads(data)
        if document["schema"] != LINE_SCHEMA:
            raise Problem(f"its schema is {document['schema']!r}, not {LINE_SCHEMA!r}")
        return _outcome(document)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise Problem("it was not written by gdbext triage") from error


def _outcome(document: Mapping[str, Any]) -> Outcome:
    identity = document["identity"]
    job = Job(
        core=str(document["core"]),
        identity=Identity(int(identity["size"]), int(identity["mtime_ns"])) if identity else None,
        settings=Settings(**document["settings"]),
        seconds=0.0,  # how long it was allowed to take is of no interest any more
        report=document["report"],
    )
    seconds = float(document["seconds"])
    if document["status"] == "failed":
        return failed(job, str(document["problem"]), seconds)
    crash = Crash(
        str(document["signature"]),
        str(document["what"]),
        document["cause"],
        document["signal"],
        document["program"],
        tuple(Site(**frame) for frame in document["frames"]),
    )
    return Outcome(job, crash, None, seconds)
