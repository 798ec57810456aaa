"""A snapshot out of a document that somebody else wrote. Nothing in it is taken on trust."""

from __future__ import annotations

from gdbext.elf.problem import Problem
from gdbext.findings.snapshots.fields import Fields, parse, wrong
from gdbext.findings.snapshots.snapshot import (
    NOWHERE,
    PROPERTIES,
    SCHEMA,
    STATIC_TLS,
    UNKNOWN,
    WORDED,
    ModuleFacts,
    Slots,
    Snapshot,
    ThreadFacts,
    TlsFacts,
)
from gdbext.linker.slots.symbolfacts import DynamicEntry, Symbols

_MOST_MODULES = 20_000
_KINDS = frozenset({"main", "needed", "preloaded", "dlopened", "linker", "vdso"})


def decode_snapshot(data: bytes) -> Snapshot:
    """The snapshot that a JSON text holds; raises Problem in one line for anything else."""
    top = Fields.of("", parse(data))
    schema = top.values.get("schema")
    if schema != SCHEMA:
        raise Problem(_other_schema(schema))
    words = top.texts("words")
    modules = top.items("modules")
    if len(modules) > _MOST_MODULES:
        raise Problem(f"it has {len(modules)} modules, more than {_MOST_MODULES}")
    static = top.part("static_tls")
    return Snapshot(
        top.text("gdbext"),
        top.text("target"),
        top.text("cpu"),
        top.text_or_none("program"),
        [_module(fields, words, len(modules)) for fields in top.parts("modules")],
        None
        if top.get("threads") is None
        else [_thread(fields, len(modules)) for fields in top.parts("threads")],
        {name: static.number_or_none(name) for name in STATIC_TLS},
        top.texts("problems"),
    )


def _other_schema(schema: object) -> str:
    if not isinstance(schema, str):
        return "it is not a snapshot: it has no schema"
    known, _, _ = SCHEMA.rpartition("/")
    if schema.rpartition("/")[0] == known:
        return f"it is a snapshot of another version, {schema[:80]!r}; this gdbext reads {SCHEMA!r}"
    return f"it is not a snapshot: its schema is {schema[:80]!r}, not {SCHEMA!r}"


def _module(fields: Fields, words: list[str], modules: int) -> ModuleFacts:
    symbols, slots = fields.part_or_none("symbols"), fields.part_or_none("slots")
    tls, reasons = fields.part_or_none("tls"), fields.part("reasons")
    properties = {name: fields.simple(name) for name in PROPERTIES}
    if properties["kind"] not in _KINDS:
        raise Problem(f"{fields.where}.kind is none of {' '.join(sorted(_KINDS))}")
    return ModuleFacts(
        fields.number("namespace"),
        fields.text("path"),
        fields.text("name"),
        fields.text_or_none("soname"),
        fields.text_or_none("build_id"),
        fields.text("base"),
        fields.number_or_none("size"),
        properties,
        None if fields.get("dynamic") is None else _dynamic(fields),
        None if symbols is None else _symbols(symbols, words),
        None if slots is None else _slots(slots, words, modules),
        None
        if tls is None
        else TlsFacts(tls.number("size"), tls.number_or_none("align"), tls.text_or_none("storage")),
        {name: reasons.text(name) for name in reasons.values},
    )


def _dynamic(fields: Fields) -> list[DynamicEntry]:
    entries: list[DynamicEntry] = []
    for entry in fields.items("dynamic"):
        pair = type(entry) is list and len(entry) == 2 and type(entry[0]) is str
        if not pair or type(entry[1]) not in (str, int):
            raise wrong(f"an entry of {fields.where}.dynamic", entry, "a tag and its value")
        entries.append((entry[0], entry[1]))
    return entries


def _symbols(fields: Fields, words: list[str]) -> Symbols:
    return Symbols(*_same_length(fields, [
        fields.texts("names"),
        _worded(fields, "versions", words),
        _worded(fields, "kinds", words),
        fields.numbers("sizes"),
        fields.numbers("offsets"),
    ]))  # fmt: skip


def _slots(fields: Fields, words: list[str], modules: int) -> Slots:
    return Slots(*_same_length(fields, [
        fields.numbers("offsets"),
        _worded(fields, "types", words),
        fields.texts("symbols"),
        _worded(fields, "versions", words),
        _worded(fields, "states", words),
        _worded(fields, "verdicts", words),
        fields.numbers("leads", UNKNOWN, modules),
        fields.numbers("targets", NOWHERE),
        _worded(fields, "definitions", words),
    ]))  # fmt: skip


def _worded(fields: Fields, name: str, words: list[str]) -> list[str]:
    assert name in WORDED
    return fields.words(name, words)


def _same_length(fields: Fields, columns: list[list]) -> list[list]:  # type: ignore[type-arg]
    if len(set(map(len, columns))) > 1:
        raise Problem(f"the columns of {fields.where} differ in length")
    return columns


def _thread(fields: Fields, modules: int) -> ThreadFacts:
    module = fields.number("module", NOWHERE)
    if module >= modules:
        raise Problem(f"{fields.where}.module is no module of this snapshot")
    return ThreadFacts(
        fields.text_or_none("name"),
        fields.flag("main"),
        module,
        fields.text_or_none("path"),
        fields.text_or_none("symbol"),
        fields.number_or_none("offset"),
    )
