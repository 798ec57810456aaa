"""How one slot looks in a table."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gdbext.linker.slots.slots import Slot, Slots


@lru_cache(maxsize=64)
def short_type(type_name: str) -> str:
    """`JUMP_SLOT` of R_X86_64_JUMP_SLOT."""
    return type_name.split("_", 3 if type_name.startswith("R_X86_64_") else 2)[-1]


def hexadecimal(value: int | None) -> str:
    """`0x…`, or `?` for what is not known."""
    return "?" if value is None else hex(value)


def symbol_text(symbol: str | None, version: str | None) -> str:
    """NAME@VERSION, `-` for a slot without a symbol."""
    if symbol is None:
        return "-"
    return f"{symbol}@{version}" if version else symbol


def target_texts(slots: Slots, brief: bool = False) -> list[str]:
    """target_text() of each; those that are `exact` lead to a provider by their own symbol."""
    rows = zip(slots.exact, slots.providers, slots.symbols)
    return [
        target_text(slots[i], brief)
        if not exact or provider is None
        else provider.file_name
        if brief
        else f"{provider.file_name} {symbol}"
        for i, (exact, provider, symbol) in enumerate(rows)
    ]


def target_text(slot: Slot, brief: bool = False) -> str:
    """Where a slot leads; `brief`, without the symbol if it is the slot's own."""
    if slot.provider is None:
        if slot.state == "lazy":
            return "its own PLT"
        return slot.reason or "-"
    module = slot.provider.file_name
    if _is_tls(slot.kind):
        return f"{module} TLS{_tls_place(slot)}"
    if slot.definition is not None:
        symbol, offset = slot.definition
        if brief and symbol == slot.symbol and not offset:
            return module
        return f"{module} {symbol}+{offset:#x}" if offset else f"{module} {symbol}"
    if slot.value is None:
        return module
    return f"{module}+{slot.value - slot.provider.bias:#x}"


@lru_cache(maxsize=16)
def _is_tls(kind: str) -> bool:
    from gdbext.linker.tls.tlsslots import TLS_KINDS

    return kind in TLS_KINDS


def _tls_place(slot: Slot) -> str:
    """The variable in its module's TLS block: by name, else by offset where the value has it."""
    from gdbext.elf.arch import TPOFF

    if slot.definition is not None:
        return f" {slot.definition}"
    private = slot.provider.private if slot.provider else None
    if slot.kind != TPOFF or slot.value is None or private is None or not private.tls_offset:
        return ""
    # The block starts below the thread pointer on x86-64, above it on ARM64.
    below = slot.value >> 63
    start = (1 << 64) - private.tls_offset if below else private.tls_offset
    return f"+{slot.value - start:#x}"
