"""The post-mortem as JSON has it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gdbext import __version__
from gdbext.elf.notes import read_build_id
from gdbext.findings.crash import causes_document
from gdbext.render.printable import shown

if TYPE_CHECKING:
    from gdbext.commands.base import Part
    from gdbext.commands.reportfacts import ReportFacts
    from gdbext.inferior.frames import Frame
    from gdbext.linker.places import Place


def report_document(facts: ReportFacts) -> dict[str, Any]:
    """Everything, complete, without the schema key."""
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
    document["warnings"] = [shown(line) for line in facts.warnings]
    return document


def _events() -> list[dict[str, Any]]:
    """What plug-trace recorded, as its own -json has it."""
    trace = sys.modules.get("gdbext.stops.trace")
    state = trace.state() if trace is not None else None
    if state is None:
        return []
    from gdbext.stops.recorder_log import event_document

    return [event_document(event) for event in state.log.events.values()]


def _frame(frame: Frame, place: Place) -> dict[str, Any]:
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
