"""All that plug-needed knows of a process, gathered once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gdbext.findings.drift import Drift, find_drift
from gdbext.findings.tracing.openers import Opener
from gdbext.linker.loaded.disk import File
from gdbext.linker.loaded.modules import Linker, Module
from gdbext.linker.needs.dependencies import Dependencies, read_dependencies
from gdbext.linker.needs.graph import reachable
from gdbext.linker.needs.search import Found, Searches
from gdbext.linker.needs.versions import ModuleVersions, read_module_versions


@dataclass(frozen=True)
class Needs:
    """The dependencies of a process; mappings are by link_map.

    `chosen` are the modules that the user named, `shown` those and all that they lead to;
    without a name, `chosen` is empty and `shown` is everything.
    """

    linker: Linker
    dependencies: Dependencies
    found: Mapping[int, Found]
    versions: Mapping[int, ModuleVersions]
    openers: Mapping[int, Opener]
    drift: Sequence[Drift]
    chosen: Sequence[Module]
    shown: Sequence[Module]

    def concerns(self, modules: Sequence[Module]) -> bool:
        """Whether a finding on `modules` belongs to what is shown."""
        addresses = {m.map.address for m in modules}
        return not self.chosen or any(m.map.address in addresses for m in self.shown)


def gather_needs(
    searches: Searches,
    chosen: Sequence[Module],
    find_openers: Callable[[Mapping[int, Found]], Mapping[int, Opener]],
    describe: Callable[[Module], File],
    look_at: Callable[[str], File | None],
    states: Callable[[], Mapping[int, str | None]],
) -> Needs:
    """Everything about `chosen`, or about every module.

    `states` gives each file's state on disk, by link_map; `describe` and `look_at` give files as
    evidence, as find_drift() takes them.
    """
    linker, memory = searches.linker, searches.process.memory
    dependencies = read_dependencies(memory, linker)
    found = {m.map.address: searches.find(m) for m in linker.modules}
    shown: Sequence[Module] = linker.modules
    if chosen:
        below = reachable(dependencies.edges, [m.map.address for m in chosen])
        shown = [m for m in linker.modules if m.map.address in below]
    return Needs(
        linker=linker,
        dependencies=dependencies,
        found=found,
        versions=read_module_versions(memory, linker, dependencies),
        openers=find_openers(found),
        drift=find_drift(dependencies, found, states(), describe, look_at, searches.cache),
        chosen=chosen,
        shown=shown,
    )
