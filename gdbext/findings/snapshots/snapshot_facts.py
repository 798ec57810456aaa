"""A snapshot, put together from what plug-links, plug-got, plug-tls and plug-threads say."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gdbext.findings.slots.verdicts import UNDEFINED, WEAK
from gdbext.findings.snapshots.snapshot import (
    NOWHERE,
    PROPERTIES,
    STATIC_TLS,
    UNKNOWN,
    ModuleFacts,
    Slots,
    Snapshot,
    ThreadFacts,
    TlsFacts,
    Value,
)
from gdbext.linker.loaded.modules import LINKER
from gdbext.linker.slots.got import BOUND, LAZY
from gdbext.linker.slots.symbolfacts import DynamicEntry, Symbols

Document = Mapping[str, Any]
_MASK = (1 << 64) - 1
_NOBODY = (WEAK, UNDEFINED)


class Tables(NamedTuple):
    """What a module's own tables say; what could not be read is None, and `reason` says why."""

    dynamic: list[DynamicEntry] | None
    symbols: Symbols | None
    reason: str | None


class Origin(NamedTuple):
    """Where a snapshot is from: gdbext's version, GDB's word for the target, the CPU, the path."""

    gdbext: str
    target: str
    cpu: str
    program: str | None


class Others(NamedTuple):
    """The documents of the other commands by their names, None where there is none, and the
    reasons why."""

    got: Document | None
    tls: Document | None
    threads: Document | None
    problems: list[str]


def make_snapshot(
    origin: Origin, links: Document, tables: Sequence[Tables], others: Others
) -> Snapshot:
    """The snapshot. `tables` has an entry for each module, in the order of `links`."""
    entries = [
        (namespace["index"], module)
        for namespace in links["namespaces"]
        for module in namespace["modules"]
    ]
    finder = _Finder(entries)
    slots = _by_path(others.got["modules"] if others.got else [])
    blocks = _tls_by_id(others.tls["modules"] if others.tls else [])
    modules = []
    for index, ((namespace, link), own) in enumerate(zip(entries, tables)):
        key = namespace, link["path"]
        found = slots[key].popleft() if slots[key] else None
        reasons = {} if own.reason is None else {"symbols": own.reason}
        proxy = link["kind"] == LINKER and namespace > 0  # its slots are the real one's
        problem = found["problem"] if found else None if proxy else "they are not known"
        if problem:
            reasons["slots"] = problem
        modules.append(
            ModuleFacts(
                namespace=namespace,
                path=link["path"],
                name=link["name"],
                soname=link["soname"],
                build_id=link["build_id"],
                base=link["base"],
                size=_size(link),
                properties={name: link[name] for name in PROPERTIES},
                dynamic=own.dynamic,
                symbols=own.symbols,
                slots=None if problem else finder.slots(index, found["slots"] if found else ()),
                tls=blocks.get((*key, link["tls_module_id"])),
                reasons=reasons,
            )
        )
    return Snapshot(
        *origin,
        modules,
        None if others.threads is None else list(_threads(others.threads, finder)),
        _static_tls(others.tls),
        [*links["problems"], *others.problems],
    )


def _by_path(modules: Sequence[Document]) -> defaultdict[tuple[int, str], deque[Document]]:
    """The modules of plug-got: those with one path in the order of the chain."""
    found: defaultdict[tuple[int, str], deque[Document]] = defaultdict(deque)
    for module in modules:
        found[module["namespace"], module["path"]].append(module)
    return found


def _tls_by_id(modules: Sequence[Document]) -> dict[tuple[int, str, int | None], TlsFacts]:
    return {
        (m["namespace"], m["path"], m["id"]): TlsFacts(m["size"], m["align"], m["storage"])
        for m in modules
        if m["storage"] is not None
    }


def _size(link: Document) -> int | None:
    if link["start"] is None:
        return None
    return int(link["end"], 16) - int(link["start"], 16)


class _Finder:
    """Finds modules as indices, by address and by path."""

    def __init__(self, entries: Sequence[tuple[int, Document]]) -> None:
        self._ranges = sorted(
            (int(link["start"], 16), int(link["end"], 16), index)
            for index, (_, link) in enumerate(entries)
            if link["start"] is not None
        )
        self._starts = [start for start, _, _ in self._ranges]
        self._bases = [int(link["base"], 16) for _, link in entries]
        self._spaces = [namespace for namespace, _ in entries]
        self._names = [link["path"] for _, link in entries]
        self._paths: dict[tuple[int, str], int] = {}
        self._anywhere: dict[str, int] = {}
        for index, (namespace, link) in enumerate(entries):
            self._paths.setdefault((namespace, link["path"]), index)
            self._anywhere.setdefault(link["path"], index)

    def at(self, address: int) -> int:
        """The module that holds an address."""
        place = bisect_right(self._starts, address) - 1
        if place >= 0:
            _, end, index = self._ranges[place]
            if address < end:
                return index
        return NOWHERE

    def called(self, path: str | None, namespace: int) -> int:
        """The module with a path, in this namespace if there is one."""
        if path is None:
            return NOWHERE
        return self._paths.get((namespace, path), self._anywhere.get(path, NOWHERE))

    def _place(self, address: int) -> tuple[int, int]:
        """(module, bytes from its base)."""
        module = self.at(address)
        return module, (address - self._bases[module]) & _MASK if module >= 0 else NOWHERE

    def slots(self, module: int, slots: Sequence[Document]) -> Slots:
        """The slots of a module in columns."""
        base, namespace = self._bases[module], self._spaces[module]
        columns = Slots(*([] for _ in Slots._fields))
        places: dict[str, tuple[int, int]] = {}
        for slot in slots:
            value, provider = slot["value"], slot["provider"]
            leads, target = NOWHERE, NOWHERE
            if slot["state"] == LAZY:
                leads = self.called(slot["expected"], namespace)
                if leads < 0 and slot["reason"] not in _NOBODY:
                    leads = UNKNOWN
            elif slot["state"] is None or (provider is None and slot["state"] == BOUND):
                leads = UNKNOWN
            elif slot["state"] == BOUND:
                if value not in places:
                    places[value] = self._place(int(value, 16))
                leads, target = places[value]
                if leads < 0 or self._names[leads] != provider:  # as an offset into TLS
                    leads, target = self.called(provider, namespace), NOWHERE
            symbol, definition = slot["symbol"] or "", slot["definition"] or ""
            columns.offsets.append((int(slot["address"], 16) - base) & _MASK)
            columns.types.append(slot["type"])
            columns.symbols.append(symbol)
            columns.versions.append(slot["version"] or "")
            columns.states.append(slot["state"] or "")
            columns.verdicts.append(slot["verdict"])
            columns.leads.append(leads)
            columns.targets.append(target)
            columns.definitions.append("" if definition == symbol else definition)
        return columns


def _threads(threads: Document, finder: _Finder) -> Iterator[ThreadFacts]:
    for thread in threads["threads"]:
        name, start = thread["name"], thread["started_by"]
        if start is None:
            yield ThreadFacts(name, thread["is_main"], NOWHERE, None, None, None)
            continue
        module = NOWHERE if start["unloaded"] else finder.at(int(start["address"], 16))
        offset = None if start["offset"] is None else int(start["offset"], 16) & _MASK
        yield ThreadFacts(name, thread["is_main"], module, start["module"], start["symbol"], offset)


def _static_tls(tls: Document | None) -> dict[str, Value]:
    area = tls["static_tls"] if tls else None
    return {name: area[name] if area else None for name in STATIC_TLS}
