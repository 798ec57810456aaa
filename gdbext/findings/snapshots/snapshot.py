"""A snapshot: the linking state of a process at one moment, everything relative to modules.

Two snapshots of different processes, or of different machines, can be compared: no address in
one is compared with an address in the other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple, Union

from gdbext.linker.slots.symbolfacts import DynamicEntry, Symbols

SCHEMA = "gdbext/snapshot/1"
NOWHERE = -1  # where a slot leads that leads to no module, and a target that is no place in one
UNKNOWN = -2  # where a slot leads of which that is not known, or that holds a program's own data
Value = Union[str, int, bool, None]


class Slots(NamedTuple):
    """The slots of a module, a row in each column.

    `offsets` are from the module's base. `leads` says to which module, as an index into the
    snapshot's, the slot leads, and for a lazy slot to which one ld.so's lookup would, or NOWHERE or
    UNKNOWN; `targets` is where in that module, in bytes from its base, or NOWHERE. `definitions`
    names the target, empty where it is the slot's own symbol or has no name. States are empty where
    they are not known.
    """

    offsets: list[int]
    types: list[str]
    symbols: list[str]
    versions: list[str]
    states: list[str]
    verdicts: list[str]
    leads: list[int]
    targets: list[int]
    definitions: list[str]


class TlsFacts(NamedTuple):
    """The thread-local storage of a module; sizes in bytes."""

    size: int
    align: int | None
    storage: str | None


@dataclass(frozen=True)
class ModuleFacts:
    """One link_map entry. `base` is for a reader alone. What could not be read is None, and
    `reasons` says why, by the field's name.

    `properties` are plug-links' words on it: kind, global, deepbind, open_count, nodelete, binding,
    relro; `size` is that of its image in memory, in bytes.
    """

    namespace: int
    path: str
    name: str
    soname: str | None
    build_id: str | None
    base: str
    size: int | None
    properties: dict[str, Value]
    dynamic: list[DynamicEntry] | None
    symbols: Symbols | None
    slots: Slots | None
    tls: TlsFacts | None
    reasons: dict[str, str]

    @property
    def kind(self) -> str:
        """How it came in, as plug-links has it."""
        return str(self.properties["kind"])


class ThreadFacts(NamedTuple):
    """A thread, and where it started: `module` is an index, NOWHERE for what is not loaded;
    `symbol` and `offset` (bytes from the module's base) are None where they are not known."""

    name: str | None
    main: bool
    module: int
    path: str | None
    symbol: str | None
    offset: int | None


@dataclass(frozen=True)
class Snapshot:
    """`threads` is None where they are not known; `static_tls` has the sizes of the static TLS
    area in bytes, by plug-tls's words; `problems` says what could not be read."""

    gdbext: str
    target: str
    cpu: str
    program: str | None
    modules: list[ModuleFacts]
    threads: list[ThreadFacts] | None
    static_tls: dict[str, Value]
    problems: list[str]


PROPERTIES = ("kind", "global", "deepbind", "open_count", "nodelete", "binding", "relro")
STATIC_TLS = ("size", "used", "left")


def snapshot_json(snapshot: Snapshot) -> str:
    """The snapshot as a file has it: one line, without spaces between values."""
    return json.dumps(to_document(snapshot), separators=(",", ":")) + "\n"


def to_document(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as JSON has it: words that come again and again are numbers into `words`."""
    words: dict[str, int] = {"": 0}
    modules = [_module(module, words) for module in snapshot.modules]
    return {
        "schema": SCHEMA,
        "gdbext": snapshot.gdbext,
        "target": snapshot.target,
        "cpu": snapshot.cpu,
        "program": snapshot.program,
        "words": list(words),
        "modules": modules,
        "threads": None
        if snapshot.threads is None
        else [thread._asdict() for thread in snapshot.threads],
        "static_tls": snapshot.static_tls,
        "problems": snapshot.problems,
    }


def _module(module: ModuleFacts, words: dict[str, int]) -> dict[str, Any]:
    symbols, slots = module.symbols, module.slots
    return {
        "namespace": module.namespace,
        "path": module.path,
        "name": module.name,
        "soname": module.soname,
        "build_id": module.build_id,
        "base": module.base,
        "size": module.size,
        **module.properties,
        "dynamic": None if module.dynamic is None else [list(entry) for entry in module.dynamic],
        "symbols": None if symbols is None else _columns(symbols._asdict(), words),
        "slots": None if slots is None else _columns(slots._asdict(), words),
        "tls": None if module.tls is None else module.tls._asdict(),
        "reasons": module.reasons,
    }


# Columns whose few words come again and again; names hardly do.
WORDED = frozenset({"versions", "kinds", "types", "states", "verdicts", "definitions"})


def _columns(columns: dict[str, list[Any]], words: dict[str, int]) -> dict[str, list[Any]]:
    return {
        name: [words.setdefault(word, len(words)) for word in column] if name in WORDED else column
        for name, column in columns.items()
    }
