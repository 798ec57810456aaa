"""Versions that files require and that the files which would be taken do not have.

Sources: glibc, elf/dl-version.c (_dl_check_map_versions, match_symbol).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from gdbext.elf.image import DT_NEEDED, DT_VERDEF
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.requirements import Requirement, read_definitions, read_requirements
from gdbext.findings.opening.dlopen_errors import UNKNOWN, VERSION_NOT_FOUND, Cause
from gdbext.findings.opening.prospects import Forecast, file_of, identity
from gdbext.linker.loaded.modules import Module
from gdbext.linker.opening.locate import Located

_DT_RELR, _ABI_DT_RELR = 36, "GLIBC_ABI_DT_RELR"
_NUMBER = re.compile(r"\d+")
_ASSERTION, _NO_ASSERTION = 36, 41  # releases of glibc that were seen with and without it
_MOST = 5  # symbols or versions that are told of one by one


def missing_versions(forecast: Forecast) -> Iterator[Cause]:
    """The versions that files want and that are not in the files which would be taken."""
    if forecast.host.musl:
        return  # it knows of no versions
    defined: dict[int, frozenset[str] | None] = {}
    for arrival in forecast.prospect.arrivals:
        module = arrival.module
        try:
            wanted = read_requirements(module.memory, module.image) if module.image else ()
        except Unreadable:
            continue
        missing: dict[str, list[Requirement]] = {}
        for each in wanted:
            target = forecast.prospect.known(each.file)
            if target is None or each.weak:
                continue
            key = target.map.address
            if key not in defined:
                defined[key] = _definitions(target)
            versions = defined[key]
            if versions is not None and each.version not in versions:
                missing.setdefault(each.file, []).append(each)
        for file, rows in missing.items():
            target = forecast.prospect.known(file)
            if target is not None:
                yield _version_cause(forecast, module, target, file, rows)
        yield from _relr(forecast, module, wanted)


def unversioned_definers(
    forecast: Forecast, module: Module, found: Iterable[tuple[bytes, str | None, Module]]
) -> Iterator[Cause]:
    """A symbol that `module` wants in a version, of a file that turned out to define none.

    `found`: (name, wanted version, who would define it). glibc binds to it and says so on stderr
    from 2.41 on; up to 2.36 an assertion in check_match ends the program (elf/dl-lookup.c).
    """
    release = forecast.release
    if release is None or release >= _NO_ASSERTION:
        return
    files: dict[str, str] | None = None
    for name, version, definer in found:
        if version is None or definer.image is None or definer.image.value(DT_VERDEF) is not None:
            continue
        if files is None:
            files = _files_of_versions(module)
        file = files.get(version)
        if file is None or forecast.prospect.known(file) is not definer:
            continue
        shown = name.decode("utf-8", "surrogateescape")
        known = release <= _ASSERTION
        yield Cause(
            VERSION_NOT_FOUND if known else UNKNOWN,
            f"{definer.path} defines no versions, and {module.path} requires {shown}@{version} of "
            f"it: glibc up to 2.{_ASSERTION} ends the program for that (this one is 2.{release})",
            (f"{file} is {identity(definer)}, {forecast.rule_of(definer)}",
             "an assertion fails in ld.so: Inconsistency detected by ld.so, check_match"),
            f"Install the {file} that {os.path.basename(module.path)} was built against.",
        )  # fmt: skip
        return


def _files_of_versions(module: Module) -> dict[str, str]:
    try:
        wanted = read_requirements(module.memory, module.image) if module.image else ()
    except Unreadable:
        return {}
    return {each.version: each.file for each in wanted}


def _lacks(target: Module, version: str) -> bool:
    """Whether a file defines versions, and this one is not among them."""
    defined = _definitions(target)
    return defined is not None and version not in defined


def _definitions(target: Module) -> frozenset[str] | None:
    """The versions that a file defines, None where it defines none or cannot be read."""
    try:
        defined = read_definitions(target.memory, target.image) if target.image else None
    except Unreadable:
        return None
    return None if defined is None else frozenset(defined)


def _version_cause(
    forecast: Forecast, module: Module, target: Module, file: str, rows: list[Requirement]
) -> Cause:
    names = [row.version for row in rows]
    asked = module.path
    message = f"{target.path} has no version {names[0]}, which {asked} requires"
    if len(names) > 1:
        message += f" (and {', '.join(names[1:])})"
    evidence = [f"{file} is {identity(target)}, {forecast.rule_of(target)}"]
    evidence += forecast.whose(module)
    for version in names[:_MOST]:
        symbols = _symbols_of(forecast, module, version)
        if symbols:
            evidence.append(f"{version} is needed for {', '.join(symbols)}")
    newest = _newest(target, names[0])
    if newest:
        evidence.append(f"the newest that it has of that kind is {newest}")
    copies = list(_copies(forecast, module, target, file, names))
    evidence += [f"{path} has {'them' if len(names) > 1 else 'it'}" for path in copies]
    base = os.path.basename(asked)
    if copies and not names[0].startswith("GLIBC_"):  # libc goes with its own ld.so
        remedy = (
            f"Make {copies[0]} the one that is found first (LD_LIBRARY_PATH or RUNPATH), before "
            f"{target.path} is loaded."
        )
    elif names[0].startswith("GLIBC_"):
        remedy = (
            f"Build {base} on a system with this glibc or an older one, or run on one that has "
            f"{names[-1]}."
        )
    else:
        remedy = f"Install a newer {file}, or build {base} against the one that is here."
    return Cause(VERSION_NOT_FOUND, message, tuple(evidence), remedy)


def _symbols_of(forecast: Forecast, module: Module, version: str) -> list[str]:
    """The symbols that a module wants in that version."""
    tables = forecast.tables.of(module)
    if tables is None:
        return []
    try:
        versions, symbols = tables.versions, tables.symbols
        found = [
            symbols.name(i)
            for i in range(symbols.count)
            if versions.of(i) == version and not symbols.entry(i).shndx
        ]
    except Problem:
        return []
    more = len(found) - _MOST
    return [*found[:_MOST], f"{more} more"] if more > 0 else found


def _newest(target: Module, version: str) -> str | None:
    """Of the versions that a file defines, the last in the series of one that it lacks."""
    try:
        defined = read_definitions(target.memory, target.image) if target.image else None
    except Unreadable:
        return None
    prefix = re.split(r"\d", version, maxsplit=1)[0]
    series = [v for v in defined or () if re.split(r"\d", v, maxsplit=1)[0] == prefix]
    series = [v for v in series if _NUMBER.search(v)]
    return max(series, key=lambda v: [int(n) for n in _NUMBER.findall(v)], default=None)


def _copies(
    forecast: Forecast, module: Module, target: Module, file: str, names: list[str]
) -> Iterator[str]:
    """Other files of that name that define all of the versions."""
    seen = {target.path}
    for other in forecast.linker.modules:
        if other.path not in seen and file in (other.soname, file_of(other)):
            seen.add(other.path)
            if not any(_lacks(other, name) for name in names):
                yield f"{other.path} (loaded in namespace {other.namespace})"
    search = forecast.host.search
    for place in search.places(file, forecast.prospect.chain(module)):
        found = search.look(place)
        if not isinstance(found, Located) or found.contents.real in seen or place.path in seen:
            continue
        seen.add(found.contents.real)
        try:
            defined = read_definitions(found.file.memory, found.file.image) or ()
        except Unreadable:
            continue
        if set(names) <= set(defined) and not _same(target, found):
            yield place.path


def _same(target: Module, found: Located) -> bool:
    return target.private is not None and target.private.file_id == found.contents.identity


def _relr(forecast: Forecast, module: Module, wanted: tuple[Requirement, ...]) -> Iterator[Cause]:
    """From 2.36 on glibc refuses relative relocations in the RELR form without their version."""
    image = module.image
    libc = forecast.prospect.known("libc.so.6")
    if image is None or libc is None or image.value(_DT_RELR) is None:
        return
    versioned = [each for each in wanted if each.file == "libc.so.6"]
    if not versioned or any(each.version == _ABI_DT_RELR for each in wanted):
        return
    if not _lacks(libc, _ABI_DT_RELR) and image.value(DT_NEEDED) is not None:
        yield Cause(
            VERSION_NOT_FOUND,
            f"{module.path} has DT_RELR relocations and does not require {_ABI_DT_RELR}",
            (f"{identity(libc)} insists on it: an older glibc would not relocate such a file",),
            "Link it again with -z pack-relative-relocs, or without DT_RELR.",
        )
