"""plug-needed: who needs whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gdbext.commands.base import Argument, Command

if TYPE_CHECKING:
    import argparse

    from gdbext.findings.drift import Drift
    from gdbext.findings.needs import Needs
    from gdbext.findings.tracing.openers import Opener
    from gdbext.inferior import Inferior
    from gdbext.linker.loaded.modules import Linker, Module
    from gdbext.linker.needs.dependencies import Cycle, Way
    from gdbext.linker.needs.search import Found
    from gdbext.linker.needs.versions import Required

_FRAMES = 64
_NO_STRINGS = "its string table is in no memory that can be read"
_NO_RELOCATIONS = "this dynamic linker keeps no list of them, or it could not be located"
_DAMAGED_LIST = "ld.so's list of them is damaged"


class PlugNeeded(Command):
    """Show who needs whom: the tree of DT_NEEDED and dlopen, cycles, versions, drift.

    MODULE is any part of a loaded file's path; it shows what that module needs,
    what keeps it loaded, and its versions in full.
    A module is expanded once; (above) refers to that. `+` marks what is no
    DT_NEEDED: a relocation was bound to it, so that it stays while its user does.
    The second column says by which rule ld.so found the file. Drift is a file that
    somebody may not expect: the same library twice, a search path that came before
    the system's own, a file replaced since."""

    name = "plug-needed"
    schema = "needed"
    arguments = (Argument("MODULE", "Show these modules and what keeps them.", complete="module"),)

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> Needs:
        from gdbext.findings.needs import gather_needs
        from gdbext.inferior.files import describe_file, file_at, file_states, open_searches
        from gdbext.linker.loaded.modules import read_linker
        from gdbext.linker.loaded.selection import select_modules

        linker = read_linker(inferior)
        return gather_needs(
            open_searches(inferior, linker),
            select_modules(linker, args.module) if args.module else [],
            lambda found: _openers(inferior, linker, found),
            lambda module: describe_file(inferior, module),
            lambda path: file_at(inferior, path),
            lambda: file_states(inferior, linker),
        )

    def document(self, facts: Needs, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.render.printable import shown

        dependencies = facts.dependencies
        return {
            "modules": [_document(facts, module) for module in facts.shown],
            "roots": [{**_reference(r.module), "why": r.why} for r in dependencies.roots],
            "cycles": [_cycle(c) for c in dependencies.cycles if facts.concerns(c.modules)],
            "drift": [_drift(d) for d in facts.drift if facts.concerns(d.modules)],
            "kept_by": [
                {**_reference(m), "ways": [_way(way) for way in dependencies.ways_to(m)]}
                for m in facts.chosen
            ],
            "problems": [shown(problem) for problem in facts.linker.problems],
        }

    def text(self, facts: Needs, args: argparse.Namespace) -> Iterator[str]:  # noqa: ARG002
        from gdbext.commands.needed_text import lines

        yield from lines(facts)


def _openers(
    inferior: Inferior, linker: Linker, found: Mapping[int, Found]
) -> Mapping[int, Opener]:
    from gdbext.findings.tracing.openers import Frame, find_openers
    from gdbext.inferior.frames import innermost_register, read_frames

    code = inferior.arch.code_address
    frames = [Frame(code(f.lookup), code(f.pc), f.function) for f in read_frames(_FRAMES)]
    stack = innermost_register(inferior.arch.sp) or 0
    return find_openers(inferior.memory, linker, inferior.tables, frames, stack, found)


def _reference(module: Module) -> dict[str, Any]:
    from gdbext.render.printable import shown

    return {"path": shown(module.path), "link_map": hex(module.map.address)}


def _document(facts: Needs, module: Module) -> dict[str, Any]:
    from gdbext.render.printable import shown

    address = module.map.address
    found, versions = facts.found[address], facts.versions[address]
    needs, bound = facts.dependencies.needs[address], facts.dependencies.relocations
    opener = facts.openers.get(address)
    document = {
        **_reference(module),
        "namespace": module.namespace,
        "soname": None if module.soname is None else shown(module.soname),
        "kind": module.kind,
        "open_count": module.private.open_count if module.private else None,
        "search": found.rule,
        "search_reason": shown(found.text),
        "opened_by": shown(opener.module.path) if opener and opener.module else None,
        "needed": None
        if needs is None
        else [
            {"name": shown(need.name), **(_reference(need.target) if need.target else _ABSENT)}
            for need in needs
        ],
        "relocation_needs": None
        if bound is None or address not in bound
        else [_reference(each) for each in bound[address]],
        "versions_required": None
        if versions.required is None
        else [_required(each) for each in versions.required],
        "versions_provided": None
        if versions.defined is None
        else [shown(version) for version in versions.defined],
    }
    if opener is not None:
        document["opened_by_reason"] = shown(opener.text)
    if needs is None:
        document["needed_reason"] = _NO_STRINGS
    if document["relocation_needs"] is None:
        own = bound is not None and module.private is not None
        document["relocation_needs_reason"] = _DAMAGED_LIST if own else _NO_RELOCATIONS
    if versions.required is None or versions.defined is None:
        document["versions_reason"] = shown(module.problem or _NO_STRINGS)
    return document


_ABSENT = {"path": None, "link_map": None}


def _required(required: Required) -> dict[str, Any]:
    from gdbext.render.printable import shown

    provider = required.provider
    return {
        "file": shown(required.requirement.file),
        "version": shown(required.requirement.version),
        "weak": required.requirement.weak,
        "provider": shown(provider.path) if provider else None,
        "state": required.state,
    }


def _cycle(cycle: Cycle) -> dict[str, Any]:
    return {
        "kind": cycle.kind,
        "modules": [_reference(m) for m in cycle.modules],
        "way": [_reference(m) for m in cycle.way],
        "edges": list(cycle.edges),
    }


def _drift(drift: Drift) -> dict[str, Any]:
    from gdbext.render.printable import shown

    other = drift.other
    return {
        "kind": drift.kind,
        "text": shown(drift.text),
        "modules": [_reference(m) for m in drift.modules],
        "evidence": [shown(line) for line in drift.evidence],
        "other": {"path": shown(other.path), "build_id": other.build_id} if other else None,
    }


def _way(way: Way) -> dict[str, Any]:
    return {
        "root": {**_reference(way.root.module), "why": way.root.why},
        "steps": [{**_reference(module), "edge": kind} for kind, module in way.steps],
    }
