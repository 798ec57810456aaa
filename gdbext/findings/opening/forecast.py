"""Whether one process could load a file now, and why not, in the order in which ld.so fails."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain

from gdbext.elf.problem import Problem
from gdbext.elf.soundness import TRUNCATED
from gdbext.findings.opening.absent import explain_failure
from gdbext.findings.opening.dlopen_errors import MISSING_FILE, OK, UNKNOWN, WRONG_LIBC, Cause
from gdbext.findings.opening.gomagic import go_causes
from gdbext.findings.opening.magics import magic_causes
from gdbext.findings.opening.missed_versions import missing_versions
from gdbext.findings.opening.prospects import Forecast, file_of, identity
from gdbext.findings.opening.resources import (
    cpu_causes,
    limit_causes,
    mapping_causes,
    namespace_limit,
    tls_causes,
)
from gdbext.findings.opening.undefined import undefined_symbols
from gdbext.linker.loaded.modules import DLOPENED, LINKER, MAIN, NEEDED, PRELOADED, Module
from gdbext.linker.opening.host import Host
from gdbext.linker.opening.prospect import Layers, Prospect, interpreter_of

_MOST_FURTHER = 3


def forecast_open(
    host: Host,
    layers: Layers,
    name: str,
    asker: Module | None = None,
    lazy: bool | None = None,
    new: bool = False,
) -> Cause:
    """What dlopen(name) by `asker` would end in; `new`: dlmopen with LM_ID_NEWLM.

    The cause's kind is OK when it would load.
    """
    spaces = len({m.namespace for m in host.linker.modules})
    namespace = spaces if new else asker.namespace if asker else 0
    prospect = Prospect(host.search, host.linker, layers, namespace, host.rights.limits is not None)
    forecast = Forecast(host, prospect, _is_lazy(host, lazy))
    loaded = prospect.known(name)
    if loaded is not None:
        return _loaded(forecast, loaded, name)
    prospect.add_root(name, asker, DLOPENED)
    prospect.follow(NEEDED)
    if prospect.root is not None and not prospect.arrivals and not prospect.failures:
        return _loaded(forecast, prospect.root, name)
    limits = namespace_limit(spaces) if new else iter(())
    return _first(forecast, chain(limits, _causes(forecast), magic_causes(forecast)))


def forecast_start(
    host: Host,
    layers: Layers,
    program: str,
    preloads: Sequence[str],
    opened: str | None = None,
    lazy: bool | None = None,
) -> Cause:
    """What the start of a program would end in; with `opened`, its first dlopen of that."""
    prospect = Prospect(host.search, host.linker, layers, 0, True)
    prospect.add_root(program, None, MAIN, program=True)
    root = prospect.root
    if root is not None:
        wrong = _no_interpreter(host, root)
        if wrong is not None:
            return wrong
        interpreter = interpreter_of(root.memory, root.image)
        if interpreter is None:
            text = f"{program} has no dynamic linker (PT_INTERP): it is static, and loads nothing"
            return Cause(OK, text, (), "")
        prospect.add_aside(interpreter, LINKER)
        for name in preloads:
            before = len(prospect.failures)
            prospect.add_root(name, root, PRELOADED)
            del prospect.failures[before:]  # ld.so warns of these and goes on
        if opened is not None:
            prospect.follow(NEEDED)
            prospect.add_root(opened, root, DLOPENED)
    prospect.follow(NEEDED)
    forecast = Forecast(host, prospect, _is_lazy(host, lazy))
    cause = _first(forecast, _causes(forecast))
    if opened is not None and cause.kind == OK:
        text = f"{opened} would load into {program} after its start"
        return cause._replace(message=text)
    return cause


def _is_lazy(host: Host, asked: bool | None) -> bool:
    return (host.lazy if asked is None else asked) and not host.bind_now


def _no_interpreter(host: Host, program: Module) -> Cause | None:
    """The kernel's "No such file or directory" for a program that is there."""
    interpreter = interpreter_of(program.memory, program.image)
    if interpreter is None or host.search.view.exists(interpreter):
        return None
    musl = "ld-musl" in interpreter
    known = musl or os.path.basename(interpreter).startswith("ld-linux")
    return Cause(
        WRONG_LIBC if known else MISSING_FILE,
        f"{program.path} asks for the dynamic linker {interpreter}, which does not exist",
        ("the kernel answers ENOENT, and shells say that the program itself is not there",
         f"PT_INTERP of {identity(program)} is {interpreter}"),
        f"Install {'musl' if musl else 'the C library that it was built for'}, or use a build of "
        f"{file_of(program)} for this system.",
    )  # fmt: skip


def _causes(forecast: Forecast) -> Iterator[Cause]:
    """Every cause, in ld.so's order: mapping, versions, the CPU, relocations."""
    prospect = forecast.prospect
    yield from limit_causes(forecast)
    if prospect.arrivals:
        yield from mapping_causes(forecast, prospect.arrivals[0])
    for failure in prospect.failures:
        yield explain_failure(forecast, failure)
    for arrival in prospect.arrivals[1:]:
        yield from mapping_causes(forecast, arrival)
    versions = list(missing_versions(forecast))
    yield from versions
    yield from cpu_causes(forecast)
    if prospect.failures or versions:
        return  # what is missing, or too old, would define symbols too
    yield from undefined_symbols(forecast)
    yield from tls_causes(forecast)


def _first(forecast: Forecast, causes: Iterator[Cause]) -> Cause:
    found: list[Cause] = []
    try:
        for cause in causes:
            found.append(cause)
            if len(found) > _MOST_FURTHER or cause.kind == TRUNCATED:
                break
    except Problem as problem:
        found.append(Cause(UNKNOWN, f"not all could be looked at: {problem}", (), ""))
    doubts = [cause for cause in found if cause.kind != OK]
    if not doubts:
        notes = tuple(f"but {cause.message}" for cause in found)
        fine = _would_load(forecast)
        return fine._replace(evidence=fine.evidence + notes)
    first = next((cause for cause in doubts if cause.kind != UNKNOWN), doubts[0])
    further = tuple(f"further: {cause.message}" for cause in found if cause is not first)
    return first._replace(evidence=first.evidence + further)


def _loaded(forecast: Forecast, module: Module, name: str) -> Cause:
    text = f"{name} is loaded already: dlopen gives a handle of it and loads nothing"
    evidence = (f"it is {identity(module)}, {forecast.rule_of(module)}",)
    if module.kind == DLOPENED:  # a Go program leaves what it refused mapped
        refusal = next(go_causes(forecast, module, forecast.host.linker.modules[0]), None)
        if refusal is not None:
            return refusal._replace(evidence=(text, *evidence, *refusal.evidence))
    return Cause(OK, text, evidence, "")


def _brought(forecast: Forecast, modules: list[Module]) -> list[str]:
    """What else would come in, by the rule that finds it."""
    rules: dict[str, list[str]] = {}
    for module in modules:
        rules.setdefault(forecast.rule_of(module), []).append(file_of(module))
    return [f"with it come, {rule}: {', '.join(names)}" for rule, names in rules.items()]


def _would_load(forecast: Forecast) -> Cause:
    prospect = forecast.prospect
    root = prospect.root
    if root is None:
        return Cause(UNKNOWN, "nothing is known of it", (), "")
    others = [a for a in prospect.arrivals if a.module is not root]
    evidence = [f"{identity(root)}, {forecast.rule_of(root)}"]
    evidence += _brought(forecast, [a.module for a in others])
    if forecast.host.starting:
        return Cause(
            OK, f"{root.path} would start: all that it needs is there", tuple(evidence), ""
        )
    mode = "RTLD_LAZY" if forecast.lazy else "RTLD_NOW"
    text = f"{root.path} would load with {mode}: files, versions and symbols are all there"
    return Cause(OK, text, tuple(evidence), "")
