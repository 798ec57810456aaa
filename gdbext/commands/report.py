"""plug-report: the whole post-mortem."""

from __future__ import annotations

import signal as signals
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gdbext import settings
from gdbext.commands.base import Command, Part, terminal_width
from gdbext.commands.conflicts import PlugConflicts
from gdbext.commands.got import PlugGot
from gdbext.commands.links import PlugLinks
from gdbext.commands.threads import PlugThreads
from gdbext.commands.tls import PlugTls

if TYPE_CHECKING:
    import argparse

    from gdbext.inferior import Inferior
    from gdbext.inferior.frames import Frame
    from gdbext.linker.places import Place
    from gdbext.stops.crash import Crash

_MOST_FRAMES = 256
_PARTS = {
    "links": "Modules",
    "got": "Slots that are not ok",
    "conflicts": "Conflicts",
    "threads": "Threads",
    "tls": "Thread-local storage",
}


class ReportFacts(NamedTuple):
    """The crash itself, and what the other commands have to say, by the keys of _PARTS."""

    target: str
    program: str | None
    crash: Crash
    parts: dict[str, Part]


class PlugReport(Command):
    """Show the whole post-mortem of a crash: cause first, then everything around it.

    The cause, if one is to be seen that has to do with libraries; signal and fault address;
    the crashing thread's frames with module, offset and build-id; registers and what they point
    to; all modules; GOT slots that ld.so's own lookup does not confirm; conflicts; threads;
    thread-local storage. It works on a stopped process and on a core, also without symbols."""

    name = "plug-report"
    schema = "report"

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> ReportFacts:  # noqa: ARG002
        from gdbext.stops.crash import read_crash

        crash = read_crash(inferior, _signal(inferior), _MOST_FRAMES)
        parts = {
            "links": Part.of(PlugLinks, inferior),
            "got": Part.of(PlugGot, inferior, "-all"),
            "conflicts": Part.of(PlugConflicts, inferior),
            "threads": Part.of(PlugThreads, inferior),
            "tls": Part.of(PlugTls, inferior),
        }
        return ReportFacts(inferior.target, inferior.main_path(), crash, parts)

    def document(self, facts: ReportFacts, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext import __version__
        from gdbext.findings.crash import causes_document
        from gdbext.render.printable import shown

        crash = facts.crash
        frames = [_frame(frame, place) for frame, place in crash.frames]
        document: dict[str, Any] = {
            "gdbext": __version__,
            "target": facts.target,
            "program": shown(facts.program) if facts.program else None,
            **causes_document(crash.causes),
            "signal": crash.signal,
            "signal_meaning": crash.why,
            "fault_address": hex(crash.fault.address) if crash.fault else None,
            "fault_address_reason": shown(crash.fault_reason) if crash.fault_reason else None,
            "crash_frame": next((f for f in frames if f["module"] or f["unloaded"]), None),
            "frames": frames,
            "registers": [
                {"name": r.name, "value": None if r.value is None else hex(r.value)}
                for r in crash.registers
            ],
        }
        for key, part in facts.parts.items():
            found = _not_ok(part) if key == "got" else part.document()
            document[key] = found
            if found is None:
                document[f"{key}_reason"] = shown(part.problem or "it is not known")
        document["events"] = _events()
        return document

    def text(self, facts: ReportFacts, args: argparse.Namespace) -> Iterator[str]:  # noqa: ARG002
        from gdbext.render.fit import bold
        from gdbext.stops.crash import use_color
        from gdbext.stops.report import report

        color = use_color()
        yield from report(facts.crash, color, terminal_width())
        for key, title in _PARTS.items():
            part = facts.parts[key]
            yield ""
            yield bold(f"{title}:", color)
            if key == "got" and part.facts is not None:
                yield from _not_ok_text(part)
            else:
                yield from part.text()


def _events() -> list[dict[str, Any]]:
    """What plug-trace recorded, as its own -json has it."""
    trace = sys.modules.get("gdbext.stops.trace")
    state = trace.state() if trace is not None else None
    if state is None:
        return []
    from gdbext.stops.recorder_log import event_document

    return [event_document(event) for event in state.log.events.values()]


def _signal(inferior: Inferior) -> str | None:
    """The signal that stopped a process, or that ended it."""
    if inferior.core is None:
        return settings.last_signal[0] if settings.last_signal else None
    number = inferior.core.signal
    if number is None:
        return None
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _frame(frame: Frame, place: Place) -> dict[str, Any]:
    from gdbext.elf.notes import read_build_id
    from gdbext.render.printable import shown

    module, ghost = place.module, place.ghost
    path, offset, build_id = None, None, None
    if module is not None:
        path, offset = module.path, hex(frame.pc - module.bias)
        build_id = read_build_id(module.memory, module.image) if module.image else None
    elif ghost is not None:
        path, offset, build_id = ghost.library.path, hex(ghost.offset), ghost.library.build_id
    function = place.definition.symbol if place.definition else frame.function
    return {
        "level": frame.level,
        "pc": hex(frame.pc),
        "kind": place.kind,
        "module": shown(path) if path else None,
        "offset": offset,
        "build_id": build_id,
        "symbol": shown(function) if function else None,
        "file": shown(frame.file) if frame.file else None,
        "line": frame.line,
        "unloaded": ghost is not None,
        "probable": ghost.library.probable if ghost else False,
    }


def _not_ok(part: Part) -> dict[str, Any] | None:
    """plug-got's document with those slots alone that are not ok."""
    document = part.document()
    if document is None:
        return None
    kept = []
    for module in document["modules"]:
        slots = [slot for slot in module["slots"] if slot["verdict"] != "ok"]
        header = module["got_header"]
        if slots or module["problem"] or (header and header["verdict"] not in ("ok", None)):
            kept.append({**module, "slots": slots})
    total = sum(len(module["slots"]) for module in document["modules"])
    return {"slots": total, "modules": kept}


def _not_ok_text(part: Part) -> Iterator[str]:
    from dataclasses import replace

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
