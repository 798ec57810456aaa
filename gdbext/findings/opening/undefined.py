"""Symbols that files refer to and that nothing would define.

Sources: glibc, elf/dl-lookup.c, elf/dl-reloc.c and elf/dl-open.c, which relocates the last
dependency first; musl, ldso/dynlink.c (do_relocs).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from gdbext.elf.arch import COPY as COPY_KIND
from gdbext.elf.arch import JUMP_SLOT
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.relocations import Relocation, read_relocations
from gdbext.elf.requirements import read_requirements
from gdbext.elf.symbols import STB_WEAK
from gdbext.findings.opening.dlopen_errors import UNDEFINED_SYMBOL, UNKNOWN, WRONG_LIBC, Cause
from gdbext.findings.opening.missed_versions import unversioned_definers
from gdbext.findings.opening.namesakes import closest_names, definers_on_disk, loaded_definers
from gdbext.findings.opening.prospects import Forecast, file_of
from gdbext.linker.loaded.loading import linked_now
from gdbext.linker.loaded.modules import Module
from gdbext.linker.lookup.answers import Found
from gdbext.linker.lookup.matching import COPY, DATA, PLT
from gdbext.linker.lookup.references import References, read_references
from gdbext.linker.slots.slotkinds import PLT_KINDS

_MOST = 5  # symbols that are told of one by one
_PLUGIN = 10  # so many unknown names come from a host program rather than from a library
_LINK = "Link {} with the library that defines it (-l), so that it is in its DT_NEEDED."


class Undefined(NamedTuple):
    """A reference that nothing in the module's scopes satisfies."""

    module: Module
    number: int
    name: bytes
    version: str | None
    kind: str


class Asked(NamedTuple):
    """What is looked up for a module, and by which kind of relocation."""

    references: References
    kinds: tuple[str, ...]


def undefined_symbols(forecast: Forecast) -> Iterator[Cause]:
    """What would stay undefined, by module, the last dependency first."""
    modules = [arrival.module for arrival in reversed(forecast.prospect.arrivals)]
    asked = [(module, _asked_by(forecast, module)) for module in modules]
    known = [each for _, each in asked if isinstance(each, Asked)]
    # all at once: each module's hash table is gone through a single time
    forecast.lookup.definers.prepare(name for each in known for name in each.references.names)
    for module, each in asked:
        answers = each if isinstance(each, Problem) else _answers(forecast, module, each)
        if isinstance(each, Problem) or isinstance(answers, Problem):
            text = f"whether the symbols of {module.path} resolve is not known: {answers}"
            yield Cause(UNKNOWN, text, (), "")
            continue
        rows = list(_without(forecast, module, each, answers))
        if rows:
            yield _symbol_cause(forecast, module, rows)
        named = zip(each.references.names, each.references.versions, answers)
        found = ((name, version, answer.module) for name, version, answer in named if answer)
        yield from unversioned_definers(forecast, module, found)


def _asked_by(forecast: Forecast, module: Module) -> Asked | Problem:
    try:
        image, tables = module.image, forecast.tables.of(module)
        if image is None or tables is None:
            return Asked(References((), (), (), (), ()), ())
        kinds = {number: kind for number, (kind, _) in forecast.host.arch.relocations.items()}
        deferred = forecast.lazy and not linked_now(image)
        asked: dict[tuple[int, int], str] = {}
        for row in read_relocations(module.memory, image):
            kind = kinds.get(row.type)
            if row.symbol and kind is not None and not (deferred and _waits(row, kind)):
                asked.setdefault((row.symbol, _type_class(kind)), kind)
        beyond = [number for number, _ in asked if number >= tables.symbols.count]
        if beyond:
            return Problem(f"damaged relocation: there is no symbol {beyond[0]}")
        references = read_references(tables, [n for n, _ in asked], [c for _, c in asked])
        return Asked(references, tuple(asked.values()))
    except Problem as problem:
        return problem


def _answers(forecast: Forecast, module: Module, asked: Asked) -> list[Found | None] | Problem:
    found: list[Found | None] = []
    for answer in forecast.lookup.resolve_all(module, asked.references):
        if isinstance(answer, Problem):
            return answer
        found.append(answer)
    return found


def _without(
    forecast: Forecast, module: Module, asked: Asked, answers: list[Found | None]
) -> Iterator[Undefined]:
    """The references without a definition that are not weak."""
    tables, references = forecast.tables.of(module), asked.references
    for i, answer in enumerate(answers if tables is not None else ()):
        number = references.numbers[i]
        if answer is None and tables and tables.symbols.entry(number).binding != STB_WEAK:
            name, version = references.names[i], references.versions[i]
            yield Undefined(module, number, name, version, asked.kinds[i])


def _type_class(kind: str) -> int:
    """What kind of definition a relocation wants (glibc, elf_machine_type_class)."""
    return PLT if kind in PLT_KINDS else COPY if kind == COPY_KIND else DATA


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
    nowhere: list[str] = []
    for row, name in zip(rows[:_MOST], plain):
        # of many names that are unknown none is a misspelling
        found, fix = _who_has_it(forecast, row, name, len(rows) < _PLUGIN)
        evidence += found
        remedy = remedy or fix
        nowhere += [] if found else [name]
    if nowhere:
        base = file_of(module)
        evidence.append(f"no loaded module and no library beside {base} defines "
                        + ", ".join(nowhere))  # fmt: skip
    if len(rows) > _MOST:
        evidence.append("further ones: " + ", ".join(plain[_MOST : 2 * _MOST]))
    if len(rows) >= _PLUGIN and len(nowhere) == _MOST:
        remedy = (
            f"{file_of(module)} takes many names from elsewhere: it is probably a plugin of "
            "another program, which exports them (-rdynamic)."
        )
    if not forecast.lazy and all(row.kind == JUMP_SLOT for row in rows):
        one = len(rows) == 1
        evidence.append(
            f"{'it is a function' if one else 'they are functions'}: with RTLD_LAZY the library "
            f"would load, and the first call of {'it' if one else 'one'} would end the program"
        )
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


def _who_has_it(
    forecast: Forecast, row: Undefined, name: str, similar: bool
) -> tuple[list[str], str]:
    """(evidence, remedy) for one symbol; `similar`, whether names that are almost it count."""
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
    near = closest_names(forecast, row.name) if similar else []
    if near:
        texts = [f"{text} (in {file})" for text, file in near]
        fix = f"Check the name and its arguments: {near[0][1]} has {near[0][0]}."
        return [f"nothing near defines {name}; similar names: {', '.join(texts)}"], fix
    return [], ""


def _expected_file(module: Module, version: str) -> str | None:
    """The file that a version is wanted from."""
    try:
        wanted = read_requirements(module.memory, module.image) if module.image else ()
    except Unreadable:
        return None
    return next((each.file for each in wanted if each.version == version), None)
