"""A place in memory in one phrase, and as plain data."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from gdbext.elf.arch import ABSOLUTE
from gdbext.elf.image import PF_R, PF_W, PF_X
from gdbext.findings.crash.registers import Register
from gdbext.linker.loaded.modules import Module
from gdbext.linker.places import Place
from gdbext.linker.process.process import Region
from gdbext.linker.slots.slots import Slot
from gdbext.linker.unloaded.unloaded import EVENTS, LOG, MEMORY, TRACE, Ghost, Unloaded

Demangle = Callable[[str], str]


def access(flags: int | None) -> str:
    """`r-x` and the like; `???` where it is not known."""
    if flags is None:
        return "???"
    return "".join(c if flags & bit else "-" for c, bit in (("r", PF_R), ("w", PF_W), ("x", PF_X)))


def module_offset(module: Module, address: int) -> str:
    """`libfoo.so+0x1234`: an offset that is a file address, as addr2line and readelf take it."""
    return f"{module.file_name}+{address - module.bias:#x}"


def describe(place: Place, demangle: Demangle) -> str:
    """What lies at `place.address`, in one phrase."""
    return _PHRASES[place.kind](place, demangle)


def _in_module(place: Place, demangle: Demangle) -> str:
    assert place.module is not None
    phrase = module_offset(place.module, place.address)
    if place.definition is not None:
        phrase += f" {_name(place, demangle)}"
    if place.slot is not None:
        what = "pointer to" if place.slot.kind == ABSOLUTE else "GOT slot of"
        phrase += f", {what} {slot_name(place.slot, demangle)}"
    if place.stub is not None:
        phrase += f", PLT entry of {slot_name(place.stub, demangle)}"
    if place.section is not None:
        phrase += f" ({place.section})"
    elif place.segment is not None:
        phrase += f" ({access(place.segment.flags)})"
    return phrase


def _name(place: Place, demangle: Demangle) -> str:
    assert place.definition is not None
    offset = place.definition.offset
    return demangle(place.definition.symbol) + (f"+{offset:#x}" if offset else "")


def slot_name(slot: Slot, demangle: Demangle) -> str:
    """The slot's symbol, or its relocation where it has none."""
    if slot.symbol is None:
        return slot.type
    name = demangle(slot.symbol)
    return f"{name}@{slot.version}" if slot.version else name


def _tls(place: Place, _demangle: Demangle) -> str:
    block = place.tls
    assert block is not None
    offset = place.address - block.start
    return f"TLS block of {block.module.file_name}+{offset:#x}, thread {block.thread.number}"


def _control_block(place: Place, _demangle: Demangle) -> str:
    assert place.control is not None
    offset = place.address - (place.control.thread.thread_pointer or 0)
    distance = f"{offset:+#x}" if offset else ""
    return f"thread control block{distance} of thread {place.control.thread.number}"


def _stack(place: Place, _demangle: Demangle) -> str:
    return f"stack of thread {place.thread.number}" if place.thread else "a stack"


def _below_stack(place: Place, _demangle: Demangle) -> str:
    assert place.thread is not None
    distance = f"{place.region.start - place.address:#x} " if place.region is not None else ""
    return f"{distance}below the stack of thread {place.thread.number}"


def _region(place: Place, what: str) -> str:
    if place.region is None:
        return what
    offset = place.address - place.region.start
    return f"{what} {place.region.start:#x}+{offset:#x} ({access(place.region.flags)})"


def _file(place: Place, _demangle: Demangle) -> str:
    assert place.region is not None
    path = place.region.path or ""
    offset = place.address - place.region.start + place.region.offset
    text = f"mapped file {path}+{offset:#x} ({access(place.region.flags)})"
    return f"{text}, no loaded module" if place.listed else text


def _unloaded(place: Place, demangle: Demangle) -> str:
    assert place.ghost is not None
    library = place.ghost.library
    name = unloaded_name(library)
    how = "unloaded, probable" if library.probable else "unloaded"
    phrase = f"{name} ({how}), +{place.ghost.offset:#x}"
    return phrase + (f", {_name(place, demangle)}" if place.definition is not None else "")


def unloaded_name(library: Unloaded) -> str:
    """The last part of its path, as far as it is known."""
    name = os.path.basename(library.path)
    if not name:
        return "a library whose name is lost"
    return name + ("…" if library.cut else "")


_EVIDENCE = {
    TRACE: "the trace recorded it",
    EVENTS: "GDB saw it being loaded, and it is in no link_map chain now",
    LOG: "ld.so's log (LD_DEBUG=files) tells where it was",
    MEMORY: "ld.so's freed memory tells of it: probable, not certain",
}


def how_known(library: Unloaded) -> str:
    """What an unloaded library is known by."""
    return _EVIDENCE[library.evidence]


_PHRASES: dict[str, Callable[[Place, Demangle], str]] = {
    "module": _in_module,
    "tls": _tls,
    "tcb": _control_block,
    "stack": _stack,
    "below-stack": _below_stack,
    "heap": lambda place, _: _region(place, "heap"),
    "anonymous": lambda place, _: _region(place, "anonymous memory"),
    "mapped": lambda place, _: _region(place, "memory"),
    "file": _file,
    "null": lambda place, _: "null" if not place.address else f"null+{place.address:#x}",
    "unloaded": _unloaded,
    "unmapped": lambda *_: "not mapped",
    "unknown": lambda *_: "in no loaded module (this target lists no mappings)",
}


def register_line(register: Register, demangle: Demangle) -> str:
    """One line for one register: name, value, what it points to."""
    value = f"{register.value:#018x}" if register.value is not None else "not available"
    phrase = describe(register.place, demangle) if register.place is not None else ""
    text = f' "{register.text}"' if register.text else ""
    return f"  {register.name:<9} {value}  {phrase}{text}".rstrip()


def place_document(place: Place) -> dict[str, Any]:
    """A place as JSON has it; absent keys do not apply to its kind."""
    document: dict[str, Any] = {"address": hex(place.address), "kind": place.kind}
    module, segment, region = place.module, place.segment, place.region
    if module is not None:
        document["module"] = _text(module.path)
        document["namespace"] = module.namespace
        if place.kind == "module":
            document["offset"] = hex(place.address - module.bias)
    if segment is not None:
        document["segment"] = access(segment.flags)
        document["section"] = place.section
        if place.section is None:
            document["section_reason"] = "no file with its section headers is here, or none has it"
    if place.definition is not None:
        document["symbol"] = place.definition.symbol
        document["symbol_offset"] = place.definition.offset
    for key, slot in (("slot", place.slot), ("plt_slot", place.stub)):
        if slot is not None:
            document[key] = slot_document(slot)
    if place.ghost is not None:
        document.update(_ghost_document(place.ghost))
    if place.tls is not None:
        document["offset"] = hex(place.address - place.tls.start)
        document["thread"] = place.tls.thread.number
    if place.control is not None:
        pointer = place.control.thread.thread_pointer or 0
        document["offset"] = hex(place.address - pointer)
    if place.thread is not None:
        document["thread"] = place.thread.number
    if region is not None:
        document["region"] = _region_document(region)
    return document


def _ghost_document(ghost: Ghost) -> dict[str, Any]:
    library = ghost.library
    return {
        "module": _text(library.path) or None,
        "offset": hex(ghost.offset),
        "unloaded": {
            **unloaded_document(library),
            "path_is_whole": bool(library.path) and not library.cut,
        },
    }


def unloaded_document(library: Unloaded) -> dict[str, Any]:
    """Where a library that is gone was, and how that is known."""
    return {
        "start": hex(library.start),
        "end": hex(library.end),
        "build_id": library.build_id,
        "evidence": library.evidence,
        "probable": library.probable,
    }


def slot_document(slot: Slot) -> dict[str, Any]:
    """A slot in short."""
    return {
        "address": hex(slot.address),
        "type": slot.type,
        "symbol": slot.symbol,
        "version": slot.version,
        "value": hex(slot.value) if slot.value is not None else None,
        "state": slot.state,
        "reason": slot.reason,
    }


def _region_document(region: Region) -> dict[str, Any]:
    return {
        "start": hex(region.start),
        "end": hex(region.end),
        "access": access(region.flags) if region.flags is not None else None,
        "path": _text(region.path) if region.path is not None else None,
    }


def _text(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
