"""What to say of thread-local storage: who asks for static TLS, and how much is left."""

from __future__ import annotations

from gdbext.elf.arch import TLSDESC
from gdbext.linker.tls.tls import Room, Tls
from gdbext.linker.tls.tlsmodules import STATIC, TlsModule
from gdbext.linker.tls.tlsneeds import Asks

_MOST_NEEDS = 12  # variables that are named; the document has all


def signed(offset: int) -> str:
    """An offset from the thread pointer."""
    return f"-{-offset:#x}" if offset < 0 else hex(offset)


def describe_storage(module: TlsModule | None) -> str:
    """Static, dynamic or undecided, and whether static TLS had room for it from the start."""
    if module is None:
        return "-"
    if module.storage != STATIC:
        return module.storage or "?"
    return "static, start" if module.at_start else "static, later"


def abbreviate_asks(asks: Asks) -> str:
    """What a module asks for, in a table's cell."""
    if asks.problem:
        return "flag ?" if asks.flag else "?"
    descriptors = sum(need.times for need in asks.needs if need.kind == TLSDESC)
    parts = ["flag"] * asks.flag
    parts += [f"IE {asks.required}"] * bool(asks.required)
    parts += [f"desc {descriptors}"] * bool(descriptors)
    return ", ".join(parts) or "-"


def describe_asks(asks: Asks) -> str:
    """What a module asks for, in full."""
    parts = ["DF_STATIC_TLS"] * asks.flag
    for need in asks.needs[:_MOST_NEEDS]:
        what = need.symbol or "a variable of its own"
        owner = need.owner.file_name if need.owner else None
        where = f" in {owner}" if owner and need.owner is not asks.module else ""
        times = f" ({need.times} relocations)" if need.times > 1 else ""
        parts.append(f"{need.kind} of {what}{where}{times}")
    if len(asks.needs) > _MOST_NEEDS:
        parts.append(f"{len(asks.needs) - _MOST_NEEDS} more")
    if asks.descriptors:
        parts.append(f"{asks.descriptors} TLSDESC left dynamic")
    if asks.problem:
        parts.append(f"relocations unknown: {asks.problem}")
    return ", ".join(parts) or "nothing"


def explain_static(tls: Tls, module: TlsModule) -> str:
    """Why a module's block is static; '' when it is not."""
    if module.storage != STATIC:
        return ""
    askers = tls.asked_by(module.module)
    who = ", ".join(
        f"{'itself' if asker is module.module else asker.file_name} ({kind})"
        for kind, asker in askers
    )
    if module.at_start:
        return "it was loaded with the program" + (f"; also asked for by {who}" if who else "")
    return f"asked for by {who}" if who else "unknown: who asked for it is no longer loaded"


def describe_room(tls: Tls, room: Room) -> str:
    """Static TLS in one sentence."""
    area, start = room.area, room.start
    if area is None:
        return str(room.reason) if tls.musl else f"unknown: {room.reason}"
    control = f"control block {area.control}, " if area.control else ""
    since = f" ({start} at the start, {area.used - start} since)" if start is not None else ""
    optional = ""
    if area.optional is not None:
        optional = f" ({min(area.optional, area.left)} of it open to TLSDESC)"
    return (
        f"{area.size} bytes a thread, aligned to {area.align}: {control}"
        f"used {area.used}{since}, left {area.left}{optional}"
    )
