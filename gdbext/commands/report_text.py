"""The post-mortem as text: conclusions first, then what they rest on, then all the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gdbext.commands.report_sections import (
    conflict_lines,
    missing_lines,
    module_lines,
    not_ok_lines,
    thread_lines,
    tls_lines,
    unknown_lines,
    unloaded_lines,
    version_lines,
    warning_lines,
)
from gdbext.commands.slots import hexadecimal, target_text
from gdbext.commands.threads import deadlock_titles
from gdbext.elf.notes import read_build_id
from gdbext.findings.crash.description import module_offset, slot_name
from gdbext.findings.crash.nextsteps import NEXT_STEPS
from gdbext.findings.crash.signals import WITH_ADDRESS
from gdbext.linker.loaded.modules import LINKER
from gdbext.render.fit import bold, fitted, wrapped
from gdbext.render.printable import printable
from gdbext.render.tables import table
from gdbext.stops.report import frame_lines, frame_name, head_lines, register_lines, source_of

if TYPE_CHECKING:
    from gdbext.commands.reportfacts import ReportFacts

_MOST_FRAMES = 40
_MOST_SLOTS = 16
_WIDE = 120
_CRASHES = (*WITH_ADDRESS, "SIGABRT")


def report_lines(facts: ReportFacts, color: bool, width: int) -> Iterator[str]:
    """Everything that matters, in `width` columns where it can be."""
    for line in deadlock_titles(facts.parts["threads"].facts):
        yield from (bold(part, color) for part in wrapped("", printable(line), width))
    yield from head_lines(facts.crash, color, width, _more(facts))
    yield from source_of(facts.crash, color, width)
    near = "Slots near the crash:" if facts.crash.signal else "Slots near the stop:"
    sections = (
        ("Frames:", _frames(facts, width)),
        (near, _near(facts, width)),
        ("Registers:", register_lines(facts.crash.registers, width)),
        ("Missing files:", missing_lines(facts, width)),
        ("Not known:", unknown_lines(facts, width)),
        ("Slots that are not ok:", not_ok_lines(facts, width)),
        ("Conflicts:", conflict_lines(facts, width)),
        ("Threads:", thread_lines(facts, width)),
        ("Unloaded modules:", unloaded_lines(facts, width)),
        ("Thread-local storage:", tls_lines(facts, width)),
        ("Modules:", module_lines(facts)),
        ("Versions:", version_lines(facts, width)),
        ("Warnings of GDB:", warning_lines(facts, width)),
    )
    for title, lines in sections:
        first = next(lines, None)
        if first is not None:
            if title not in ("Frames:", near, "Registers:"):
                yield ""
            yield bold(title, color)
            yield first
            yield from lines


def _more(facts: ReportFacts) -> Iterator[tuple[str, str]]:
    cause = facts.crash.causes.cause
    if cause is not None:
        yield "next", NEXT_STEPS[cause.rule]
    elif facts.crash.signal in _CRASHES:
        yield "cause", "unknown: nothing here tells that libraries or their loading caused it"
        yield from _first_look(facts)
    for note in facts.notes:
        yield "note", note
    if facts.missing:
        names = ", ".join(os.path.basename(one.path) for one in facts.missing[:3])
        more = f" and {len(facts.missing) - 3} more" if len(facts.missing) > 3 else ""
        yield "missing", f"{names}{more}: below is what to fetch"


def _first_look(facts: ReportFacts) -> Iterator[tuple[str, str]]:
    """Where to begin when no rule fits: the C library crashes for what it was called with."""
    for frame, place in facts.crash.frames:
        module = place.module
        if module and module.kind != LINKER and not (module.soname or "").startswith("libc."):
            where = f"{frame_name(frame, place)} of {module.file_name}"
            look = f"in GDB: frame {frame.level}, then info args and info locals"
            yield "look at", f"frame #{frame.level} first, {where}; {look}"
            return


def _frames(facts: ReportFacts, width: int) -> Iterator[str]:
    """The frames, and which build each of their modules is."""
    frames, handler = facts.crash.frames, facts.crash.handler
    if handler:
        names = " < ".join(frame_name(frame, place) for frame, place in handler)
        head = f"  #0 to #{len(handler) - 1}  " if len(handler) > 1 else "  #0  "
        text = printable(f"the handler of {facts.crash.signal}: {names}")
        yield from wrapped(head, text, min(width, _WIDE))
    yield from frame_lines(frames, _MOST_FRAMES, width)
    builds: dict[str, str] = {}
    for _, place in (*handler, *frames[:_MOST_FRAMES]):
        module, ghost = place.module, place.ghost
        if module is not None and module.image is not None:
            found = read_build_id(module.memory, module.image)
            builds[module.file_name] = found or "none"
        elif ghost is not None and ghost.library.build_id is not None:
            builds[os.path.basename(ghost.library.path)] = ghost.library.build_id
    rows = [[name, build] for name, build in builds.items()]
    headers = ["module", "build-id"]
    yield from table(headers, fitted(headers, rows, width, (0,)), quick=True) if rows else ()


def _near(facts: ReportFacts, width: int) -> Iterator[str]:
    wide = width >= _WIDE
    rows = []
    for near in facts.near[:_MOST_SLOTS]:
        verdict = facts.verdicts.get(near.slot.address, ("not judged", None))[0]
        rows.append(
            [
                near.how,
                module_offset(near.module, near.code) if near.code is not None else "-",
                hex(near.slot.address),
                *([hexadecimal(near.slot.value)] if wide else []),
                near.slot.state or "?",
                verdict,
                slot_name(near.slot, str),
                target_text(near.slot, brief=not wide),
            ]
        )
    if not rows:
        return
    value = ["value"] if wide else []
    headers = ["use", "code", "slot", *value, "state", "verdict", "symbol", "leads to"]
    rows = fitted(headers, rows, width, (1, len(headers) - 2, len(headers) - 1))
    yield from table(headers, rows, quick=True)  # tabulate takes 30 ms to load
    if len(facts.near) > _MOST_SLOTS:
        yield f"  and {len(facts.near) - _MOST_SLOTS} more"
    for address, (verdict, reason) in facts.verdicts.items():
        if verdict != "ok" and reason:
            yield from wrapped(f"  {verdict}: ", f"{address:#x}: {printable(reason)}", width)
