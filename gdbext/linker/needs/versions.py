"""Symbol versions between modules: what each requires, and whether the loaded files provide it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory
from gdbext.elf.requirements import Requirement, read_definitions, read_requirements
from gdbext.linker.loaded.modules import Linker, Module
from gdbext.linker.needs.dependencies import Dependencies

# ld.so refuses to start or to open what misses a version, unless that is weak or the file defines
# no versions at all (glibc, elf/dl-version.c, match_symbol).
PROVIDED, MISSING, UNVERSIONED, NOT_LOADED, UNKNOWN = (
    "provided", "missing", "unversioned", "not loaded", "unknown",
)  # fmt: skip
NO_RECORDS = "its version records are in no memory that can be read"


class Required(NamedTuple):
    """One required version; `provider` is the module that stands for the required file."""

    requirement: Requirement
    provider: Module | None
    state: str


@dataclass(frozen=True)
class ModuleVersions:
    """Of one module; None where the records cannot be read. `defined` is () without DT_VERDEF."""

    required: tuple[Required, ...] | None
    defined: tuple[str, ...] | None

    @property
    def wrong(self) -> tuple[Required, ...]:
        """What is required and not there."""
        return tuple(r for r in self.required or () if r.state not in (PROVIDED, UNKNOWN))


def read_module_versions(
    memory: Memory, linker: Linker, dependencies: Dependencies
) -> dict[int, ModuleVersions]:
    """{link_map: versions} of every module."""
    definitions = {m.map.address: _definitions(memory, m) for m in linker.modules}
    by_soname: dict[tuple[int, str], Module] = {}
    for module in linker.modules:
        if module.soname:
            by_soname.setdefault((module.namespace, module.soname), module)
    found = {}
    for module in linker.modules:
        providers = {
            need.name: need.target for need in dependencies.needs[module.map.address] or ()
        }
        required: tuple[Required, ...] | None = None
        try:
            wanted = read_requirements(memory, module.image) if module.image else None
        except Unreadable:
            wanted = None
        if wanted is not None:
            required = tuple(
                _judge(
                    each,
                    providers.get(each.file) or by_soname.get((module.namespace, each.file)),
                    definitions,
                )
                for each in wanted
            )
        defined, known = definitions[module.map.address]
        found[module.map.address] = ModuleVersions(required, (defined or ()) if known else None)
    return found


def _definitions(memory: Memory, module: Module) -> tuple[tuple[str, ...] | None, bool]:
    """(the versions that it defines, None for a file without versions; whether that is known)."""
    if module.image is None:
        return None, False
    try:
        return read_definitions(memory, module.image), True
    except Unreadable:
        return None, False


def _judge(
    requirement: Requirement,
    provider: Module | None,
    definitions: dict[int, tuple[tuple[str, ...] | None, bool]],
) -> Required:
    if provider is None:
        return Required(requirement, None, NOT_LOADED)
    defined, known = definitions[provider.map.address]
    if not known:
        state = UNKNOWN
    elif defined is None:
        state = UNVERSIONED
    else:
        state = PROVIDED if requirement.version in defined else MISSING
    return Required(requirement, provider, state)
