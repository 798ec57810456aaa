"""Whether a Go program would refuse a plugin that it opened.

Source: Go, src/runtime/plugin.go (plugin_lastmoduleinit, which compares pkghashes) and
src/cmd/link (the symbols go.link.pkghashbytes.PACKAGE, go:link… from Go 1.20 on).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gdbext.elf.problem import Problem
from gdbext.findings.opening.dlopen_errors import ABI_MISMATCH, Cause
from gdbext.findings.opening.prospects import Forecast, file_of
from gdbext.linker.loaded.modules import Module

_HASH = re.compile(rb"go([.:])link\.pkghashbytes\.(.+)", re.DOTALL)
_LONGEST = 64  # bytes of a hash; 8 are usual
_MOST = 5


def go_causes(forecast: Forecast, root: Module, host: Module) -> Iterator[Cause]:
    """Whether the Go program `host` would refuse `root`."""
    mine, theirs = _hashes(forecast, host), _hashes(forecast, root)
    if not mine or not theirs:
        return
    base, both = file_of(root), sorted(mine.keys() & theirs.keys())
    packages = [package for package in both if mine[package] != theirs[package]]
    if not both:
        yield Cause(
            ABI_MISMATCH,
            f"{root.path} was built by another release of Go than {host.path}",
            ("they have no package in common, or write the names of their hashes in another way",
             "the program would end with: runtime: no plugin module data"),
            f"Build {base} with the Go release that built the program.",
        )  # fmt: skip
    elif packages:
        more = f" and {len(packages) - _MOST} more" if len(packages) > _MOST else ""
        first = packages[0]
        what = f"another version of package {first[1]}"
        if len(packages) > 1:
            what = f"other versions of {len(packages)} packages"
        yield Cause(
            ABI_MISMATCH,
            f"{root.path} was built with {what} than {host.path}",
            ("plugin.Open says: plugin was built with a different version of package …, with one "
             "of them",
             "packages whose hashes differ: "
             + ", ".join(package for _, package in packages[:_MOST]) + more,
             f"{first[1]}: the program has {mine[first].hex()}, {base} has {theirs[first].hex()}"),
            f"Build {base} and the program with the same Go release, the same flags (-trimpath, "
            "-gcflags, tags) and the same versions of all modules.",
        )  # fmt: skip


def _hashes(forecast: Forecast, module: Module) -> dict[tuple[str, str], bytes]:
    """{(how the name is written, package): hash} of what a module exports."""
    tables = forecast.tables.of(module)
    found: dict[tuple[str, str], bytes] = {}
    try:
        names = tables.symbols.indices_by_name if tables else {}
        for name, numbers in names.items():
            match = _HASH.fullmatch(name)
            entry = tables.symbols.entry(numbers[0]) if tables and match else None
            if match is None or entry is None or not entry.shndx or not entry.size:
                continue
            data = module.memory.read(module.bias + entry.value, min(entry.size, _LONGEST))
            found[match[1].decode(), match[2].decode("utf-8", "backslashreplace")] = data
    except Problem:
        return {}  # its symbols cannot be read
    return found
