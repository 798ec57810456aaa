"""A trace as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gdbext.render.printable import shown
from gdbext.stops.recorder.log import event_document, spot_document

if TYPE_CHECKING:
    from gdbext.findings.tracing.lifetimes import Summary
    from gdbext.stops.trace import State


def document(state: State | None, summary: Summary | None) -> dict[str, Any]:
    """The whole log and its summary, without the schema key."""
    if state is None or summary is None:
        return {
            "recording": False, "started": None, "options": None, "dropped": 0, "notes": [],
            "events": [], "summary": None,
        }  # fmt: skip
    options = state.options
    return {
        "recording": state.on,
        "started": state.log.clock,
        "options": {
            "dlsym": options.dlsym,
            "ctors": options.constructors,
            "threads": options.threads,
            "regex": options.pattern,
        },
        "dropped": state.log.dropped,
        "notes": [shown(note) for note in state.notes],
        "events": [event_document(event) for event in state.log.events.values()],
        "summary": _summary(summary),
    }


def _summary(summary: Summary) -> dict[str, Any]:
    return {
        "libraries": [
            {
                "path": shown(path),
                "opens": count.opens,
                "closes": count.closes,
                "failures": count.failures,
                "not_closed": count.unclosed,
            }
            for path, count in summary.counts.items()
        ],
        "leaks": [shown(path) for path in summary.leaks],
        "stayed": [
            {
                "path": shown(stayed.path),
                "event": stayed.event,
                "reasons": [{"kind": r.kind, "text": shown(r.text)} for r in stayed.reasons],
            }
            for stayed in summary.stayed
        ],
        "started": [
            {
                "event": started.event,
                "path": None if started.path is None else shown(started.path),
                "threads_before": started.before,
                "threads_after": started.after,
                "lwps": list(started.lwps),
                "makers": [
                    {"caller": spot_document(caller), "routine": spot_document(routine)}
                    for caller, routine in started.makers
                ],
            }
            for started in summary.started
        ],
        "pairs": [
            {
                "path": shown(pair.path),
                "opened": pair.opened,
                "closed": pair.closed,
                "threads_before": pair.before,
                "threads_after": pair.after,
            }
            for pair in summary.pairs
        ],
        "slowest": [event.id for event in summary.slowest],
    }
