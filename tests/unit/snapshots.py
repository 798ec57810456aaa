"""Made-up snapshots: a program, libc and two libraries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gdbext.findings.snapshots.snapshot import (
    NOWHERE,
    PROPERTIES,
    ModuleFacts,
    Slots,
    Snapshot,
    ThreadFacts,
    TlsFacts,
)
from gdbext.linker.slots.symbolfacts import DynamicEntry, Symbols

FUNC, WEAK, WANTED = "FUNC GLOBAL DEFAULT", "FUNC WEAK DEFAULT", "FUNC GLOBAL DEFAULT UNDEF"
JUMP, COPY_DATA = "R_X86_64_JUMP_SLOT", "R_X86_64_64"
MAIN, LIBC, ONE, TWO = range(4)


def symbols(*rows: tuple[str, str, str, int]) -> Symbols:
    """A table of (name, version, kind, size)."""
    return Symbols(
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
        [0x1000 + 16 * row for row in range(len(rows))],
    )


def slots(*rows: tuple[str, int], verdict: str = "ok", state: str = "bound") -> Slots:
    """Slots of (symbol, module that it leads to), one behind the other."""
    number = len(rows)
    return Slots(
        [0x4000 + 8 * row for row in range(number)],
        [JUMP] * number,
        [symbol for symbol, _ in rows],
        [""] * number,
        [state] * number,
        [verdict] * number,
        [leads for _, leads in rows],
        [0x1000 if leads >= 0 and state == "bound" else NOWHERE for _, leads in rows],
        [""] * number,
    )


def module(path: str, **changes: Any) -> ModuleFacts:  # noqa: ANN401
    """A module; its properties are named like its other fields."""
    values: dict[str, Any] = dict.fromkeys(PROPERTIES)
    values |= {"kind": "dlopened", "global": False, "open_count": 1, "binding": "lazy"}
    values |= {name: changes.pop(name) for name in list(changes) if name in PROPERTIES}
    dynamic: list[DynamicEntry] = [("NEEDED", "libc.so.6"), ("STRTAB", 0x400)]
    made = ModuleFacts(
        namespace=0,
        path=path,
        name=path,
        soname=None,
        build_id=f"{sum(map(ord, path)):040x}",
        base="0x7f0000000000",
        size=0x5000,
        properties=values,
        dynamic=dynamic,
        symbols=symbols(("f", "", FUNC, 16)),
        slots=slots(),
        tls=None,
        reasons={},
    )
    return replace(made, **changes)


MODULES = (
    module("/bin/host", kind="main", symbols=symbols(), slots=slots(("malloc", LIBC))),
    module("/lib/libc.so.6", kind="needed", soname="libc.so.6", tls=TlsFacts(144, 8, "static"),
           symbols=symbols(("malloc", "@@GLIBC_2.2.5", FUNC, 300))),
    module("/opt/libone.so", slots=slots(("malloc", LIBC), ("g", TWO))),
    module("/opt/libtwo.so", symbols=symbols(("g", "", FUNC, 8))),
)  # fmt: skip
THREADS = (
    ThreadFacts("host", True, MAIN, "/bin/host", "main", 0x1100),
    ThreadFacts("worker", False, ONE, "/opt/libone.so", "run", 0x1200),
)


def snapshot(modules: Sequence[ModuleFacts] = MODULES, **changes: Any) -> Snapshot:  # noqa: ANN401
    """A snapshot of these modules."""
    static: dict[str, Any] = {"size": 4224, "used": 144, "left": 1664}
    made = Snapshot(
        "0.1.0", "native", "x86-64", "/bin/host", list(modules), list(THREADS), static, []
    )
    return replace(made, **changes)


def changed(which: int, **changes: Any) -> Snapshot:  # noqa: ANN401
    """The snapshot with one module changed."""
    modules = list(MODULES)
    properties = {name: changes.pop(name) for name in list(changes) if name in PROPERTIES}
    if properties:
        changes["properties"] = {**modules[which].properties, **properties}
    modules[which] = replace(modules[which], **changes)
    return snapshot(modules)
