"""What a bundle holds: the report and all facts, as files whose names are gdbext's own."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import gdb

from gdbext import __version__
from gdbext.commands.base import Part
from gdbext.commands.output import output_file
from gdbext.commands.snapshot import take_snapshot
from gdbext.elf.problem import Problem
from gdbext.findings.snapshots.snapshot import Snapshot, snapshot_json
from gdbext.findings.snapshots.snapshot_file import ENTRY
from gdbext.linker.process.environment import initial_arguments, initial_environment
from gdbext.render.archive import write_archive
from gdbext.render.printable import shown

if TYPE_CHECKING:
    from gdbext.inferior import Inferior
    from gdbext.linker.needs.links import Link

SCHEMA = "gdbext/bundle/1"
_CHUNK = 1 << 20
_NO_STACK = "the initial stack cannot be read"


class BundleFacts(NamedTuple):
    """What a bundle holds beside the report: `entries` by their names, and, for what it cannot
    hold, the reason why."""

    entries: dict[str, bytes]
    reasons: dict[str, str]
    arguments: bool
    environment: bool


def read_bundle(
    inferior: Inferior, parts: Mapping[str, Part], arguments: bool, environment: bool
) -> BundleFacts:
    """Gather it; `parts` are those of a report, of plug-got those of every slot. The program's
    arguments and environment are read where they are asked for."""
    entries: dict[str, bytes] = {}
    reasons: dict[str, str] = {}
    for key in ("links", "got"):
        document = parts[key].document()
        if document is None:
            reasons[f"{key}.json"] = shown(parts[key].problem or "it is not known")
        else:
            entries[f"{key}.json"] = _encoded(document)
    snapshot = _snapshot(inferior, parts)
    if isinstance(snapshot, Snapshot):
        entries[ENTRY] = snapshot_json(snapshot).encode()
    else:
        reasons[ENTRY] = shown(str(snapshot))
    links = parts["links"].facts
    if links is not None:
        entries["files.json"] = _encoded([_file(inferior, link) for link in links.links])
    for wanted, name, read in (
        (arguments, "arguments.json", initial_arguments),
        (environment, "environment.json", initial_environment),
    ):
        found = read(inferior) if wanted else None
        if found is not None:
            entries[name] = _encoded(found)
        elif wanted:
            reasons[name] = _NO_STACK
    return BundleFacts(entries, reasons, arguments, environment)


def _snapshot(inferior: Inferior, parts: Mapping[str, Part]) -> Snapshot | Problem:
    try:
        return take_snapshot(inferior, parts)
    except Problem as problem:
        return problem


def _file(inferior: Inferior, link: Link) -> dict[str, Any]:
    """A module's file: its hash where it is here and the one that was loaded."""
    module = link.module
    file = inferior.tables.file_of(module)
    digest = None
    if file is not None:
        digest = hashlib.sha256()
        for start in range(0, len(file.data), _CHUNK):
            digest.update(file.data[start : start + _CHUNK])
    return {
        "path": shown(module.path),
        "namespace": module.namespace,
        "build_id": link.build_id,
        "state": link.on_disk.state,
        "size": len(file.data) if file is not None else None,
        "sha256": digest.hexdigest() if digest is not None else None,
    }


class Packed(NamedTuple):
    """A bundle to be written: its manifest, and all entries by their names."""

    manifest: dict[str, Any]
    entries: dict[str, bytes]


def pack(report: Mapping[str, bytes], facts: BundleFacts) -> Packed:
    """The report's own entries and the others, with a manifest of them all and what made them."""
    entries = {**report, **facts.entries}
    manifest = {
        "schema": SCHEMA,
        "gdbext": __version__,
        "gdb": gdb.VERSION,
        "python": platform.python_version(),
        "arguments": facts.arguments,
        "environment": facts.environment,
        "entries": list(_listed(entries)),
        "missing": [{"name": name, "reason": text} for name, text in sorted(facts.reasons.items())],
    }
    return Packed(manifest, {**entries, "manifest.json": _encoded(manifest)})


def write_bundle(path: str, packed: Packed) -> None:
    """Write the archive whole or not at all; raises Problem."""
    with output_file(path) as file:
        write_archive(file, packed.entries)


def _listed(entries: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    for name in sorted(entries):
        data = entries[name]
        digest = hashlib.sha256(data).hexdigest()
        yield {"name": name, "size": len(data), "sha256": digest}


def _encoded(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
