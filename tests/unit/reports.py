"""Report documents, as far as a signature looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def frame(module: str | None, offset: int = 0, **more: Any) -> Row:  # noqa: ANN401
    """One frame; without MORE its build-id is told by the module's file name."""
    name = module.rpartition("/")[2] if module else None
    row = {
        "kind": "module" if module else "anonymous",
        "module": module,
        "offset": hex(offset) if module else None,
        "build_id": name.encode("utf-8", "surrogateescape").hex() if name else None,
        "mapped_file": None,
        "file_offset": None,
        "symbol": None,
        "demangled": None,
        "unloaded": False,
    }
    return {**row, **more}


def report(frames: Sequence[Row], signal: str | None = "SIGSEGV", rule: str | None = None) -> Row:
    """A report of /opt/host with these frames, innermost first, at other addresses each time."""
    cause = {"rule": rule, "text": f"text of {rule}", "evidence": []} if rule else None
    base = 0x7F0000000000 + 4096 * (id(frames) % 9999)
    rows = [{**row, "level": n, "pc": hex(base + n)} for n, row in enumerate(frames)]
    return {
        "cause": cause,
        "signal": signal,
        "program": "/opt/host",
        "links": {},
        "frames": rows,
        "fault_level": 0,
    }
