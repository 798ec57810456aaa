"""The report as one page: what matters most comes first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gdbext.render.html.anything import anything, words
from gdbext.render.html.around import missing, near_slots, registers, unloaded_libraries
from gdbext.render.html.crash import frames, headline
from gdbext.render.html.events import event_section
from gdbext.render.html.marks import Mark, marks
from gdbext.render.html.markup import EMPTY, Markup, section, tag
from gdbext.render.html.modules import conflict_section, module_table
from gdbext.render.html.names import file_name
from gdbext.render.html.page import page
from gdbext.render.html.picture import Node, lost, nodes, picture, picture_section
from gdbext.render.html.slots import packed, slot_section
from gdbext.render.html.threads import thread_section
from gdbext.render.html.tls import tls_section

SCRIPT = (
    "dom.js",
    "tables.js",
    "slots.js",
    "tree.js",
    "graphtools.js",
    "graph.js",
    "starttables.js",
    "start.js",
)
# What has a section of its own, or is said in one; other parts are shown by their shape.
_SHOWN = {
    "schema", "gdbext", "target", "program", "cause", "causes", "next_step", "signal",
    "signal_meaning", "ended_by", "fault_address", "fault_address_reason", "crash_frame", "frames",
    "fault_level", "registers", "links", "got", "conflicts", "threads", "tls", "slots_near_call",
    "missing", "unloaded", "notes", "warnings", "events",
}  # fmt: skip
_TITLES = {"versions": "Made by and of"}


def report_html(report: Mapping[str, Any], got: Mapping[str, Any] | None) -> Iterator[str]:
    """plug-report's document, and plug-got -all's with every slot, as a page in pieces.

    Keys that are absent are left out; keys that are new are shown by their shape.
    """
    stands_out = marks(report)
    found = nodes(report, stands_out)
    parts = [part for part in _parts(report, got, stands_out, found) if part[2]]
    links = [tag("li", tag("a", title, href=f"#{name}")) for name, title, _ in parts]
    body = [
        tag("a", "Skip to the frames", href="#frames", class_="skip"),
        headline(report),
        tag("nav", tag("ul", *links), aria_label="Parts of the report"),
        tag("main", *(content for _, _, content in parts)),
        tag("footer", tag("p", _about(report))),
    ]
    data = {
        "slots": packed(got) if got else None,
        "graph": {**picture(found), "lost": lost(report, found)} if found else None,
    }
    return page(_title(report), body, data, SCRIPT)


def _parts(
    report: Mapping[str, Any],
    got: Mapping[str, Any] | None,
    stands_out: Mapping[str, Sequence[Mark]],
    found: Sequence[Node],
) -> Iterator[tuple[str, str, Markup]]:
    """(name, title in the list of parts, content); the content may be empty."""
    yield "frames", "Frames", frames(report)
    yield "slots_near_call", "Slots near the call", near_slots(report)
    yield "missing", "Files to fetch", missing(report)
    yield "registers", "Registers", registers(report)
    yield "picture", "Who loaded whom", picture_section(found)
    yield "conflicts", "Conflicts", conflict_section(report)
    yield "modules", "Modules", module_table(report, stands_out)
    yield "unloaded", "Unloaded libraries", unloaded_libraries(report)
    yield "slots", "GOT slots", slot_section(report, got)
    yield "threads", "Threads", thread_section(report)
    yield "tls", "Thread-local storage", tls_section(report)
    yield "events", "What was traced", event_section(report)
    rest = (key for key in report if key not in _SHOWN and not key.endswith("_reason"))
    yield from (_other(report, key) for key in rest)


def _other(report: Mapping[str, Any], key: str) -> tuple[str, str, Markup]:
    title = _TITLES.get(key, words(key))
    value = report.get(key)
    if not value:
        return key, title, EMPTY
    return key, title, section(key, title, anything(key, value))


def _title(report: Mapping[str, Any]) -> str:
    program = file_name(report.get("program") or "a program")
    return f"{report.get('signal') or 'Report'}: {program}"


def _about(report: Mapping[str, Any]) -> str:
    target = {"core": "a core file", "native": "a live process"}.get(report["target"])
    source = target or f"a target that GDB calls {report['target']}"
    return (
        f"Written by gdbext {report['gdbext']} from {source}. This file loads nothing from outside."
    )
