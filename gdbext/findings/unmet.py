"""Versions and symbols that a file needs and would not find.

Sources: glibc, elf/dl-version.c (_dl_check_map_versions, match_symbol), elf/dl-lookup.c and
elf/dl-open.c, which relocates the last dependency first; musl, ldso/dynlink.c (do_relocs).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from gdbext.elf.arch import JUMP_SLOT
from gdbext.elf.image import DT_NEEDED
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.relocations import Relocation, read_relocations
from gdbext.elf.requirements import Requirement, read_definitions, read_requirements
from gdbext.elf.symbols import STB_WEAK
from gdbext.findings.dlopen_errors import (
    UNDEFINED_SYMBOL,
    UNKNOWN,
    VERSION_NOT_FOUND,
    WRONG_LIBC,
    Cause,
)
from gdbext.findings.namesakes import closest_names, definers_on_disk, loaded_definers
from gdbext.findings.prospects import Forecast, file_of, identity
from gdbext.linker.loading import linked_now
from gdbext.linker.locate import Located
from gdbext.linker.matching import DATA, PLT
from gdbext.linker.modules import Module
from gdbext.linker.slotkinds import PLT_KINDS

_DT_RELR, _ABI_DT_RELR = 36, "GLIBC_ABI_DT_RELR"
_NUMBER = re.compile(r"\d+")
_MOST = 5  # symbols or versions that are told of one by one


class Undefined(NamedTuple):
    """A reference that nothing in the module's scopes satisfies."""

    module: Module
    index: int
    name: bytes
    version: str | None
    kind: str


def missing_versions(forecast: Forecast) -> Iterator[Cause]:
    """The versions that files want and that are not in the files which would be taken."""
    if forecast.host.musl:
        return  # it knows of no versions
    for arrival in forecast.prospect.arrivals:
        module = arrival.module
        try:
            wanted = read_requirements(module.memory, module.image) if module.image else ()
        except Unreadable:
            continue
        missing: dict[str, list[Requirement]] = {}
        for each in wanted:
            target = forecast.prospect.known(each.file)
            if target is not None and not each.weak and _lacks(target, each.version):
                missing.setdefault(each.file, []).append(each)
        for file, rows in missing.items():
            target = forecast.prospect.known(file)
            if target is not None:
                yield _version_cause(forecast, module, target, file, rows)
        yield from _relr(forecast, module, wanted)


def _lacks(target: Module, version: str) -> bool:
    """Whether a file defines versions, and this one is not among them."""
    try:
        defined = read_definitions(target.memory, target.image) if target.image else None
    except Unreadable:
        return False
    return defined is not None and version not in defined


def _version_cause(
    forecast: Forecast, module: Module, target: Module, file: str, rows: list[Requirement]
) -> Cause:
    names = [row.version for row in rows]
    asked = module.path
    message = f"{target.path} has no version {names[0]}, which {asked} requires"
    if len(names) > 1:
        message += f" (and {', '.join(names[1:])})"
    evidence = [f"{file} is {identity(target)}, found {forecast.rule_of(target)}"]
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
    if copies:
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


def undefined_symbols(forecast: Forecast) -> Iterator[Cause]:
    """What would stay undefined, by module, the last dependency first."""
    for arrival in reversed(forecast.prospect.arrivals):
        module = arrival.module
        try:
            rows = list(_undefined_in(forecast, module))
        except Problem as problem:
            text = f"whether the symbols of {module.path} resolve is not known: {problem}"
            yield Cause(UNKNOWN, text, (), "")
            continue
        if rows:
            yield _symbol_cause(forecast, module, rows)


def _undefined_in(forecast: Forecast, module: Module) -> Iterator[Undefined]:
    image, tables = module.image, forecast.tables.of(module)
    if image is None or tables is None:
        return
    kinds = {number: kind for number, (kind, _) in forecast.host.arch.relocations.items()}
    deferred = forecast.lazy and not linked_now(image)
    asked: dict[tuple[int, int], str] = {}
    for row in read_relocations(module.memory, image):
        kind = kinds.get(row.type)
        if row.symbol and kind is not None and not (deferred and _waits(row, kind)):
            asked.setdefault((row.symbol, PLT if kind in PLT_KINDS else DATA), kind)
    lookup = forecast.lookup
    symbols = tables.symbols
    lookup.definers.prepare(symbols.raw_name(n) for n, _ in asked if n < symbols.count)
    resolve = lookup.resolver(module)
    for (number, type_class), kind in asked.items():
        if resolve(number, type_class) is None and symbols.entry(number).binding != STB_WEAK:
            version = tables.versions.of(number)
            yield Undefined(module, number, symbols.raw_name(number), version, kind)


def _waits(row: Relocation, kind: str) -> bool:
    """Whether a lazy slot, which nobody looks up before the first call."""
    return kind == JUMP_SLOT and row.plt_index is not None


def _symbol_cause(forecast: Forecast, module: Module, rows: list[Undefined]) -> Cause:
    plain = [_shown(forecast, row) for row in rows]
    message = f"{module.path} needs {plain[0]}, which nothing in its scope defines"
    if len(rows) > 1:
        message += f" (and {len(rows) - 1} more)"
    evidence = list(forecast.whose(module))
    remedy = ""
    for row, name in zip(rows[:_MOST], plain):
        found, fix = _who_has_it(forecast, row, name)
        evidence += found
        remedy = remedy or fix
    if len(rows) > _MOST:
        evidence.append(f"{len(rows) - _MOST} more symbols are undefined: "
                        + ", ".join(plain[_MOST : 2 * _MOST]))  # fmt: skip
    if not forecast.lazy and all(row.kind == JUMP_SLOT for row in rows):
        evidence.append("they are functions: with RTLD_LAZY it would load, and the first call of "
                        "one would end the program")  # fmt: skip
    if forecast.host.musl and _of_glibc(module):
        return Cause(
            WRONG_LIBC,
            f"{module.path} was built for glibc, and this process runs on musl",
            (f"{plain[0]} is not defined by musl", *evidence),
            f"Use a build of {file_of(module)} for musl.",
        )
    return Cause(
        UNDEFINED_SYMBOL, message, tuple(evidence), remedy or _LINK.format(file_of(module))
    )


_LINK = "Link {} with the library that defines it (-l), so that it is in its DT_NEEDED."


def _of_glibc(module: Module) -> bool:
    try:
        wanted = read_requirements(module.memory, module.image) if module.image else ()
    except Unreadable:
        return False
    return any(each.version.startswith("GLIBC_") for each in wanted)


def _shown(forecast: Forecast, row: Undefined) -> str:
    name = row.name.decode("utf-8", "surrogateescape")
    plain = forecast.host.demangle(name)
    version = f"@{row.version}" if row.version else ""
    return f"{name}{version}" + (f" ({plain})" if plain != name else "")


def _who_has_it(forecast: Forecast, row: Undefined, name: str) -> tuple[list[str], str]:
    """(evidence, remedy) for one symbol."""
    base = file_of(row.module)
    if row.version is not None:
        expected = _expected_file(row.module, row.version)
        if expected is not None:
            there = forecast.prospect.known(expected)
            which = f" ({there.path})" if there else ""
            return (
                [f"{expected}{which} should define {name}, by {base}'s version records"],
                f"Install the {expected} that {base} was built against.",
            )
    loaded = loaded_definers(forecast, row.name)
    if loaded:
        where = loaded[0]
        return (
            [f"{m.path} defines {name}, but is not in the scope of {base}" for m in loaded[:2]],
            f"Link {base} with {file_of(where)}, or open {file_of(where)} with RTLD_GLOBAL first.",
        )
    there_too = definers_on_disk(forecast, row.name)
    if there_too:
        first = os.path.basename(there_too[0])
        return (
            [f"{path} defines {name}, and is not loaded" for path in there_too],
            f"Link {base} with {first}, or open {first} with RTLD_GLOBAL before.",
        )
    near = closest_names(forecast, row.name)
    if near:
        texts = [f"{text} (in {file_of(module)})" for text, module in near]
        return [f"no {name} anywhere near; similar names: {', '.join(texts)}"], ""
    return [f"no loaded module and no library beside {base} defines {name}"], ""


def _expected_file(module: Module, version: str) -> str | None:
    """The file that a version is wanted from."""
    try:
        wanted = read_requirements(module.memory, module.image) if module.image else ()
    except Unreadable:
        return None
    return next((each.file for each in wanted if each.version == version), None)
