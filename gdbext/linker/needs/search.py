"""By which rule ld.so found a module's file (ld.so(8); glibc, elf/dl-load.c, _dl_map_object)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from gdbext.elf.core import decode_path
from gdbext.elf.image import DF_1_NODEFLIB, DT_FLAGS_1
from gdbext.linker.loaded.modules import DLOPENED, LINKER, MAIN, PRELOADED, VDSO, Linker, Module
from gdbext.linker.loaded.private import read_names
from gdbext.linker.needs.searchpaths import Paths, library_path, read_paths
from gdbext.linker.process.process import AT_BASE, Process

CACHE, DEFAULT, LIBRARY_PATH, RPATH, RUNPATH = (
    "cache", "default", "LD_LIBRARY_PATH", "RPATH", "RUNPATH",
)  # fmt: skip
# Subfolders that ld.so tries first: glibc-hwcaps from 2.33 on, the others up to 2.36.
_HWCAPS = re.compile(
    r"(?:glibc-hwcaps/[\w-]+/|(?:tls|haswell|xeon_phi|avx512_1|x86_64|aarch64|atomics)/)*"
)
_SYSTEM = re.compile(r"/(?:usr/)?lib(?:64)?(?:/[\w-]+-linux-\w+)?/")
NO_NAME = "this dynamic linker does not record by which name it was asked for"
NO_ENVIRONMENT = "the environment cannot be read, and LD_LIBRARY_PATH might have led there"
_FIXED = {
    MAIN: ("program", "the program itself"),
    LINKER: ("interpreter", "named by the program's PT_INTERP"),
    VDSO: ("kernel", "mapped by the kernel"),
}


class Found(NamedTuple):
    """How a file was found; `rule` is None where it cannot be known, for the reason in `text`.

    `asked` is the name that was searched for, None where nothing was; `opener` the module that
    must have called dlopen, where the rule says so.
    """

    rule: str | None
    text: str
    asked: str | None = None
    directory: str | None = None
    opener: Module | None = None


class _Lead(NamedTuple):
    """A rule and directory that lead to a file, and whose they are."""

    rule: str
    directory: str
    owner: str


@dataclass(frozen=True)
class Searches:
    """The search rules of one process. `cache` is its ld.so.cache, {soname: paths}.

    `environment` is what the process started with, None where that cannot be read.
    """

    process: Process
    linker: Linker
    environment: Mapping[str, str] | None
    cache: Mapping[str, set[str]]
    _known: dict[int, Paths] = field(default_factory=dict)
    _ordered: dict[int, tuple[_Lead, ...]] = field(default_factory=dict)

    def find(self, module: Module) -> Found:
        """By which rule the file of `module` was found.

        Rules: program, interpreter, kernel, path, LD_PRELOAD, RPATH, LD_LIBRARY_PATH, RUNPATH,
        cache, default.
        """
        if module.kind == LINKER and not self.process.auxv.get(AT_BASE):
            return Found("interpreter", "run as a program, with the program as its argument")
        if module.kind in _FIXED:
            return Found(*_FIXED[module.kind])
        names = read_names(module.memory, module.private) if module.private else ()
        if not names:
            return Found(None, NO_NAME)
        asked = decode_path(names[0])
        if "/" in asked:
            by_preload = " in LD_PRELOAD or /etc/ld.so.preload"
            if module.kind == PRELOADED:
                return Found("LD_PRELOAD", f"asked for by the path {asked}{by_preload}")
            return Found("path", f"asked for by the path {asked}")
        found = self._search(module, asked)
        if module.kind == PRELOADED and found.rule:
            return found._replace(text=f"{found.text}, for LD_PRELOAD or /etc/ld.so.preload")
        return found

    def _search(self, module: Module, asked: str) -> Found:
        loader = self.linker.by_map.get(module.private.loader) if module.private else None
        if loader is None and module.kind == DLOPENED:
            return self._opened(module, asked)
        lead = self._lead(loader or self.linker.modules[0], module, asked)
        if lead is None:
            return Found(None, _lost(asked), asked)
        return self._settled(lead, asked)

    def _opened(self, module: Module, asked: str) -> Found:
        """ld.so does not record who called dlopen: what all that may have done so agree on."""
        leads: dict[tuple[str, str], list[Module]] = {}
        owners: dict[tuple[str, str], str] = {}
        for group in self._callers:
            callers = list(islice((c for c in group if self._may_open(c, module)), 2))
            lead = self._lead(callers[0], module, asked) if callers else None
            if lead is not None:
                leads.setdefault(lead[:2], []).extend(callers)
                owners[lead[:2]] = lead.owner
        if not leads:
            return Found(None, _lost(asked), asked)
        if len({rule for rule, _ in leads}) > 1:
            either = " or ".join(f"{rule} ({owners[rule, at]})" for rule, at in sorted(leads))
            return Found(None, f"{asked} found by {either}: that depends on who opened it", asked)
        (rule, directory), callers = next(iter(leads.items()))
        found = self._settled(_Lead(rule, directory, owners[rule, directory]), asked)
        if found.rule != RUNPATH:
            return found
        if len(callers) == 1:
            return found._replace(opener=callers[0])
        paths = " or ".join(caller.path for caller in callers[:2])
        more = " or another one" if len(callers) > 2 else ""
        return found._replace(text=f"{asked} found in {directory} (RUNPATH of {paths}{more})")

    def _may_open(self, caller: Module, module: Module) -> bool:
        """The chain is in the order of loading: who opens a module stands before it."""
        if caller.namespace != module.namespace:
            return True
        return self._place[caller.map.address] < self._place[module.map.address]

    @cached_property
    def _callers(self) -> list[list[Module]]:
        """All modules, those together that search the same directories by the same rules."""
        groups: dict[tuple[object, ...], list[Module]] = {}
        for caller in self.linker.modules:
            if caller.kind != VDSO:
                leads = tuple(lead[:2] for lead in self._directories(caller))
                groups.setdefault((_no_default(caller), leads), []).append(caller)
        return list(groups.values())

    @cached_property
    def _place(self) -> dict[int, int]:
        return {m.map.address: place for place, m in enumerate(self.linker.modules)}

    def _lead(self, loader: Module, module: Module, asked: str) -> _Lead | None:
        """What leads to the file of `module` first, in ld.so's order, for one loader.

        l_name has the directory as ld.so wrote it, so equal spelling decides. Where nothing is
        spelled like that, the same directory by another spelling is taken.
        """
        directories = self._directories(loader)
        for lead in directories:
            if _is_spelled(module.name, lead.directory, asked):
                return lead
        allowed = not _no_default(loader)
        paths = self.cache.get(asked, ())
        if (module.name in paths or module.path in paths) and (
            allowed or not _SYSTEM.match(module.path)
        ):
            return _Lead(CACHE, os.path.dirname(module.path), "/etc/ld.so.cache")
        for lead in directories:
            if _lies_in(module.path, lead.directory, asked):
                return lead
        match = _SYSTEM.match(module.name)
        if allowed and match and _is_spelled(module.name, match.group(), asked):
            return _Lead(DEFAULT, match.group(), "a default directory")
        return None

    def _settled(self, lead: _Lead, asked: str) -> Found:
        if lead.rule in (RUNPATH, CACHE, DEFAULT) and self._library_path is None:
            return Found(None, NO_ENVIRONMENT, asked)
        directory = lead.directory
        if lead.rule == CACHE:
            return Found(CACHE, f"{asked} found by {lead.owner}", asked, directory)
        if lead.rule == DEFAULT:
            return Found(DEFAULT, f"{asked} found in a default directory", asked, directory)
        text = f"{asked} found in {directory or 'the working directory'} ({lead.owner})"
        return Found(lead.rule, text, asked, directory)

    @cached_property
    def _library_path(self) -> tuple[tuple[str, str], ...] | None:
        return library_path(self.process, self.linker, self.environment)

    def _directories(self, loader: Module) -> tuple[_Lead, ...]:
        known = self._ordered.get(loader.map.address)
        if known is None:
            known = self._ordered[loader.map.address] = tuple(self._in_order(loader))
        return known

    def _in_order(self, loader: Module) -> Iterator[_Lead]:
        """What is searched before the cache. A RUNPATH of `loader` switches all RPATHs off."""
        runpath = self._paths(loader).runpath
        if runpath is None:
            for above in self._above(loader):
                for directory in self._paths(above).rpath or ():
                    yield _Lead(RPATH, directory, f"RPATH of {above.path}")
        for directory, whose in self._library_path or ():
            yield _Lead(LIBRARY_PATH, directory, whose)
        for directory in runpath or ():
            yield _Lead(RUNPATH, directory, f"RUNPATH of {loader.path}")

    def _above(self, loader: Module) -> Iterator[Module]:
        """The loader, its own loader and so on, and last the program."""
        seen: set[int] = set()
        above: Module | None = loader
        while above is not None and above.map.address not in seen:
            seen.add(above.map.address)
            yield above
            above = self.linker.by_map.get(above.private.loader) if above.private else None
        if self.linker.modules[0].map.address not in seen:
            yield self.linker.modules[0]

    def _paths(self, module: Module) -> Paths:
        known = self._known.get(module.map.address)
        if known is None:
            known = read_paths(module.memory, self.linker.layout, module)
            self._known[module.map.address] = known
        return known


def _lost(asked: str) -> str:
    return f"asked for as {asked}, but no search rule leads to its path now"


def _no_default(module: Module) -> bool:
    """Whether it was linked with -z nodefaultlib."""
    image = module.image
    return image is not None and bool((image.value(DT_FLAGS_1) or 0) & DF_1_NODEFLIB)


def _is_spelled(name: str, directory: str, asked: str) -> bool:
    middle = name[len(directory) : len(name) - len(asked)]
    return (
        name.startswith(directory)
        and name.endswith(asked)
        and len(directory) + len(asked) <= len(name)
        and _HWCAPS.fullmatch(middle) is not None
    )


def _lies_in(path: str, directory: str, asked: str) -> bool:
    path, prefix = os.path.normpath(path), os.path.normpath(directory).rstrip("/") + "/"
    return _is_spelled(path, prefix, asked)
