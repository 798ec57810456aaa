"""Runs inside a GDB that the doctor examines: prints one line of JSON about it.

GDB reads it as a script, also where gdbext could not be loaded, so it imports nothing of it."""

import importlib
import json
import sys

import gdb

NEEDS = ("tabulate", "pygments", "elftools")
CPUS = ("i386:x86-64", "aarch64")


def origin(name: str) -> "dict[str, str | None]":
    """Import a package; give the file it came from, or why it cannot be imported."""
    try:
        module = importlib.import_module(name)
    except (ImportError, SyntaxError) as error:  # SyntaxError: written for a newer Python
        return {"file": None, "reason": str(error)}
    return {"file": getattr(module, "__file__", None), "reason": None}


def architectures() -> "list[str]":
    """List the CPUs, of those that gdbext knows, that this GDB can debug."""
    return [
        name for name in CPUS if gdb.execute(f"complete set architecture {name}", to_string=True)
    ]


def facts() -> "dict[str, object]":
    """Collect what the doctor asks about."""
    loaded = sys.modules.get("gdbext")
    failed = gdb.convenience_variable("gdbext_failed")
    return {
        "version": gdb.VERSION,
        "python": ".".join(map(str, sys.version_info[:3])),
        "gdbext": getattr(loaded, "__file__", None),
        "sourced": failed is not None and int(failed) == 0 and loaded is not None,
        "packages": {name: origin(name) for name in NEEDS},
        "architectures": architectures(),
        "features": {
            "send_packet": hasattr(getattr(gdb, "RemoteTargetConnection", None), "send_packet"),
            "corefile": hasattr(gdb, "Corefile"),
        },
    }


print("gdbext-probe: " + json.dumps(facts()))
