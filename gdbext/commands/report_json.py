"""The post-mortem as JSON has it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gdbext import __version__
from gdbext.commands.regs import register_document
from gdbext.elf.notes import read_build_id
from gdbext.findings.crash.crash import causes_document
from gdbext.findings.crash.description import slot_document, unloaded_document
from gdbext.findings.crash.nextsteps import NEXT_STEPS
from gdbext.inferior.frames import readable
from gdbext.render.printable import shown

if TYPE_CHECKING:
    from gdbext.commands.base import Part
    from gdbext.commands.reportfacts import ReportFacts
    from gdbext.commands.reportfiles import Missing
    from gdbext.findings.crash.nearslots import NearSlot
    from gdbext.inferior.frames import Frame
    from gdbext.linker.places import Place
    from gdbext.linker.unloaded.unloaded import Unloaded


def report_document(facts: ReportFacts) -> dict[str, Any]:
    """Everything, complete, without the schema key."""
    crash = facts.crash
    rows, fault = [*crash.handler, *crash.frames], len(crash.handler)
    outer = [frame.pc for frame, _ in rows[1:]]
    frames = [
        _frame(frame, place, inlined=frame.pc == caller)
        for (frame, place), caller in zip(rows, [*outer, None])
    ]
    document: dict[str, Any] = {
        "gdbext": __version__,
        "target": facts.target,
        "program": shown(facts.program) if facts.program else None,
        **causes_document(crash.causes),
        "next_step": NEXT_STEPS[crash.causes.cause.rule] if crash.causes.cause else None,
        "signal": crash.signal,
        "signal_meaning": crash.why,
        "ended_by": crash.ended_by,
        "fault_address": hex(crash.fault.address) if crash.fault else None,
        "fault_address_reason": shown(crash.fault_reason) if crash.fault_reason else None,
        "crash_frame": next((f for f in frames[fault:] if f["module"] or f["unloaded"]), None),
        "frames": frames,
        "fault_level": fault,
        "slots_near_call": [_near_slot(near, facts) for near in facts.near],
        "registers": [register_document(register) for register in crash.registers],
        "notes": [shown(note) for note in facts.notes],
    }
    for key, part in facts.parts.items():
        found = _slots(part, facts) if key == "got" else facts.document(key)
        document[key] = found
        if found is None:
            document[f"{key}_reason"] = shown(part.problem or "it is not known")
    document["unloaded"] = [_unloaded(library) for library in facts.unloaded]
    document["missing"] = [_missing(one) for one in facts.missing]
    document["versions"] = facts.versions._asdict()
    document["events"] = _events()
    document["warnings"] = [shown(line) for line in facts.warnings]
    return document


def _slots(part: Part, facts: ReportFacts) -> dict[str, Any] | None:
    """plug-got's modules with those slots alone that are not ok."""
    if facts.not_ok is None:
        return None
    modules = part.command.document(facts.not_ok, part.args)["modules"]
    return {"slots": facts.slots, "modules": modules}


def _near_slot(near: NearSlot, facts: ReportFacts) -> dict[str, Any]:
    verdict, reason = facts.verdicts.get(near.slot.address, (None, None))
    return {
        "module": shown(near.module.path),
        "how": near.how,
        "code": hex(near.code) if near.code is not None else None,
        "slot": slot_document(near.slot),
        "verdict": verdict,
        "reason": shown(reason) if reason else None,
    }


def _unloaded(library: Unloaded) -> dict[str, Any]:
    return {"path": shown(library.path) or None, **unloaded_document(library)}


def _missing(one: Missing) -> dict[str, Any]:
    return {
        "path": shown(one.path),
        "kind": one.kind,
        "build_id": one.build_id,
        "state": one.state,
        "build_id_here": one.here,
        "remedy": shown(one.remedy),
    }


def _events() -> list[dict[str, Any]]:
    """What plug-trace recorded, as its own -json has it."""
    trace = sys.modules.get("gdbext.stops.trace")
    state = trace.state() if trace is not None else None
    if state is None:
        return []
    from gdbext.stops.recorder.log import event_document

    return [event_document(event) for event in state.log.events.values()]


def _frame(frame: Frame, place: Place, inlined: bool) -> dict[str, Any]:
    """`inlined`: the function is part of the next frame's, which alone has a symbol."""
    module, ghost = place.module, place.ghost
    path, offset, build_id = None, None, None
    if module is not None:
        path, offset = module.path, hex(frame.pc - module.bias)
        build_id = read_build_id(module.memory, module.image) if module.image else None
    elif ghost is not None:
        path, offset, build_id = ghost.library.path, hex(ghost.offset), ghost.library.build_id
    region = place.region if place.kind == "file" else None
    function = place.definition.symbol if place.definition else frame.function
    if inlined and frame.function:
        function = frame.function
    plain = readable(function)
    return {
        "level": frame.level,
        "pc": hex(frame.pc),
        "kind": place.kind,
        "module": shown(path) if path else None,
        "offset": offset,
        "build_id": build_id,
        "mapped_file": shown(region.path) if region and region.path else None,
        "file_offset": hex(frame.pc - region.start + region.offset) if region else None,
        "symbol": shown(function) if function else None,
        "demangled": shown(plain) if plain else None,
        "file": shown(frame.file) if frame.file else None,
        "line": frame.line,
        "unloaded": ghost is not None,
        "probable": ghost.library.probable if ghost else False,
    }
