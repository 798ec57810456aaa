"""Documents as plug-report and plug-got give them, made by hand: of any size and with any names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

LIBC = "/lib/libc.so.6"
MAIN = "/opt/host"

# What a file name, a symbol or a sentence may hold that HTML, scripts or terminals take for theirs.
HOSTILE = (
    "</script><script>window.hurt = 1</script>"
    "\"><img src=x onerror='window.hurt = 2'>"
    "' autofocus onfocus=window.hurt=3 x='"
    "</style></title><!-- --><svg onload=window.hurt=4>"
    "&lt;b&gt;\x1b]0;title\x07\x00\u202egnp.exe\u2028]]>${window.hurt=5}"
)


def module(path: str, kind: str = "dlopened", **known: Any) -> dict[str, Any]:  # noqa: ANN401
    """One module as plug-links has it."""
    entry = {
        "path": path, "name": path, "link_map": "0x7f0000001000", "base": "0x7f0000000000",
        "start": "0x7f0000000000", "end": "0x7f0000005000", "dynamic": "0x7f0000003000",
        "soname": None, "kind": kind, "global": True, "deepbind": False, "open_count": 1,
        "nodelete": False, "binding": "lazy", "relro": "full", "build_id": "00ff" * 10,
        "needed": [], "needed_by": [], "opened_by": None, "tls_module_id": None,
        "file": "same", **known,
    }  # fmt: skip
    if kind == "dlopened" and entry["opened_by"] is None:
        entry["opened_by_reason"] = "the dynamic linker does not record who called dlopen"
    return entry


def frame(level: int, path: str | None, symbol: str | None, **known: Any) -> dict[str, Any]:  # noqa: ANN401
    """One frame of the report."""
    return {
        "level": level, "pc": hex(0x7F0000001000 + level), "kind": "module" if path else "null",
        "module": path, "offset": hex(0x1000 + level) if path else None,
        "build_id": "00ff" * 10 if path else None,
        "mapped_file": None, "file_offset": None, "symbol": symbol, "demangled": None,
        "file": None, "line": None, "unloaded": False, "probable": False, **known,
    }  # fmt: skip


def conflict(loser: str, winner: str, symbol: str = "init") -> dict[str, Any]:
    """One conflict as plug-conflicts has it."""
    return {
        "symbol": symbol, "demangled": None, "version": None, "namespace": 0, "loser": loser,
        "winner": winner, "bindings": 1, "reason": "it comes first", "brought_in_by": "dlopen",
    }  # fmt: skip


def report(
    modules: Sequence[dict[str, Any]] | None = None,
    conflicts: Sequence[dict[str, Any]] = (),
    name: str = "plugin",
) -> dict[str, Any]:
    """A crash in a plugin that is called NAME, which is everywhere that a name can be."""
    plugin = f"/opt/{name}.so"
    cause = {"rule": "null_slot", "text": f"{name} called nobody", "evidence": [f"seen in {name}"]}
    frames = [
        frame(0, None, None),
        frame(1, plugin, name, file=f"/src/{name}.c", line=7),
        frame(2, f"/opt/{name}-gone.so", None, unloaded=True, probable=True),
        frame(3, MAIN, "main"),
    ]
    default = [
        module(MAIN, "main", needed=["libc.so.6"]),
        module(LIBC, "needed", needed_by=[MAIN, plugin]),
        module(plugin, opened_by=MAIN),
    ]
    spot = {"address": "0x7f0000001001", "module": plugin, "offset": "0x1001", "symbol": name,
            "demangled": None, "unloaded": False, "probable": False}  # fmt: skip
    thread = {
        "number": 1, "lwp": 100, "name": name, "selected": True, "state": "stopped",
        "syscall": None, "is_main": True, "started_by": spot, "started_by_reason": None, "stack": 0,
        "holds": [name], "waits_for": None,
    }  # fmt: skip
    stack = [{**f, "address": f["pc"], "plugin": f["module"] == plugin} for f in frames]
    for entry in stack:
        del entry["kind"], entry["build_id"], entry["mapped_file"], entry["file_offset"]
    return {
        "schema": "gdbext/report/1", "gdbext": "1.0", "target": "core", "program": MAIN,
        "cause": cause, "causes": [cause, {**cause, "rule": "other"}], "signal": "SIGSEGV",
        "signal_meaning": "address not mapped", "ended_by": None, "fault_address": "0x0",
        "fault_address_reason": None, "crash_frame": frames[1], "frames": frames, "fault_level": 0,
        "next_step": f"Load {name} first.",
        "slots_near_call": [
            {"module": plugin, "how": "call", "code": "0x7f0000001001", "verdict": "ok",
             "slot": slot(0x7F0000004000, symbol=name), "reason": name},
        ],
        "registers": [
            {"name": "rip", "value": "0x0", "points_to": None, "text": name, "string": name},
            {"name": "rax", "value": None, "points_to": None, "text": None, "string": None,
             "value_reason": name},
        ],
        "notes": [name],
        "links": {
            "schema": "gdbext/links/1",
            "namespaces": [{"index": 0, "r_debug": "0x7f0000000000", "state": "consistent",
                            "modules": list(default if modules is None else modules)}],
            "problems": [f"a chain breaks at {name}"],
        },
        "got": {"slots": 3, "modules": [
            {"path": plugin, "namespace": 0, "got_header": None, "problem": None,
             "slots": [slot(0x7F0000004000, symbol=name, verdict="dangling", reason=name)]},
        ]},
        "conflicts": {
            "schema": "gdbext/conflicts/1", "conflicts": list(conflicts),
            "benign": [{**conflict(plugin, LIBC, name), "kind": "copy"}],
            "families": [{"family": "OpenMP", "namespace": 0, "copies": [
                {"module": plugin, "exports": [name]}, {"module": LIBC, "exports": ["omp"]}]}],
            "duplicate_symbols": 2, "unknown": [name],
        },
        "threads": {
            "schema": "gdbext/threads/1", "deadlocks": [
                {"threads": [1], "certain": True, "text": f"{name} waits for itself"}],
            "locks": [], "threads": [thread], "stacks": [stack], "notes": [name],
        },
        "tls": {
            "schema": "gdbext/tls/1", "thread": 1, "generation": 1, "modules": [],
            "static_tls": None, "static_tls_reason": name,
        },
        "unloaded": [
            {"path": f"/opt/{name}-gone.so", "start": "0x7f0000000000", "end": "0x7f0000001000",
             "build_id": None, "evidence": "memory", "probable": True},
        ],
        "missing": [
            {"path": f"/opt/{name}-gone.so", "kind": "mapped", "build_id": "c0ffee",
             "state": "absent", "build_id_here": None, "remedy": f"copy '{name}'"},
        ],
        "versions": {"gdbext": "1.0", "gdb": "13.1", "gdb_python": "3.11.2", "libc": "glibc",
                     "libc_version": "2.36", "cpu": "x86-64"},
        "events": [event(name)], "warnings": [name],
    }  # fmt: skip


def event(name: str) -> dict[str, Any]:
    """A dlopen that failed, as plug-trace has it."""
    caller = {"pc": "0x7f0000001001", "module": f"/opt/{name}.so", "offset": "0x1001",
              "build_id": None, "function": name, "function_offset": "0x1", "file": None,
              "line": None}  # fmt: skip
    return {
        "id": 1, "parent": None, "kind": "dlopen", "pid": 100, "thread": 1, "lwp": 100,
        "time": 0.25, "caller": caller, "path": f"/opt/{name}.so", "mode": 1,
        "flags": ["RTLD_LAZY"], "namespace": None, "handle": None, "module": None,
        "function": None, "ended": "returned", "duration": 0.002, "result": None, "failed": True,
        "error": f"{name}: cannot open", "error_class": None, "error_reason": None,
        "loaded": [name], "unloaded": [], "stays": [{"kind": "count", "text": f"{name} stays"}],
        "threads_before": 1, "threads_after": 1, "started": [], "by_libc": False,
        "frames": [caller],
    }  # fmt: skip


def diff(name: str = "plugin") -> dict[str, Any]:
    """A comparison in which everything differs that can; NAME is wherever a name can be."""
    path = f"/opt/{name}.so"
    side = {"gdbext": "1.0", "target": "core", "cpu": "x86-64", "program": f"/opt/{name}",
            "modules": 2, "symbols": 30, "slots": 40, "threads": None}  # fmt: skip
    change = {"name": "open_count", "before": 1, "after": 2}
    where = {"path": path, "namespace": 1}
    leads = {"module": path, "definition": name}
    entry = {**where, "kind": "dlopened", "build_id": "00ff" * 10}
    pair = {"before": "00ff" * 10, "after": None}
    size = {"symbol": name, "what": "size", "before": 8, "after": 16}
    return {
        "schema": "gdbext/diff/1", "count": 12, "before": side, "after": side,
        "changes": [{"name": "libc", "before": "2.36", "after": "2.41"}], "added": [entry],
        "gone": [entry],
        "changed": [{**where, "replaced": pair, "moved": None, "properties": [change]}],
        "order": [{"namespace": 0, "place": 3, "before": path, "after": LIBC}],
        "symbols": [{**where, "added": [name], "removed": [name], "changed": [size],
                     "imports_added": [name], "imports_removed": [name]}],
        "providers": [{**where, "symbol": name, "slots": 2, "before": [leads],
                       "after": [leads, {"module": None, "definition": None}]}],
        "verdicts": [{**where, "symbol": name, "type": "R_X86_64_JUMP_SLOT", "offset": "0x4000",
                      "before": "ok", "after": "dangling", "leads": leads}],
        "threads": [{"start": name, "module": path, "names": [name], "before": 1, "after": 2}],
        "tls": [{"path": None, "name": "used", "before": 144, "after": 200}], "resolved": 3,
        "unknown": [name],
    }  # fmt: skip


def slot(address: int, **known: Any) -> dict[str, Any]:  # noqa: ANN401
    """One slot as plug-got has it."""
    return {
        "address": hex(address), "type": "R_X86_64_JUMP_SLOT", "symbol": "puts",
        "version": None, "value": "0x7f0000001000", "state": "bound", "provider": LIBC,
        "definition": "puts", "expected": LIBC, "verdict": "ok", "reason": None, **known,
    }  # fmt: skip


def got(modules: int, slots: int, name: str = "plugin") -> dict[str, Any]:
    """MODULES modules with SLOTS slots each; every 1000th slot is redirected."""
    base = 0x7F0000000000
    found = []
    for number in range(modules):
        path = f"/opt/plugins/{name}{number}.so"
        rows = []
        for at in range(slots):
            order = number * slots + at
            wrong = order % 1000 == 999
            rows.append(
                slot(
                    base + number * 0x10000 + 8 * at,
                    symbol=f"{name}_function_{order * 7919 % 100003}",
                    version="V_1" if at % 2 else None,
                    value=hex(base + order * 104729 % 0x10000000),
                    verdict="redirected" if wrong else "ok",
                    reason="it leads elsewhere" if wrong else None,
                )
            )
        entry = {"path": path, "namespace": 0, "got_header": None, "problem": None, "slots": rows}
        found.append(entry)
    return {"schema": "gdbext/got/1", "modules": found}
