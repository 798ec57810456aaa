"""The differences between two snapshots as JSON has them; text and page are made of this."""

from __future__ import annotations

from typing import Any

from gdbext.findings.snapshots.differences import Change, Differences, ModuleChange
from gdbext.findings.snapshots.snapshot import ModuleFacts, Snapshot

SCHEMA = "gdbext/diff/1"


def to_document(before: Snapshot, after: Snapshot, found: Differences) -> dict[str, Any]:
    """Everything but the schema key; names of files are for the caller to add."""
    return {
        "count": found.count,
        "before": _summary(before),
        "after": _summary(after),
        "changes": [change._asdict() for change in found.changes],
        "added": [_module(module) for module in found.added],
        "gone": [_module(module) for module in found.gone],
        "changed": [_changed(module) for module in found.changed],
        "order": [
            {
                "namespace": row.namespace,
                "place": row.place,
                "before": row.before.path,
                "after": row.after.path,
            }
            for row in found.order
        ],
        "symbols": [
            {
                **_where(row.module),
                "added": row.added,
                "removed": row.removed,
                "changed": [change._asdict() for change in row.changed],
                "imports_added": row.imports_added,
                "imports_removed": row.imports_removed,
            }
            for row in found.symbols
        ],
        "providers": [
            {
                **_where(row.module),
                "symbol": row.symbol,
                "slots": row.slots,
                "before": [target._asdict() for target in row.before],
                "after": [target._asdict() for target in row.after],
            }
            for row in found.providers
        ],
        "verdicts": [
            {
                **_where(row.module),
                "symbol": row.symbol,
                "type": row.type,
                "offset": None if row.offset is None else hex(row.offset),
                "before": row.before,
                "after": row.after,
                "leads": row.leads._asdict(),
            }
            for row in found.verdicts
        ],
        "threads": [row._asdict() for row in found.threads],
        "tls": [
            {"path": row.module.path if row.module else None, **row.change._asdict()}
            for row in found.tls
        ],
        "resolved": found.resolved,
        "unknown": found.unknown,
    }


def _summary(snapshot: Snapshot) -> dict[str, Any]:
    tables = [module.symbols for module in snapshot.modules if module.symbols is not None]
    slots = [module.slots for module in snapshot.modules if module.slots is not None]
    return {
        "gdbext": snapshot.gdbext,
        "target": snapshot.target,
        "cpu": snapshot.cpu,
        "program": snapshot.program,
        "modules": len(snapshot.modules),
        "symbols": sum(len(table.names) for table in tables),
        "slots": sum(len(table.offsets) for table in slots),
        "threads": None if snapshot.threads is None else len(snapshot.threads),
    }


def _where(module: ModuleFacts) -> dict[str, Any]:
    return {"path": module.path, "namespace": module.namespace}


def _module(module: ModuleFacts) -> dict[str, Any]:
    return {**_where(module), "kind": module.kind, "build_id": module.build_id}


def _changed(module: ModuleChange) -> dict[str, Any]:
    builds = Change("build_id", module.before.build_id, module.after.build_id)
    paths = Change("path", module.before.path, module.after.path)
    return {
        **_where(module.after),
        "replaced": _pair(builds) if module.replaced else None,
        "moved": _pair(paths) if module.moved else None,
        "properties": [change._asdict() for change in module.changes],
    }


def _pair(change: Change) -> dict[str, Any]:
    return {"before": change.before, "after": change.after}
