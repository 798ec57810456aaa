"""A failure that happened, explained: ld.so's words for it, and what the files say now."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from gdbext.elf.problem import Problem
from gdbext.elf.soundness import NOT_ELF, TRUNCATED, WRONG_CLASS, WRONG_MACHINE
from gdbext.findings.opening.dlopen_errors import (
    ABI_MISMATCH,
    CONSTRUCTOR_CRASHED,
    MISSING_DEPENDENCY,
    MISSING_FILE,
    NO_PERMISSION,
    OK,
    UNDEFINED_SYMBOL,
    UNKNOWN,
    WRONG_USE,
    Cause,
    Diagnosis,
    Recorded,
    classify,
    culprit,
    musl_object,
)
from gdbext.findings.opening.forecast import forecast_open
from gdbext.findings.opening.gomagic import go_causes
from gdbext.findings.opening.namesakes import closest_names, loaded_definers, needing_on_disk
from gdbext.findings.opening.prospects import Forecast, file_of
from gdbext.linker.loaded.modules import DLOPENED, Module
from gdbext.linker.opening.host import Host
from gdbext.linker.opening.prospect import Layers, Prospect

_SYMBOL = re.compile(r"undefined symbol: (\S+?)(?:, version (\S+?))?(?:\s|$)")
_LOST = 8  # characters of a freed name, at most: free() writes a word
_MUSL_SYMBOL = re.compile(r"Symbol not found: (\S+)")
_WORDS = {
    WRONG_USE: "Check the arguments of the call: the mode needs RTLD_LAZY or RTLD_NOW, and a "
    "handle is what dlopen gave and dlclose did not take.",
}


def of_event(path: str, message: str, code: int, caller: str | None) -> Recorded:
    """A failure that somebody watched (plug-trace): what dlopen was asked for, ld.so's message,
    its errno or 0, and who called."""
    source = f"recorded when {caller} called dlopen" if caller else "recorded by plug-trace"
    return Recorded(path or musl_object(message), message, code, source, None, None)


def refused_plugin(host: Host, layers: Layers) -> Diagnosis | None:
    """The plugin that a Go program loaded last and refused: plugin.Open leaves it mapped (Go,
    src/plugin/plugin_dlopen.go)."""
    forecast, modules = _bare(host, layers), host.linker.modules
    for module in reversed([m for m in modules if m.kind == DLOPENED]):
        cause = next(go_causes(forecast, module, modules[0]), None)
        if cause is not None:
            note = f"{module.path} is loaded: dlopen had no objection"
            return Diagnosis(module.path, cause._replace(evidence=(note, *cause.evidence)), None)
    return None


def explain_recorded(
    host: Host, layers: Layers, recorded: Recorded, gone: Sequence[tuple[str, bool]] = ()
) -> Diagnosis:
    """Why it failed. What ld.so said decides; the files tell the rest.

    `gone`: names of libraries that were mapped and are no more, which is what a dlopen leaves
    behind that failed at what its library needs, and whether the end of the name is lost.
    """
    kind = classify(recorded.text, recorded.code)
    words = f"the dynamic linker said: {_message(recorded)}"
    by_dlsym = _failed_dlsym(host, layers, recorded, kind)
    if by_dlsym is not None:
        return _diagnosis(recorded, by_dlsym, words)
    path = culprit(recorded)
    if not path or kind == WRONG_USE:
        cause = Cause(kind, recorded.text, (), _WORDS.get(kind, ""))
        return _diagnosis(recorded, cause, words)
    try:
        now = forecast_open(host, layers, path, None)
    except Problem as problem:  # a relative name, and the directory is not known
        now = Cause(UNKNOWN, str(problem), (), "")
    if kind in _OF_DEPENDENCIES:
        now = _of_whom(host, layers, path, gone, now) or now
        if now.kind == MISSING_FILE and "/" not in path:
            now = now._replace(evidence=(*now.evidence, _NOT_RECORDED))
    if now.kind in (OK, ABI_MISMATCH):
        evidence = (
            f"now {path} would load: what was wrong is not so any more, or it was opened in "
            "another way (RTLD_LAZY or RTLD_NOW, another namespace, another caller)",
            *now.evidence,
        )
        return _diagnosis(recorded, Cause(kind, _message(recorded), evidence, ""), words)
    if now.kind == UNKNOWN != kind:
        evidence = (f"what stands in the way is not seen: {now.message}", *now.evidence)
        return _diagnosis(recorded, Cause(kind, _message(recorded), evidence, ""), words)
    if kind not in (now.kind, UNKNOWN) and not refines(kind, now.kind):
        evidence = (f"what stands in the way now: {now.message}", *now.evidence)
        cause = Cause(kind, _message(recorded), evidence, now.remedy)
        return _diagnosis(recorded, cause, words)
    return _diagnosis(recorded, now, words)


_NOT_RECORDED = (
    "whether dlopen was asked for it, or for a library that needs it, is not recorded: plug-trace "
    "on tells that of what fails from then on"
)
# What ld.so says of a file that another one needs, without a word on that one.
_OF_DEPENDENCIES = (MISSING_FILE, NOT_ELF, TRUNCATED, WRONG_CLASS, WRONG_MACHINE, NO_PERMISSION)
# What the same text of ld.so may stand for: it says "cannot open shared object file" of a file for
# another CPU, "invalid ELF header" of the linker script that musl's libc.so name leads to.
_FINER = {
    "missing_file": {
        "missing_dependency",
        "wrong_machine",
        "wrong_libc",
        "no_permission",
        "not_elf",
    },
    "not_elf": {"truncated", "wrong_libc", "wrong_class", "not_loadable"},
    "truncated": {"not_elf", "not_loadable"},
    "undefined_symbol": {"wrong_libc"},
    "wrong_class": {"wrong_machine"},
    "cannot_map": {"no_permission", "no_memory"},
    "no_memory": {"cannot_map"},
    "no_permission": {"cannot_map"},
}


def refines(said: str, found: str) -> bool:
    """Whether the files tell more exactly what ld.so's text says in general."""
    return found in _FINER.get(said, ())


def _diagnosis(recorded: Recorded, cause: Cause, words: str) -> Diagnosis:
    evidence = (words, *cause.evidence)
    return Diagnosis(culprit(recorded), cause._replace(evidence=evidence), recorded)


def _message(recorded: Recorded) -> str:
    """As dlerror() gives it."""
    text = recorded.text
    if recorded.delivered or recorded.thread is None:
        return text  # dlerror() has it so, and plug-trace
    if recorded.object and not text.startswith(recorded.object):
        text = f"{recorded.object}: {text}"
    if recorded.code:
        text += f": {os.strerror(recorded.code)}"
    return text


def _bare(host: Host, layers: Layers) -> Forecast:
    """A forecast of nothing: the process as it is."""
    return Forecast(host, Prospect(host.search, host.linker, layers, 0, True), host.lazy)


def _of_whom(
    host: Host, layers: Layers, name: str, gone: Sequence[tuple[str, bool]], own: Cause
) -> Cause | None:
    """The failure as that of a library which needs `name`, where one is found."""
    for asked in _whole_names(host, gone):
        cause = forecast_open(host, layers, asked, None) if asked != name else own
        told = any(name in text for text in (cause.message, *cause.evidence))
        if asked != name and cause.kind != OK and told:
            note = f"a freed link_map in the heap still has the name {asked} (probable)"
            return cause._replace(evidence=(note, *cause.evidence))
    needy = needing_on_disk(_bare(host, layers), name) if own.kind == MISSING_FILE else []
    if not needy:
        return None
    cause = forecast_open(host, layers, needy[0], None)
    if cause.kind != MISSING_DEPENDENCY:
        return None
    note = f"who was opened is not recorded; {', '.join(needy)} beside what is loaded needs it"
    return cause._replace(evidence=(note, *cause.evidence))


def _whole_names(host: Host, gone: Sequence[tuple[str, bool]]) -> Iterator[str]:
    """The names in full; of a path without its end, all the files that it may have been."""
    for name, cut in gone:
        if "/" in name and name[0] not in "/$" and host.search.view.directory is None:
            continue  # nothing tells where it would be
        if not cut:
            yield name
        elif "/" in name:
            folder, _, start = name.rpartition("/")
            for file in host.search.view.names(folder or "/"):
                if file.startswith(start) and len(file) <= len(start) + _LOST:
                    yield f"{folder}/{file}"


def _failed_dlsym(host: Host, layers: Layers, recorded: Recorded, kind: str) -> Cause | None:
    """Dlsym's failure: an undefined symbol in a library that is loaded."""
    match = _SYMBOL.search(recorded.text) or _MUSL_SYMBOL.search(recorded.text)
    if kind != UNDEFINED_SYMBOL and not _MUSL_SYMBOL.search(recorded.text):
        return None
    asked = [m for m in host.linker.modules if recorded.object in (m.path, m.name)]
    musl = recorded.text.startswith("Symbol not found")
    if match is None or not (asked or musl):
        return None
    name = match[1]
    forecast = _bare(host, layers)
    raw = os.fsencode(name)
    definers = loaded_definers(forecast, raw)
    where = _handle(asked, recorded)
    evidence = [_defined(m, name) for m in definers[:3]]
    remedy = f"Check the name with: nm -D {asked[0].path if asked else 'LIBRARY'}"
    if definers:
        first = file_of(definers[0])
        remedy = f"Use a handle of {first}, or RTLD_DEFAULT if it was opened with RTLD_GLOBAL."
    else:
        near = closest_names(forecast, raw)
        texts = ", ".join(f"{text} (in {file})" for text, file in near)
        evidence.append(f"similar names: {texts}" if near else "no loaded module defines it")
        mangled = [text for text, _ in near if text.startswith("_Z")]
        if mangled:
            remedy = f'Declare the function extern "C", or ask for its mangled name {mangled[0]}.'
    plain = host.demangle(name)
    title = f"{name} ({plain})" if plain != name else name
    return Cause(UNDEFINED_SYMBOL, f"dlsym found no {title} {where}", tuple(evidence), remedy)


def _handle(asked: list[Module], recorded: Recorded) -> str:
    if asked:
        return f"by the handle of {asked[0].path} or in what it needs"
    return f"in {recorded.object}" if recorded.object else "by the handle that it was given"


def _defined(module: Module, name: str) -> str:
    return f"{module.path} defines {name}"


def crashed_constructor(module: Module, function: str, signal: str, thread: int) -> Diagnosis:
    """A constructor that got a signal: the dlopen or the start never came to its end."""
    cause = Cause(
        CONSTRUCTOR_CRASHED,
        f"{module.path} was mapped, and its constructor {function} got {signal}",
        (f"thread {thread} is in {function}, which the dynamic linker called",
         "plug-init shows the constructors that have run and those that have not"),
        f"Debug {function} like any crash (bt, plug-regs); what it uses may not be initialized.",
    )  # fmt: skip
    return Diagnosis(module.path, cause, None)
