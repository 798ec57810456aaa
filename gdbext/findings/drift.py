"""Drift: files that are loaded, and are not the ones that somebody would expect.

The same library from two places or in two versions, a file that a search path put before the
system's own, a name that a file of another name answered to, a file replaced since.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gdbext.linker.loaded.disk import DELETED, REPLACED, File
from gdbext.linker.loaded.modules import LINKER, MAIN, VDSO, Module
from gdbext.linker.needs.dependencies import Dependencies
from gdbext.linker.needs.search import DEFAULT, LIBRARY_PATH, RPATH, RUNPATH, Found

SAME_SONAME, VERSIONS, SHADOWED, OTHER_SONAME, FILE = (
    "same soname", "two versions", "shadowed", "other soname", "file",
)  # fmt: skip
_SO = re.compile(r"\.so((?:\.[\w.]+)?)$")
# auditwheel puts the first digits of a SHA-256 into the name; repeated repairs leave several
_HASH = re.compile(r"((?:-[0-9a-f]{8})*)$")
_NUMBER = re.compile(r"((?:-\d+(?:\.\d+)*)?)$")
_WIDTHS = {"-8", "-16", "-32", "-64", "-128"}  # libpcre2-8 and libpcre2-16 are two libraries


@dataclass(frozen=True)
class Drift:
    """One finding: `modules` are those that it is about, `other` a file that is not loaded."""

    kind: str
    modules: tuple[Module, ...]
    text: str
    evidence: tuple[str, ...]
    other: File | None = None


LookAt = Callable[[str], "File | None"]


def find_drift(
    dependencies: Dependencies,
    found: Mapping[int, Found],
    disk: Mapping[int, str | None],
    describe: Callable[[Module], File],
    look_at: LookAt,
    cache: Mapping[str, set[str]],
) -> list[Drift]:
    """Every drift of a process.

    `found` and `disk` (OnDisk.state) are by link_map; `describe` gives a module's file, `look_at`
    the file at a path of the process's file system, None where it is not here; `cache` is
    ld.so.cache.
    """
    real = [m for m in dependencies.linker.modules if m.kind not in (VDSO, LINKER)]
    return [
        *_same_sonames(real, describe),
        *_versions(real, describe),
        *_shadowed(real, found, describe, look_at, cache),
        *_other_sonames(real, dependencies),
        *_changed(real, disk),
    ]


def split_version(name: str) -> tuple[str, str]:
    """(what all versions of a library have in common, this one's version).

    libfoo.so.1, libfoo-2.4.so.0 and libfoo-1a2b3c4d.so.1 are all libfoo. ("", "") for what does
    not look like a library; the version is "" where the name has none.
    """
    suffix = _SO.search(name)
    if suffix is None or not name.startswith("lib"):
        return "", ""
    base = name[: suffix.start()]
    digest = _HASH.search(base)
    base = base[: digest.start()] if digest else base
    number = _NUMBER.search(base)
    if number is None:
        return "", ""
    version = number.group(1) + (digest.group(1) if digest else "") + suffix.group(1)
    return base[: number.start()], version


def _name(module: Module) -> str:
    return module.soname or module.file_name


def _groups(
    modules: Sequence[Module], key: Callable[[Module], str | None]
) -> Iterator[tuple[str, list[Module]]]:
    """Modules of one namespace with the same key, where there are several."""
    groups: dict[tuple[int, str], list[Module]] = {}
    for module in modules:
        name = key(module) if module.kind != MAIN else None
        if name:
            groups.setdefault((module.namespace, name), []).append(module)
    for (_, name), members in groups.items():
        if len(members) > 1:
            yield name, members


def _same_sonames(modules: Sequence[Module], describe: Callable[[Module], File]) -> Iterator[Drift]:
    for soname, members in _groups(modules, lambda m: m.soname):
        files = [describe(m) for m in members]
        ids = {file.build_id for file in files}
        what = (
            "the same build, mapped more than once"
            if len(ids) == 1 and None not in ids
            else (
                "different builds"
                if len(ids) == len(files) and None not in ids
                else "several files"
            )
        )
        text = (
            f"{soname} is loaded {len(members)} times in one namespace ({what}): each copy has its "
            f"own variables, and a DT_NEEDED of {soname} means the first"
        )
        yield Drift(SAME_SONAME, tuple(members), text, tuple(map(_line, files)))


def _versions(modules: Sequence[Module], describe: Callable[[Module], File]) -> Iterator[Drift]:
    for name, members in _groups(modules, _versioned_stem):
        names = list(dict.fromkeys(map(_name, members)))
        numbers = {n[len(name) :].partition(".so")[0] for n in names}
        if len(names) < 2 or numbers <= _WIDTHS:
            continue
        text = (
            f"{name} is loaded in {len(names)} versions ({', '.join(names)}): what one of them "
            f"made may not fit the other, and an unversioned symbol means the first in scope"
        )
        yield Drift(VERSIONS, tuple(members), text, tuple(_line(describe(m)) for m in members))


def _versioned_stem(module: Module) -> str:
    """A name without any version is no version: libgstapp.so is a plugin, not libgstapp-1.0."""
    stem, version = split_version(_name(module))
    return stem if version else ""


def _shadowed(
    modules: Sequence[Module],
    found: Mapping[int, Found],
    describe: Callable[[Module], File],
    look_at: LookAt,
    cache: Mapping[str, set[str]],
) -> Iterator[Drift]:
    """Found by a search path, while cache or default directories have a file of that name too."""
    defaults = sorted({f.directory for f in found.values() if f.rule == DEFAULT and f.directory})
    for module in modules:
        search = found.get(module.map.address)
        if search is None or search.rule not in (LIBRARY_PATH, RPATH, RUNPATH) or not search.asked:
            continue
        file = describe(module)
        places = [*sorted(cache.get(search.asked, ())), *(d + search.asked for d in defaults)]
        other = next((o for o in map(look_at, places) if o is not None), None)
        if other is None or _is_same(file, other):
            continue
        same = file.build_id is not None and file.build_id == other.build_id
        text = (
            f"{search.asked} came from {os.path.dirname(module.path)} by {search.rule}, before "
            f"{other.path}, which would have come next"
            + (": a copy of the same build" if same else "")
        )
        evidence = (search.text, f"loaded: {_line(file)}", f"passed over: {_line(other)}")
        yield Drift(SHADOWED, (module,), text, evidence, other)


def _is_same(file: File, other: File) -> bool:
    """Whether both paths lead to one file."""
    if file.identity is not None and other.identity is not None:
        return file.identity == other.identity
    return file.path == other.path


def _other_sonames(modules: Sequence[Module], dependencies: Dependencies) -> Iterator[Drift]:
    wanted: dict[tuple[int, str], list[Module]] = {}
    targets: dict[tuple[int, str], Module] = {}
    for module in modules:
        for need in dependencies.needs[module.map.address] or ():
            target = need.target
            if target is None or target.kind in (LINKER, VDSO) or not target.soname:
                continue
            if os.path.basename(need.name) != target.soname:
                key = (target.map.address, need.name)
                wanted.setdefault(key, []).append(module)
                targets[key] = target
    for (_, name), needers in wanted.items():
        target = targets[_, name]
        users = ", ".join(m.file_name for m in needers[:4])
        more = f" and {len(needers) - 4} more" if len(needers) > 4 else ""
        text = (
            f"{users}{more} needs {name} and got a file whose own soname is {target.soname}: it "
            f"may be another version than the one that was linked with"
        )
        evidence = (f"DT_NEEDED {name}", f"DT_SONAME {target.soname} in {target.path}")
        yield Drift(OTHER_SONAME, (target, *needers), text, evidence)


def _changed(modules: Sequence[Module], disk: Mapping[int, str | None]) -> Iterator[Drift]:
    later = {
        REPLACED: "was replaced since it was loaded: the next process gets another file",
        DELETED: "was deleted since it was loaded: the next process does not find it there",
    }
    for module in modules:
        text = later.get(disk.get(module.map.address) or "")
        if text:
            evidence = (f"loaded at {module.bias:#x}, from a file that is not there any more",)
            yield Drift(FILE, (module,), f"{module.path} {text}", evidence)


def _line(file: File) -> str:
    real = file.real_name if file.real_name != os.path.basename(file.path) else None
    words = [f"the file is {real}"] if real else []
    words.append(f"build-id {file.build_id}" if file.build_id else "no build-id known")
    return f"{file.path} ({', '.join(words)})"
