"""plug-why: why a dlopen failed, or why one would."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gdbext.commands.base import Argument, Command, terminal_width

if TYPE_CHECKING:
    import argparse

    from gdbext.findings.opening.dlopen_errors import Diagnosis, Recorded
    from gdbext.inferior import Inferior
    from gdbext.linker.loaded.modules import Linker, Module

_NONE = (
    "no failed dlopen is recorded: no thread holds an error of dlopen, dlsym or dlclose (they are "
    "forgotten at the next such call), and the program is not stopped in one; plug-why PATH says "
    "whether PATH would load"
)


_MOST_OTHERS = 4
_MOST_TRIES = 8  # names of one library that are looked into


class WhyFacts(NamedTuple):
    """The diagnosis; `others` are failures that other threads hold or that were recorded too;
    `notes` what limits it."""

    diagnosis: Diagnosis
    others: tuple[Recorded, ...]
    notes: tuple[str, ...]


class PlugWhy(Command):
    """Say why the last dlopen failed, or whether and why PATH would not load.

    Without PATH: the failure of dlopen, dlsym or dlclose that a thread still holds,
    a stop in the dynamic linker's error path, a constructor that crashed, or a
    plugin that a Go program loaded and refused. Without a process: why GDB's
    program would not start, with GDB's environment.
    With PATH, a path or a bare name: what dlopen of it would end in now, in this
    process, with its search paths, loaded modules, rights and limits. Nothing in
    the process is touched. The class is `ok` for what would load, else one of
    missing_file, missing_dependency, not_elf, truncated, wrong_class,
    wrong_machine, wrong_libc, undefined_symbol, version_not_found, static_tls,
    executable_stack, no_permission, cannot_map, no_memory, not_loadable,
    namespace_limit, constructor_crashed, abi_mismatch, cpu_level, too_many_files,
    wrong_use, unknown."""

    name = "plug-why"
    schema = "why"
    arguments = (
        Argument("PATH", "What dlopen would be asked for.", complete="file"),
        Argument("-from", "The module that calls dlopen; the program by default.", "MODULE",
                 "module"),
        Argument("-lazy", "As with RTLD_LAZY: functions are looked up when they are called."),
        Argument("-new", "As dlmopen does it with LM_ID_NEWLM, in a namespace of its own."),
    )  # fmt: skip

    def open(self) -> Inferior | Nobody:
        from gdbext.inferior import Inferior, has_process

        return Inferior() if has_process() else Nobody()

    def facts(self, inferior: Inferior | Nobody, args: argparse.Namespace) -> WhyFacts:
        from gdbext.elf.problem import Problem
        from gdbext.linker.loaded.modules import read_linker

        if args.path is None and (vars(args)["from"] or args.lazy or args.new):
            raise Problem("-from, -lazy and -new are about a PATH")
        if isinstance(inferior, Nobody):
            return _start(args)
        try:
            linker = read_linker(inferior)
        except Problem:
            if args.path is None:
                return _start(args)  # the process is at its first instructions
            raise
        return (
            _forecast(inferior, linker, args) if args.path is not None else _past(inferior, linker)
        )

    def document(self, facts: WhyFacts, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.render.printable import shown

        diagnosis = facts.diagnosis
        cause = diagnosis.cause
        recorded = diagnosis.recorded
        return {
            "path": shown(diagnosis.path) if diagnosis.path else None,
            "class": cause.kind,
            "message": shown(cause.message),
            "evidence": [shown(text) for text in cause.evidence],
            "remedy": shown(cause.remedy) if cause.remedy else None,
            "recorded": _recorded(recorded) if recorded else None,
            "others": [_recorded(other) for other in facts.others],
            "notes": [shown(note) for note in facts.notes],
        }

    def text(self, facts: WhyFacts, args: argparse.Namespace) -> Iterator[str]:  # noqa: ARG002
        from gdbext.render.fit import wrapped
        from gdbext.render.printable import printable

        width = terminal_width()
        diagnosis = facts.diagnosis
        cause = diagnosis.cause
        yield from wrapped("", printable(_title(diagnosis)), width)
        yield from wrapped("  why:      ", printable(cause.message), width)
        head = "  evidence: "
        for text in cause.evidence:
            yield from wrapped(f"{head}- ", printable(text), width)
            head = " " * len(head)
        if cause.remedy:
            yield from wrapped("  remedy:   ", printable(cause.remedy), width)
        for other in facts.others[:_MOST_OTHERS]:
            yield from wrapped("  also:     ", printable(_also(other)), width)
        if len(facts.others) > _MOST_OTHERS:
            yield f"  also:     {len(facts.others) - _MOST_OTHERS} more; -json has all"
        for note in facts.notes:
            yield from wrapped("Note: ", printable(note), width)


class Nobody:
    """In place of an inferior, where there is no process."""

    def release(self) -> None:
        """There is nothing to drop."""


def _title(diagnosis: Diagnosis) -> str:
    from gdbext.findings.opening.dlopen_errors import OK

    kind = diagnosis.cause.kind
    name = diagnosis.path or "a call of dlopen, dlsym or dlclose"
    if diagnosis.recorded is not None:
        return f"{name} failed: {kind} ({diagnosis.recorded.source})"
    return f"{name}: {kind}" if kind != OK else f"{name}: ok"


def _also(other: Recorded) -> str:
    text = other.text
    if other.object and not text.startswith(other.object):
        text = f"{other.object}: {text}"
    held = f"thread {other.thread} holds another failure: " if other.thread is not None else ""
    return f"{held}{text}" if held else f"{text} ({other.source})"


def _recorded(recorded: Recorded) -> dict[str, Any]:
    from gdbext.render.printable import shown

    return {
        "object": shown(recorded.object) if recorded.object else None,
        "text": shown(recorded.text),
        "errno": recorded.code,
        "source": shown(recorded.source),
        "thread": recorded.thread,
        "delivered": recorded.delivered,
    }


def _start(args: argparse.Namespace) -> WhyFacts:
    from gdbext.elf.problem import Problem
    from gdbext.findings.opening.dlopen_errors import Diagnosis
    from gdbext.findings.opening.forecast import forecast_start
    from gdbext.inferior.loading import program_start

    if vars(args)["from"] or args.new:
        raise Problem("-from and -new need a process")
    start = program_start()
    lazy = bool(args.lazy) if args.path is not None else None
    cause = forecast_start(start.host, start.layers, start.program, start.preloads, args.path, lazy)
    note = "no process: this is what the next start of the program would find"
    return WhyFacts(Diagnosis(args.path or start.program, cause, None), (), (note,))


def _forecast(inferior: Inferior, linker: Linker, args: argparse.Namespace) -> WhyFacts:
    from gdbext.findings.opening.dlopen_errors import Diagnosis
    from gdbext.findings.opening.forecast import forecast_open
    from gdbext.inferior.loading import process_host

    host, layers = process_host(inferior, linker)
    asker = _asker(linker, vars(args)["from"])
    lazy = True if args.lazy else None
    cause = forecast_open(host, layers, args.path, asker, lazy, args.new)
    return WhyFacts(Diagnosis(args.path, cause, None), (), _notes(inferior, linker))


def _asker(linker: Linker, wanted: str | None) -> Module:
    from gdbext.linker.loaded.selection import select_modules

    return select_modules(linker, wanted)[0] if wanted else linker.modules[0]


def _notes(inferior: Inferior, linker: Linker) -> tuple[str, ...]:
    """Whether the files that are looked at are those of the process's machine."""
    if inferior.target == "native" or inferior.tables.file_of(linker.modules[0]) is not None:
        return ()
    return (
        "the program's own file is not on this machine, so other files here may differ from "
        "those of its machine too",
    )


def _past(inferior: Inferior, linker: Linker) -> WhyFacts:
    from gdbext.commands.mishaps import constructor_crash, error_path, held_failures, lost_page
    from gdbext.elf.problem import Problem
    from gdbext.findings.opening.dlopen_errors import MISSING_FILE
    from gdbext.findings.opening.failures import explain_recorded, refused_plugin
    from gdbext.inferior.loading import process_host
    from gdbext.linker.unloaded.remains import freed_names

    notes = _notes(inferior, linker)
    crashed = constructor_crash(inferior, linker) or lost_page(inferior, linker)
    if crashed is not None:
        return WhyFacts(crashed, (), notes)
    found = [each for each in (error_path(inferior, linker),) if each is not None]
    held, reason = held_failures(inferior, linker)
    traced, tries = _traced(inferior)
    # dlerror's text names a library that another one needs, and the trace what was opened
    opened = [one for one in traced if held and held[0].object and held[0].object in one.text]
    found += [*(opened[:1] or held[:1]), *held[1:]] or traced
    tries = 0 if held else tries
    host, layers = process_host(inferior, linker)
    if not found:
        refused = refused_plugin(host, layers)
        if refused is None:
            raise Problem(f"{_NONE} ({reason})" if reason else _NONE)
        return WhyFacts(refused, (), notes)
    gone = freed_names(inferior, linker, inferior.tables)
    explained = explain_recorded(host, layers, found[0], gone)
    if len(found) == 1 or explained.cause.kind != MISSING_FILE:
        return WhyFacts(explained, tuple(found[1:]), notes)
    for other in found[1 : min(tries, _MOST_TRIES)]:
        better = explain_recorded(host, layers, other, gone)
        if better.cause.kind != MISSING_FILE:
            explained = better
            break
    rest = tuple(each for each in found if each is not explained.recorded)
    return WhyFacts(explained, rest, notes)


def _traced(inferior: Inferior) -> tuple[list[Recorded], int]:
    """The failures of this process that plug-trace recorded, the latest first; and how many of
    these came one after another, no library having been opened in between.

    So does a program that tries several names: of these a file that is there and would not load
    says more than names that no file has."""
    from gdbext.findings.opening.failures import of_event
    from gdbext.findings.tracing.events import OPENS

    trace = sys.modules.get("gdbext.stops.trace")
    state = trace.state() if trace is not None else None
    events = state.log.events.values() if state is not None else ()
    found: list[Recorded] = []
    tries: int | None = None
    for event in reversed(list(events)):
        if event.pid != inferior.gdb.pid:
            continue
        if event.failed and event.error:
            caller = event.caller.function if event.caller else None
            found.append(of_event(event.path or "", event.error, 0, caller))
        elif found and tries is None and event.kind in OPENS and not event.failed:
            tries = len(found)
    return found, len(found) if tries is None else tries
