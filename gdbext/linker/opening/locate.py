"""Which file the dynamic linker would take for a name, as its own search goes.

Sources: glibc, elf/dl-load.c (_dl_map_object, open_path, open_verify) and elf/dl-cache.c;
musl, ldso/dynlink.c (load_library, path_open). search.py asks the other way round: by which
rule a file that is loaded was found.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.elf.core import decode_path
from gdbext.elf.file import ElfFile, FileData
from gdbext.elf.image import DF_1_NODEFLIB, DT_FLAGS_1
from gdbext.elf.problem import Problem
from gdbext.elf.soundness import WRONG_CLASS, WRONG_MACHINE, Flaw, check_header
from gdbext.linker.loaded.modules import Module
from gdbext.linker.needs.searchpaths import substitute, written_paths
from gdbext.linker.opening.filesystem import Contents, FileSystem, Refused

PATH, RPATH, LIBRARY_PATH, RUNPATH, CACHE, DEFAULT = (
    "path", "RPATH", "LD_LIBRARY_PATH", "RUNPATH", "ld.so.cache", "default directory",
)  # fmt: skip
# The directories that ld.so was built with stand in it as one run of texts (elf/dl-load.c,
# system_dirs).
_SYSTEM_DIRS = re.compile(rb"(?:/(?:[\w.+-]+/)*lib(?:64|32|x32)?/(?:[\w.+-]+/)?\0){2,}")
_USUAL = ("/lib64/", "/usr/lib64/", "/lib/", "/usr/lib/")
_MUSL_USUAL = ("/lib/", "/usr/local/lib/", "/usr/lib/")
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
_PASSED = _ABSENT | {errno.EACCES}


class Place(NamedTuple):
    """One path that is tried, and by which rule (with whose search path it is)."""

    path: str
    rule: str
    owner: str


class Located(NamedTuple):
    """The file that is taken."""

    contents: Contents
    file: ElfFile
    place: Place


class Lost(NamedTuple):
    """Why no file is taken. `passed`: files that are there and were passed over, with why.

    `stopped`: the last of `passed` ended the search.
    """

    name: str
    tried: tuple[Place, ...]
    passed: tuple[tuple[Place, Flaw | Refused], ...]
    stopped: bool


@dataclass(frozen=True)
class Search:
    """The searches of one process, or of one that is about to start.

    `library_path` is LD_LIBRARY_PATH, expanded; `defaults` the directories that ld.so was built
    with; `levels` the subfolders of glibc-hwcaps that this CPU has, best first.
    """

    view: FileSystem
    machine: int
    cache: Mapping[str, set[str]]
    library_path: tuple[str, ...]
    defaults: tuple[str, ...]
    musl: bool
    levels: tuple[str, ...] = ()

    def find(self, name: str, chain: Sequence[Module], program: bool = False) -> Located | Lost:
        """The file for `name`, asked for by chain[0], which was asked for by chain[1] and so on;
        the last one is the program. `program`: it is one, and the kernel takes it."""
        tried: list[Place] = []
        passed: list[tuple[Place, Flaw | Refused]] = []
        for place in self.places(name, chain):
            tried.append(place)
            found = self.look(place, program)
            if isinstance(found, Located):
                return found
            if isinstance(found, Refused) and found.number in _ABSENT:
                continue
            passed.append((place, found))
            goes_on = found.passed if isinstance(found, Flaw) else found.number in _PASSED
            if place.rule == PATH or not goes_on:
                return Lost(name, tuple(tried), tuple(passed), True)
        return Lost(name, tuple(tried), tuple(passed), False)

    def look(self, place: Place, program: bool = False) -> Located | Flaw | Refused:
        """The file at one place, if it can be one."""
        try:
            contents = self.view.open(place.path)
        except Refused as refused:
            return refused
        flaw = check_header(contents.data, self.machine, not (self.musl or program))
        if flaw is not None:
            return flaw
        try:
            return Located(contents, self.view.elf(contents), place)
        except Problem as problem:
            return Flaw("not_loadable", "cannot read file data", str(problem))

    def places(self, name: str, chain: Sequence[Module]) -> Iterator[Place]:
        """Every path that is tried, in order."""
        if self.musl and not name:
            return
        if "/" in name:
            paths = substitute(name, chain[0]) if "$" in name and not self.musl else [name]
            for path in paths:  # $LIB and $PLATFORM may be one of several: the first that is there
                yield Place(self.view.absolute(path), PATH, "the path that was asked for")
            return
        for directory, rule, owner in self._directories(chain):
            if rule == CACHE:
                yield from self.cached(name, chain)
                continue
            for level in self.levels if not self.musl else ():
                yield Place(f"{directory}glibc-hwcaps/{level}/{name}", rule, owner)
            at = directory if directory else (self.view.directory or "").rstrip("/") + "/"
            if at.startswith("/"):
                yield Place(f"{at}{name}", rule, owner)

    def _directories(self, chain: Sequence[Module]) -> Iterator[tuple[str, str, str]]:
        paths = [written_paths(module) for module in chain]
        runpath = paths[0].runpath if paths else None
        if self.musl:
            yield from ((d, LIBRARY_PATH, LIBRARY_PATH) for d in self.library_path)
            for module, own in zip(chain, paths):
                for directory in own.runpath or own.rpath or ():
                    rule = RUNPATH if own.runpath else RPATH
                    yield directory, rule, f"{rule} of {module.path}"
            yield from ((d, DEFAULT, "the directories that musl searches") for d in self.defaults)
            return
        if runpath is None:
            for module, own in zip(chain, paths):
                for directory in own.rpath or ():
                    yield directory, RPATH, f"RPATH of {module.path}"
        yield from ((d, LIBRARY_PATH, LIBRARY_PATH) for d in self.library_path)
        for directory in runpath or ():
            yield directory, RUNPATH, f"RUNPATH of {chain[0].path}"
        yield from self._common(chain)

    def _common(self, chain: Sequence[Module]) -> Iterator[tuple[str, str, str]]:
        """The cache and the default directories, which -z nodefaultlib switches off."""
        yield "", CACHE, ""
        if not _no_default(chain):
            yield from ((d, DEFAULT, "a default directory") for d in self.defaults)

    def cached(self, name: str, chain: Sequence[Module]) -> Iterator[Place]:
        """What ld.so.cache has for a name."""
        for path in sorted(self.cache.get(name, ())):
            default = any(path.startswith(directory) for directory in self.defaults)
            if not (default and _no_default(chain)):
                yield Place(path, CACHE, "/etc/ld.so.cache")


def _no_default(chain: Sequence[Module]) -> bool:
    """Whether who asks was linked with -z nodefaultlib."""
    image = chain[0].image if chain else None
    return image is not None and bool((image.value(DT_FLAGS_1) or 0) & DF_1_NODEFLIB)


def system_directories(data: FileData | None, musl: bool, musl_path: str | None) -> tuple[str, ...]:
    """The directories that a dynamic linker searches last, by its own file; `musl_path` is the
    text of musl's /etc/ld-musl-ARCH.path."""
    if musl:
        if musl_path is None:
            return _MUSL_USUAL
        words = re.split(r"[:\n]", musl_path.strip())
        return tuple(w.rstrip("/") + "/" for w in words if w)
    match = _SYSTEM_DIRS.search(data[:]) if data is not None else None
    if match is None:
        return _USUAL
    return tuple(decode_path(each) for each in match.group().rstrip(b"\0").split(b"\0"))


def wrong_kind(flaw: Flaw | Refused) -> bool:
    """Whether a file was passed over because it is for another CPU."""
    return isinstance(flaw, Flaw) and flaw.kind in (WRONG_CLASS, WRONG_MACHINE)
