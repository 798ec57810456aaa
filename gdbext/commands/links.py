"""plug-links: every link_map chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gdbext.commands.base import Argument, Command, terminal_width

if TYPE_CHECKING:
    import argparse

    from gdbext.inferior import Inferior
    from gdbext.linker.loaded.modules import Linker
    from gdbext.linker.needs.links import Link

_NO_STRINGS = "unknown: its string table is in no memory that can be read"
_WIDE = 132


class LinksFacts(NamedTuple):
    """The linker's state and the links to show."""

    linker: Linker
    links: list[Link]


class PlugLinks(Command):
    """Show what is loaded: every namespace's link_map chain, in order.

    MODULE is any part of a loaded file's path; it shows those modules in full.
    Columns: start, the first mapped address; kind, how the module came in; opens,
    how many dlopen calls hold it; scope, whether its symbols are global; bind, lazy
    or now. A wide terminal shows end, RELRO and build-id as well.
    Marks: D deepbind, N nodelete, R its file was replaced since, X its file was
    deleted, M its file is in memory alone."""

    name = "plug-links"
    schema = "links"
    arguments = (
        Argument("MODULE", "Show these modules alone, in full.", complete="module"),
        Argument("-search", "Say by which rule ld.so found each file."),
    )

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> LinksFacts:
        from gdbext.inferior.files import open_searches
        from gdbext.linker.loaded.modules import read_linker
        from gdbext.linker.loaded.selection import select_modules
        from gdbext.linker.needs.links import describe_links

        linker = read_linker(inferior)
        modules = select_modules(linker, args.module) if args.module else linker.modules
        # Only a process of this machine has a /proc here; another's pid may be anybody's.
        local_path = inferior.local_path if inferior.target == "native" else None
        searches = open_searches(inferior, linker) if args.search else None
        links = describe_links(inferior, linker, modules, local_path, searches)
        return LinksFacts(linker, links)

    def document(self, facts: LinksFacts, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.linker.loaded.linkmaps import STATES

        return {
            "namespaces": [
                {
                    "index": namespace.index,
                    "r_debug": hex(namespace.r_debug),
                    "state": STATES[namespace.state] if namespace.state < len(STATES) else None,
                    "modules": [
                        _document(facts.linker, link)
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
                yield from _in_full(facts.linker, link)
            return
        several = len(facts.linker.namespaces) > 1
        for namespace in facts.linker.namespaces:
            links = [link for link in facts.links if link.module.namespace == namespace.index]
            title = f"Namespace {namespace.index}: " if several else ""
            yield f"{title}{count(len(links), 'module')}, in the order of the link_map chain"
            yield from links_table(links, args.search)
        yield from _marked(facts.links)


def _document(linker: Linker, link: Link) -> dict[str, Any]:
    from gdbext.render.printable import shown

    module, (start, end) = link.module, link.module.span or (None, None)
    document: dict[str, Any] = {
        "path": shown(module.path),
        "name": shown(module.name),
        "link_map": hex(module.map.address),
        "base": hex(module.bias),
        "start": hex(start) if start is not None else None,
        "end": hex(end) if end is not None else None,
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
        "needed_by": [shown(m.path) for m in linker.needed_by(module)],
        "opened_by": None,
        "tls_module_id": link.tls_module_id,
        "file": link.on_disk.state,
    }
    if module.needed is None:
        document["needed_reason"] = _NO_STRINGS
    if module.problem and start is None:
        document["start_reason"] = shown(module.problem)
    for field, reason in link.reasons.items():
        document[field + "_reason"] = shown(reason)
    if link.search is not None:
        if link.search.opener is not None:
            document["opened_by"] = shown(link.search.opener.path)
            del document["opened_by_reason"]
        document["search"], document["search_reason"] = link.search.rule, shown(link.search.text)
    return document


def links_table(links: list[Link], search: bool = False, quick: bool = False) -> Iterator[str]:
    """One line for each module; `search` adds by which rule its file was found; `quick` as for
    table()."""
    from gdbext.render.fit import fitting_path
    from gdbext.render.printable import printable
    from gdbext.render.tables import table

    wide = terminal_width() >= _WIDE
    digits = 18 if wide else 1
    columns: list[tuple[str, Callable[[Link], str]]] = [
        ("start", lambda link: _hex(_range(link)[0], digits)),
        ("kind", lambda link: link.module.kind),
        ("opens", lambda link: _unknown(link.open_count)),
    ]
    if wide or not search:  # a narrow line has no room for both
        columns.append(("scope", lambda link: _scope(link.is_global)))
        columns.append(("bind", lambda link: link.binding or "-"))
    if wide:
        columns.insert(1, ("end", lambda link: _hex(_range(link)[1], digits)))
        columns.append(("relro", lambda link: link.relro or "?"))
        columns.append(("build-id", lambda link: (link.build_id or "-")[:12]))
    if any(map(_marks, links)):
        columns.append(("marks", _marks))
    if search:
        columns.append(("found by", lambda link: (link.search and link.search.rule) or "?"))
    headers = [header for header, _ in columns]
    rows = [[cell(link) for _, cell in columns] for link in links]
    sizes = [max(map(len, column)) for column in zip(headers, *rows)]
    room = terminal_width() - 2 - sum(size + 2 for size in sizes)
    for row, link in zip(rows, links):
        row.append(fitting_path(printable(link.module.path), room))
    yield from table([*headers, "module"], rows, right="opens", quick=quick)


def _range(link: Link) -> tuple[int | None, int | None]:
    return link.module.span or (None, None)


def _hex(value: int | None, digits: int) -> str:
    return "?" if value is None else f"{value:#0{digits}x}"


def _in_full(linker: Linker, link: Link) -> Iterator[str]:
    from gdbext.render.printable import printable
    from gdbext.render.tables import pairs

    module, span = link.module, link.module.span
    yield printable(module.path)
    rows = [
        ("kind", module.kind + (f", namespace {module.namespace}" if module.namespace else "")),
        ("ld.so's name", module.name or "(empty)"),
        ("soname", module.soname or "-"),
        ("link_map", hex(module.map.address)),
        ("range", f"{span[0]:#x} - {span[1]:#x}" if span else f"unknown: {module.problem}"),
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
        ("needed by", " ".join(m.file_name for m in linker.needed_by(module)) or "-"),
        ("opened by", _opener(link)),
    ]
    if link.search is not None:
        rows.append(("found", f"{link.search.rule or 'unknown'}: {link.search.text}"))
    yield from pairs(rows, terminal_width())


def _opener(link: Link) -> str:
    if link.search is not None and link.search.opener is not None:
        return f"{link.search.opener.path}, the only one whose RUNPATH leads there"
    reason = link.reasons.get("opened_by")
    return f"unknown: {reason}" if reason else "-"


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
