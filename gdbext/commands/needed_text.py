"""What plug-needed prints: facts to lines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gdbext.commands.base import terminal_width

if TYPE_CHECKING:
    from gdbext.findings.needs import Needs
    from gdbext.linker.loaded.modules import Module
    from gdbext.linker.needs.dependencies import Cycle, Root, Way
    from gdbext.linker.needs.versions import Required
    from gdbext.render.tree import Child, Row

_DEEPEST = 16  # levels that are indented
_MOST_WAYS = 12
_MOST_ABOVE = 12  # references on one line, unless a module is named
_NAMES = 46  # columns of the tree at most, where the terminal is narrow
_NO_ROOM = 19  # columns in which no folder can be told
_KEPT = {
    "program": "the program",
    "preloaded": "preloaded",
    "nodelete": "not open, kept by NODELETE",
    "relocation": "not open, kept by a relocation",
    "unknown": "not open, why kept is unknown",
}


def lines(facts: Needs) -> Iterator[str]:
    """Everything that there is to say."""
    from gdbext.render.printable import printable

    yield from (f"Damaged: {printable(problem)}" for problem in facts.linker.problems)
    yield from _wrapped("", _summary(facts))
    yield from _tree(facts)
    for module in facts.chosen:
        yield from _kept(facts, module)
        yield from _versions_in_full(facts, module)
    yield from _wrong_versions(facts)
    for cycle in facts.dependencies.cycles:
        if facts.concerns(cycle.modules):
            yield from _paragraph("Cycle", _cycle_text(cycle), ())
    for drift in facts.drift:
        if facts.concerns(drift.modules):
            yield from _paragraph("Drift", drift.text, drift.evidence)


def _summary(facts: Needs) -> str:
    from gdbext.render.printable import count

    cycles = [c for c in facts.dependencies.cycles if facts.concerns(c.modules)]
    drift = [d for d in facts.drift if facts.concerns(d.modules)]
    wrong = sum(len(facts.versions[m.map.address].wrong) for m in facts.shown)
    unread = sum(facts.dependencies.needs[m.map.address] is None for m in facts.shown)
    words = [
        count(len(cycles), "cycle") if cycles else "no cycle",
        f"{count(wrong, 'version')} not provided" if wrong else "every version provided",
        f"{count(len(drift), 'case')} of drift" if drift else "no drift",
    ]
    text = f"{count(len(facts.shown), 'module')}: {', '.join(words)}"
    if unread:
        text += f", as far as is known: what is needed is unknown of {count(unread, 'module')}"
    return text


def _tree(facts: Needs) -> Iterator[str]:
    """The name, the rule by which the file was found, its folder."""
    from gdbext.render.fit import fitting_path
    from gdbext.render.printable import printable
    from gdbext.render.tree import Child, tree_rows

    roots = facts.dependencies.roots
    if facts.chosen:
        tops = [Child(m.map.address, m.file_name) for m in facts.chosen]
    else:
        tops = [Child(r.module.map.address, _root_label(facts, r)) for r in roots]
    rows = list(tree_rows(tops, lambda key: _children(facts, key)))
    texts = [printable(_row_text(row, bool(facts.chosen))) for row in rows]
    width = terminal_width()
    fitting = [len(text) for text, row in zip(texts, rows) if row.key is not None]
    size = min(max(fitting, default=0), max(_NAMES, width - 60))
    rules = [facts.found[row.key].rule or "?" for row in rows if row.key is not None]
    room = max(map(len, rules), default=0)
    several = not facts.chosen and len(facts.linker.namespaces) > 1
    namespace = None
    for row, text in zip(rows, texts):
        if row.key is None:
            yield from _above(text, row, width)
            continue
        module = facts.linker.by_map[row.key]
        if several and row.depth == 0 and module.namespace != namespace:
            namespace = module.namespace
            yield f"Namespace {namespace}"
        rule = facts.found[row.key].rule or "?"
        folder = printable(os.path.dirname(module.path))
        if row.state == "cycle":
            yield "  " + text
            continue
        head = f"  {text:<{size}}  {rule:<{room}}  "
        room_left = width - len(head)
        yield (head + (fitting_path(folder, room_left) if room_left > _NO_ROOM else "")).rstrip()


def _above(text: str, row: Row, width: int) -> Iterator[str]:
    from gdbext.render.fit import wrapped

    indent = "  " * (min(row.depth, _DEEPEST) + 1)
    yield from wrapped(indent, text.strip(), width)


def _row_text(row: Row, full: bool) -> str:
    deep = f"[{row.depth}] " if row.depth > _DEEPEST else ""
    labels = row.labels if full else row.labels[:_MOST_ABOVE]
    text = "  " * min(row.depth, _DEEPEST) + deep + ", ".join(labels)
    if len(labels) < len(row.labels):
        text += f" and {len(row.labels) - len(labels)} more"
    return text + {"new": "", "above": " (above)", "cycle": " (above: a cycle)"}.get(
        row.state, " (not loaded)"
    )


def _children(facts: Needs, key: int) -> Sequence[Child]:
    from gdbext.render.tree import Child

    found = [
        Child(need.target.map.address, _needed_label(need.name, need.target))
        if need.target
        else Child(None, need.name)
        for need in facts.dependencies.needs[key] or ()
    ]
    module = facts.linker.by_map[key]
    bound = facts.dependencies.bound(module)
    return [*found, *(Child(m.map.address, f"+ {m.file_name}") for m in bound)]


def _needed_label(name: str, module: Module) -> str:
    """The needed name; with the file's where that is another one."""
    file = module.file_name
    return file if name in (file, module.name) else f"{name} => {file}"


def _root_label(facts: Needs, root: Root) -> str:
    module = root.module
    if root.why == "program":
        return module.file_name
    if root.why != "dlopened":
        return f"{module.file_name} ({_KEPT[root.why]})"
    private = module.private
    count = f", open count {private.open_count}" if private and private.open_count != 1 else ""
    opener = facts.openers.get(module.map.address)
    by = f" by {opener.module.file_name}" if opener and opener.module else ""
    return f"{module.file_name} (dlopened{by}{count})"


def _kept(facts: Needs, module: Module) -> Iterator[str]:
    """A way from each root that leads there."""
    from gdbext.render.printable import printable

    ways = facts.dependencies.ways_to(module)
    yield f"{printable(module.file_name)} is there because of"
    for way in ways[:_MOST_WAYS]:
        text = _way_text(facts, way)
        yield from _wrapped("  ", printable(text))
    if len(ways) > _MOST_WAYS:
        yield f"  and {len(ways) - _MOST_WAYS} more"
    if not ways:
        yield "  nothing that is known: no root leads to it"


def _way_text(facts: Needs, way: Way) -> str:
    text = _root_label(facts, way.root)
    if way.root.why == "program":
        text += " (the program)"
    for kind, module in way.steps:
        text += (" -> " if kind == "needed" else " -> + ") + module.file_name
    return text


def _versions_in_full(facts: Needs, module: Module) -> Iterator[str]:
    from gdbext.render.printable import printable

    versions = facts.versions[module.map.address]
    if versions.required is None or versions.defined is None:
        yield "  its versions are unknown: their records are in no memory that can be read"
        return
    if versions.required or versions.defined:
        yield f"Versions of {printable(module.file_name)}"
    by_file: dict[str, list[str]] = {}
    for required in versions.required:
        by_file.setdefault(required.requirement.file, []).append(_version(required))
    for file, names in by_file.items():
        yield from _wrapped(f"  requires of {printable(file)}: ", printable(", ".join(names)))
    if versions.defined:
        yield from _wrapped("  provides: ", printable(", ".join(versions.defined)))


def _version(required: Required) -> str:
    return required.requirement.version + (" (weak)" if required.requirement.weak else "")


def _state(required: Required) -> str:
    path = required.provider.path if required.provider else ""
    return {
        "provided": f"provided by {path}",
        "missing": f"MISSING in {path}",
        "unversioned": f"not checked: {path} defines no versions",
        "not loaded": "MISSING: no loaded file has that name",
        "unknown": f"unknown: the records of {path} cannot be read",
    }[required.state]


def _wrong_versions(facts: Needs) -> Iterator[str]:
    for module in facts.shown:
        for required in facts.versions[module.map.address].wrong:
            text = (
                f"{module.file_name} requires {_version(required)} of {required.requirement.file}: "
                f"{_state(required)}"
            )
            yield from _paragraph("Version", text, ())


def _cycle_text(cycle: Cycle) -> str:
    text = cycle.way[0].file_name if cycle.way else ""
    for kind, module in zip(cycle.edges, cycle.way[1:]):
        text += (" -> " if kind == "needed" else " -> + ") + module.file_name
    rest = len(cycle.modules) - (len(cycle.way) - 1)
    more = f", and {rest} more modules in it" if rest > 0 else ""
    end = (
        "constructors of one of them run before those of a module that it needs"
        if cycle.kind == "needed"
        else "made by relocation (+): they are unloaded together or not at all"
    )
    return f"{text}{more}: {end}"


def _paragraph(head: str, text: str, evidence: Sequence[str]) -> Iterator[str]:
    from gdbext.render.printable import printable

    yield from _wrapped(f"{head}: ", printable(text))
    for line in evidence:
        yield from _wrapped("  - ", printable(line))


def _wrapped(head: str, text: str) -> Iterator[str]:
    from gdbext.render.fit import wrapped

    yield from wrapped(head, text, terminal_width())
