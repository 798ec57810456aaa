"""plug-links: every link_map chain."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gdbext.commands.base import Argument, Command, terminal_width

if TYPE_CHECKING:
    import argparse

    from gdbext.inferior import Inferior
    from gdbext.linker.links import Link
    from gdbext.linker.modules import Linker

_NO_STRINGS = "unknown: its string table is in no memory that can be read"
_WIDE = 132


class LinksFacts(NamedTuple):
    """The linker's state and the links to show."""

    linker: Linker
    links: list[Link]


class PlugLinks(Command):
    """Show what is loaded: every namespace's link_map chain, in order.

    MODULE is any part of a loaded file's path; it shows those modules in full.
    Columns: start, the first mapped address; kind, how the module came in; opens, how many
    dlopen calls hold it; scope, whether its symbols are global; bind, lazy or now. A wide
    terminal shows end, RELRO and build-id as well.
    Marks: D deepbind, N nodelete, R its file was replaced since, X its file was deleted,
    M its file is in memory alone."""

    name = "plug-links"
    schema = "links"
    arguments = (
        Argument("MODULE", "Show these modules alone, in full.", complete="module"),
        Argument("-search", "Say by which rule ld.so found each file."),
    )

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> LinksFacts:
        from gdbext.linker.links import describe_links
        from gdbext.linker.modules import read_linker
        from gdbext.linker.selection import select_modules

        linker = read_linker(inferior)
        modules = select_modules(linker, args.module) if args.module else linker.modules
        # Only a process of this machine has a /proc here; another's pid may be anybody's.
        local_path = inferior.local_path if inferior.target == "native" else None
        cache = _cache_path(local_path) if args.search else None
        links = describe_links(inferior, linker, modules, local_path, cache)
        return LinksFacts(linker, links)

    def document(self, facts: LinksFacts, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.linker.linkmaps import STATES

        return {
            "namespaces": [
                {
                    "index": namespace.index,
                    "r_debug": hex(namespace.r_debug),
                    "state": STATES[namespace.state] if namespace.state < len(STATES) else None,
                    "modules": [
                        _document(link)
                        for link in facts.links
                        if link.module.namespace == namespace.index
                    ],
                }
                for namespace in facts.linker.namespaces
            ],
            "problems": list(facts.linker.problems),
        }

    def text(self, facts: LinksFacts, args: argparse.Namespace) -> Iterator[str]:
        from gdbext.render.printable import count, printable

        yield from (f"Damaged: {printable(problem)}" for problem in facts.linker.problems)
        if args.module:
            for link in facts.links:
                yield from _in_full(link)
            return
        several = len(facts.linker.namespaces) > 1
        for namespace in facts.linker.namespaces:
            links = [link for link in facts.links if link.module.namespace == namespace.index]
            title = f"Namespace {namespace.index}: " if several else ""
            yield f"{title}{count(len(links), 'module')}, in the order of the link_map chain"
            yield from _table(links, args.search)
        yield from _marked(facts.links)


def _cache_path(local_path: Callable[[str], str] | None) -> str:
    """Where this machine has the ld.so.cache that the process's ld.so looked into."""
    path = "/etc/ld.so.cache"
    if local_path is not None:
        return local_path(path)
    import gdb

    sysroot = str(gdb.parameter("sysroot") or "")
    return path if sysroot.startswith("target:") else sysroot.rstrip("/") + path


def _document(link: Link) -> dict[str, Any]:
    from gdbext.render.printable import shown

    module, image = link.module, link.module.image
    document: dict[str, Any] = {
        "path": shown(module.path),
        "name": shown(module.name),
        "link_map": hex(module.map.address),
        "base": hex(module.bias),
        "start": hex(image.start) if image else None,
        "end": hex(image.end) if image else None,
        "dynamic": hex(module.map.l_ld),
        "soname": shown(module.soname) if module.soname is not None else None,
        "kind": module.kind,
        "global": link.is_global,
        "deepbind": link.deepbind,
        "open_count": link.open_count,
        "nodelete": link.nodelete,
        "binding": link.binding,
        "relro": link.relro,
        "build_id": link.build_id,
        "needed": None if module.needed is None else [shown(name) for name in module.needed],
        "needed_by": [shown(path) for path in link.needed_by],
        "opened_by": None,
        "tls_module_id": link.tls_module_id,
        "file": link.on_disk.state,
    }
    if module.needed is None:
        document["needed_reason"] = _NO_STRINGS
    if module.problem:
        document["start_reason"] = shown(module.problem)
    for field, reason in link.reasons.items():
        document[field + "_reason"] = shown(reason)
    if link.search is not None:
        document["search"], document["search_reason"] = link.search[0], shown(link.search[1])
    return document


def _table(links: list[Link], search: bool) -> Iterator[str]:
    from gdbext.render.tables import table

    wide = terminal_width() >= _WIDE
    headers = ["start", "kind", "opens", "scope", "bind", "marks", "module"]
    if wide:
        headers[1:1] = ["end"]
        headers[-2:-1] = ["relro", "marks", "build-id"]
    if search:
        headers[-1:] = ["found by", "module"]
    rows = []
    for link in links:
        module, image = link.module, link.module.image
        row = [
            f"{image.start:#0{18 if wide else 1}x}" if image else "?",
            module.kind,
            _unknown(link.open_count),
            _scope(link.is_global),
            link.binding or "-",
            _marks(link),
            module.path,
        ]
        if wide:
            row[1:1] = [f"{image.end:#018x}" if image else "?"]
            row[-2:-1] = [link.relro or "?", _marks(link), (link.build_id or "-")[:12]]
        if search and link.search:
            row[-1:] = [link.search[0] or "?", module.path]
        rows.append(row)
    _shorten_paths(headers, rows)
    yield from table(headers, rows, right="opens")


def _shorten_paths(headers: list[str], rows: list[list[str]]) -> None:
    """Cut the front of paths that would make a row longer than the terminal is wide."""
    from gdbext.render.printable import printable

    # a column is at least two wider than its header
    others = zip([h + "  " for h in headers[:-1]], *(row[:-1] for row in rows))
    room = max(terminal_width() - 2 - sum(max(map(len, column)) + 2 for column in others), 12)
    for row in rows:
        path = printable(row[-1])
        if len(path) > room:
            row[-1] = "..." + path[3 - room :]


def _in_full(link: Link) -> Iterator[str]:
    from gdbext.render.printable import printable
    from gdbext.render.tables import pairs

    module, image = link.module, link.module.image
    yield printable(module.path)
    rows = [
        ("kind", module.kind + (f", namespace {module.namespace}" if module.namespace else "")),
        ("ld.so's name", module.name or "(empty)"),
        ("soname", module.soname or "-"),
        ("link_map", hex(module.map.address)),
        ("range", f"{image.start:#x} - {image.end:#x}" if image else f"unknown: {module.problem}"),
        ("base", f"{module.bias:#x} (l_addr)"),
        ("dynamic", hex(module.map.l_ld)),
        ("opens", _unknown(link.open_count)),
        ("scope", _scope(link.is_global) + (", deepbind" if link.deepbind else "")),
        ("nodelete", {True: "yes", False: "no", None: "unknown"}[link.nodelete]),
        ("binding", link.binding or link.reasons.get("binding", "unknown")),
        ("relro", link.relro or "unknown"),
        ("build-id", link.build_id or "none"),
        ("TLS module", str(link.tls_module_id or "-")),
        ("file", _FILE_TEXT.get(link.on_disk.state or "") or f"unknown: {link.on_disk.reason}"),
        ("needs", _NO_STRINGS if module.needed is None else " ".join(module.needed) or "-"),
        ("needed by", " ".join(map(os.path.basename, link.needed_by)) or "-"),
        ("opened by", f"unknown: {reason}" if (reason := link.reasons.get("opened_by")) else "-"),
    ]
    if link.search is not None:
        rows.append(("found", f"{link.search[0] or 'unknown'}: {link.search[1]}"))
    yield from pairs(rows)


_FILE_TEXT = {
    "same": "as it was loaded",
    "replaced": "REPLACED on disk since it was loaded; shown from memory",
    "deleted": "DELETED since it was loaded; shown from memory",
    "memory": "in memory alone, no file on disk",
}
_MARKS = {"replaced": "R", "deleted": "X", "memory": "M"}


def _marked(links: list[Link]) -> Iterator[str]:
    """A sentence on each file that is no longer what was loaded."""
    from gdbext.render.printable import printable

    for link in links:
        if link.on_disk.state in ("replaced", "deleted"):
            yield f"{printable(link.module.path)}: {_FILE_TEXT[link.on_disk.state]}"


def _marks(link: Link) -> str:
    marks = ("D" if link.deepbind else "") + ("N" if link.nodelete else "")
    file = "" if link.module.kind == "vdso" else _MARKS.get(link.on_disk.state or "", "")
    return marks + file


def _scope(is_global: bool | None) -> str:
    return {True: "global", False: "local", None: "?"}[is_global]


def _unknown(value: int | None) -> str:
    return "?" if value is None else str(value)
