"""plug-tls: modules with thread-local storage, their blocks, static TLS used and left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gdbext.commands.base import Argument, Command, terminal_width

if TYPE_CHECKING:
    import argparse

    from gdbext.inferior import Inferior
    from gdbext.linker.loaded.modules import Module
    from gdbext.linker.threads.threads import Thread
    from gdbext.linker.tls.dtv import Dtv
    from gdbext.linker.tls.tls import Block, Room, Tls
    from gdbext.linker.tls.tlsmodules import TlsModule
    from gdbext.linker.tls.tlsneeds import Asks

_WIDE = 120
_NO_SEGMENT = "it has no TLS of its own"


class Row(NamedTuple):
    """One module: its TLS (None: it has none of its own) and what it asks for."""

    module: Module
    tls: TlsModule | None
    asks: Asks


class TlsFacts(NamedTuple):
    """What plug-tls shows: `dtv` is the selected thread's, `threads` those of -threads."""

    tls: Tls
    room: Room
    rows: list[Row]
    selected: Thread | None
    dtv: Dtv | None
    threads: Sequence[Thread]

    def block(self, module: TlsModule) -> Block:
        """Where its block is in the selected thread."""
        from gdbext.linker.tls.tls import Block

        if self.selected is None:
            return Block(None, "there is no selected thread")
        return self.tls.block(module, self.selected, self.dtv)


class PlugTls(Command):
    """Show modules with TLS, their blocks, and static TLS used and left.

    MODULE is any part of a loaded file's path; it shows those modules in full.
    Storage: static (each thread has the block at one offset from its thread
    pointer), dynamic (allocated when a thread first uses it), undecided (nothing
    has used it yet); `start` was loaded with the program, `later` took its place
    from what was left. Block: where it is in the selected thread, if anywhere yet.
    Asks: what demands static TLS: `flag` is DF_STATIC_TLS, `IE` counts TPOFF
    relocations (initial-exec), `desc` TLSDESC relocations that were resolved to
    static TLS.
    A library that asks for static TLS can be dlopened only while it fits into what
    is left; dlopen says "cannot allocate memory in static TLS block" otherwise."""

    name = "plug-tls"
    schema = "tls"
    arguments = (
        Argument("MODULE", "Show these modules alone, in full.", complete="module"),
        Argument("-threads", "Show the blocks of every thread."),
    )

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> TlsFacts:
        from gdbext.linker.loaded.modules import read_linker
        from gdbext.linker.loaded.selection import select_modules
        from gdbext.linker.tls.tls import read_room, read_tls

        linker = read_linker(inferior)
        tls = read_tls(inferior, inferior.arch, linker, inferior.tables)
        chosen = select_modules(linker, args.module) if args.module else linker.modules
        owned = {row.module.map.address: row for row in tls.modules}
        rows = []
        for module in chosen:
            key = module.map.address
            asks = tls.asks.get(key)
            own = owned.get(key)
            if asks is not None and (own is not None or args.module or asks.flag or asks.needs):
                rows.append(Row(module, own, asks))
        selected = inferior.selected_thread()
        dtv = tls.dtv(selected) if selected else None
        room = read_room(tls, _lazily(inferior, selected))
        return TlsFacts(tls, room, rows, selected, dtv, inferior.threads() if args.threads else ())

    def document(self, facts: TlsFacts, args: argparse.Namespace) -> dict[str, Any]:
        tls = facts.tls
        document: dict[str, Any] = {
            "thread": facts.selected.number if facts.selected else None,
            "generation": tls.state.generation if tls.state else None,
            "modules": [_module_document(facts, row) for row in facts.rows],
            "static_tls": _room_document(facts.room),
            "static_tls_reason": facts.room.reason,
        }
        if args.threads:
            shown = [row.tls for row in facts.rows if row.tls is not None]
            document["threads"] = [_thread_document(tls, shown, t) for t in facts.threads]
        return document

    def text(self, facts: TlsFacts, args: argparse.Namespace) -> Iterator[str]:
        from gdbext.findings.tls import describe_room
        from gdbext.linker.tls.tls import NO_POINTER
        from gdbext.render.fit import wrapped

        if args.module:
            for row in facts.rows:
                yield from _in_full(facts, row)
        else:
            yield from _table(facts)
        if facts.selected and not facts.selected.thread_pointer:
            yield f"Blocks: unknown: {NO_POINTER}"
        yield from wrapped("Static TLS: ", describe_room(facts.tls, facts.room), terminal_width())
        if args.threads:
            yield from _threads_text(facts)


def _lazily(inferior: Inferior, selected: Thread | None) -> Iterator[Thread]:
    """The selected thread, then all: hardly ever is another one needed."""
    if selected is not None:
        yield selected
    yield from inferior.threads()


def _module_document(facts: TlsFacts, row: Row) -> dict[str, Any]:
    from gdbext.findings.tls import signed
    from gdbext.render.printable import shown

    own, asks = row.tls, row.asks
    document: dict[str, Any] = {
        "path": shown(row.module.path),
        "namespace": row.module.namespace,
        "kind": row.module.kind,
        "id": own.id if own else None,
        "size": own.size if own else 0,
        "file_size": own.file_size if own else 0,
        "align": own.align if own else None,
        "storage": own.storage if own else None,
        "tp_offset": signed(own.offset) if own and own.offset is not None else None,
        "at_start": own.at_start if own else None,
        "flag": asks.flag,
        "needs": [
            {
                "kind": need.kind.lower(),
                "symbol": need.symbol,
                "owner": shown(need.owner.path) if need.owner else None,
                "count": need.times,
            }
            for need in asks.needs
        ],
        "dynamic_descriptors": asks.descriptors,
        "needs_reason": shown(asks.problem) if asks.problem else None,
        "asked_by": [
            {"kind": kind.lower(), "path": shown(module.path)}
            for kind, module in facts.tls.asked_by(row.module)
        ],
    }
    if own is None:
        return {**document, "block": None, "block_reason": _NO_SEGMENT}
    block = facts.block(own)
    document["block"] = hex(block.start) if block.start is not None else None
    document["block_reason"] = block.reason
    return document


def _room_document(room: Room) -> dict[str, Any] | None:
    area = room.area
    if area is None:
        return None
    return {
        "size": area.size,
        "align": area.align,
        "control_block": area.control,
        "used": area.used,
        "used_at_start": room.start,
        "left": area.left,
        "surplus": area.surplus,
        "optional_left": None if area.optional is None else min(area.optional, area.left),
    }


def _thread_document(tls: Tls, modules: Sequence[TlsModule], thread: Thread) -> dict[str, Any]:
    dtv = tls.dtv(thread)
    blocks = []
    for module in modules:
        start = tls.block(module, thread, dtv).start
        if start is not None:
            blocks.append({"id": module.id, "start": hex(start)})
    pointer = thread.thread_pointer
    return {
        "thread": thread.number,
        "lwp": thread.lwp,
        "pointer": hex(pointer) if pointer else None,
        "generation": dtv.generation if dtv else None,
        "blocks": blocks,
    }


def _table(facts: TlsFacts) -> Iterator[str]:
    from gdbext.findings.tls import abbreviate_asks, describe_storage, signed
    from gdbext.render.fit import fitted
    from gdbext.render.printable import count, printable
    from gdbext.render.tables import table

    own = [row for row in facts.rows if row.tls is not None]
    place = f"; blocks of thread {facts.selected.number}" if facts.selected else ""
    others = len(facts.rows) - len(own)
    asking = "asks" if others == 1 else "ask"
    more = f", {others} more {asking} for static TLS" if others else ""
    if facts.tls.unread:
        more += f", unknown of {count(facts.tls.unread, 'module')}"
    yield f"{count(len(own), 'module')} with TLS{more}{place}"
    if not facts.rows:
        return
    wide = terminal_width() >= _WIDE

    def block(row: Row) -> str:
        start = facts.block(row.tls).start if row.tls else None
        return hex(start) if start is not None else "-"

    def offset(row: Row) -> str:
        return signed(row.tls.offset) if row.tls and row.tls.offset is not None else "-"

    def name(row: Row) -> str:
        path = row.module.path if wide else row.module.file_name
        return printable(path) + (f" [{row.module.namespace}]" if row.module.namespace else "")

    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("id", lambda row: "-" if row.tls is None else str(row.tls.id or "?")),
        ("bytes", lambda row: str(row.tls.size) if row.tls else "-"),
        ("storage", lambda row: describe_storage(row.tls)),
        ("block", block),
        ("asks", lambda row: abbreviate_asks(row.asks)),
        ("module", name),
    ]
    if wide:
        columns.insert(2, ("align", lambda row: str(row.tls.align) if row.tls else "-"))
        columns.insert(4, ("offset", offset))
    rows = [[cell(row) for _, cell in columns] for row in facts.rows]
    headers = [header for header, _ in columns]
    rows = fitted(headers, rows, terminal_width(), (len(headers) - 1,))
    yield from table(headers, rows, right="id bytes align offset")


def _in_full(facts: TlsFacts, row: Row) -> Iterator[str]:
    from gdbext.findings.tls import describe_asks, explain_static
    from gdbext.render.fit import wrapped
    from gdbext.render.printable import printable

    own = row.tls
    namespace = f" (namespace {row.module.namespace})" if row.module.namespace else ""
    yield printable(row.module.path) + namespace
    rows = _own_pairs(facts, own) if own else [("TLS", "none of its own")]
    rows.append(("asks", describe_asks(row.asks)))
    rows.append(("why static", explain_static(facts.tls, own) if own else ""))
    for name, value in rows:
        if value:
            yield from wrapped(f"  {name:<11}", printable(value), terminal_width())


def _own_pairs(facts: TlsFacts, own: TlsModule) -> list[tuple[str, str]]:
    from gdbext.findings.tls import describe_storage, signed

    block = facts.block(own)
    number = facts.selected.number if facts.selected else 0
    where = f"{block.start:#x} in thread {number}" if block.start is not None else block.reason
    return [
        ("TLS", f"{own.size} bytes, {own.file_size} of them initialised, aligned to {own.align}"),
        ("module id", str(own.id) if own.id is not None else "unknown"),
        ("storage", describe_storage(own)),
        ("offset", f"{signed(own.offset)} from the thread pointer" if own.offset else ""),
        ("block", where or "unknown"),
    ]


def _threads_text(facts: TlsFacts) -> Iterator[str]:
    from gdbext.render.printable import count
    from gdbext.render.tables import table

    tls = facts.tls
    yield count(len(facts.threads), "thread")
    rows = []
    for thread in facts.threads:
        dtv = tls.dtv(thread)
        for row in facts.rows:
            if row.tls is None:
                continue
            start = tls.block(row.tls, thread, dtv).start
            name = row.module.file_name
            place = hex(start) if start is not None else "-"
            rows.append([str(thread.number), str(thread.lwp), str(row.tls.id or "?"), place, name])
    if rows:
        yield from table(["thread", "lwp", "id", "block", "module"], rows, right="thread lwp id")
