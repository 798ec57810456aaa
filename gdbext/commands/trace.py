"""plug-trace: a log of dlopen, dlclose and what happens inside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import gdb

from gdbext.commands.base import Argument, Command, terminal_width
from gdbext.commands.output import write

if TYPE_CHECKING:
    import argparse

    from gdbext.findings.tracing.lifetimes import Count, Summary
    from gdbext.inferior import Inferior
    from gdbext.stops.trace import State

_ACTIONS = ("on", "off", "show", "clear")


class Facts(NamedTuple):
    """The log as it is to be shown; `state` is None when nothing was ever recorded."""

    state: State | None
    summary: Summary | None


class PlugTrace(Command):
    """Record dlopen, dlmopen and dlclose, and say what leaks.

    ACTION is on, off, show (the default) or clear. It can be turned on before the
    program runs, and goes on over fork, exec and another run. Each call is kept
    with its time, thread, caller, arguments, result or error, time taken and
    backtrace; what happens inside a call is shown below it. Times include what GDB
    itself takes for its stops.
    show ends with a summary: handles that were never closed, libraries that stayed
    after their last dlclose and why, threads that came while a library was opened,
    and the slowest opens. on -out FILE (or `set plug trace-file`) writes each event
    to FILE as it happens, one JSON document a line; the file is whole up to the
    last event whatever becomes of GDB. An event is written when it begins and
    again, with the same id, when it ends.
    `set plug trace-limit` bounds what is kept in memory. Only what GDB can see is
    recorded: with `set auto-solib-add off`, libraries that libc opens for itself
    are missing. How long those opens took is not known from glibc 2.34 on."""

    name = "plug-trace"
    schema = "trace"
    arguments = (
        Argument("ACTION", "on, off, show or clear.", complete=" ".join(_ACTIONS)),
        Argument("-dlsym", "on: record dlsym and dlvsym as well."),
        Argument("-ctors", "on: record constructors and destructors of libraries as well."),
        Argument("-threads", "on: record pthread_create as well."),
        Argument("-regex", "on, show: only libraries whose path matches RE.", "RE"),
    )

    def _run(self, args: argparse.Namespace) -> None:
        """No process is needed: it may not run yet, or not any more."""
        from gdbext.elf.problem import Problem

        action = args.action or "show"
        if action not in _ACTIONS:
            raise Problem(f"{action!r} is none of {', '.join(_ACTIONS)}")
        if action != "on" and (args.dlsym or args.ctors or args.threads):
            raise Problem("-dlsym, -ctors and -threads are for plug-trace on")
        if action == "show":
            write(self._output(self._shown(args), args), args.out)
            return
        if args.json or (args.out and action != "on"):
            raise Problem(f"plug-trace {action} prints nothing; -json and -out are for show")
        getattr(self, f"_{action}")(args)

    def _on(self, args: argparse.Namespace) -> None:
        from gdbext import settings
        from gdbext.stops import trace
        from gdbext.stops.recorder.hits import Options

        _pattern(args.regex)
        options = Options(args.dlsym, args.ctors, args.threads, args.regex)
        trace.turn_on(options, args.out or settings.trace_file())
        _show_as(True)

    def _off(self, args: argparse.Namespace) -> None:  # noqa: ARG002
        from gdbext.stops import trace

        trace.turn_off()
        _show_as(False)

    def _clear(self, args: argparse.Namespace) -> None:  # noqa: ARG002
        from gdbext.stops import trace

        state = trace.state()
        if state is not None:
            state.log.clear()

    def _shown(self, args: argparse.Namespace) -> Facts:
        from gdbext.findings.tracing.lifetimes import summarize
        from gdbext.stops import trace

        state = trace.state()
        if state is None:
            return Facts(None, None)
        events = list(state.log.events.values())
        earlier: dict[str, Count] = state.log.earlier
        pattern = _pattern(args.regex)
        if pattern is not None:
            events = [e for e in events if _matches(pattern, e)]
            earlier = {path: count for path, count in earlier.items() if pattern.search(path)}
        return Facts(state._replace(log=state.log.view(events)), summarize(events, earlier))

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> Facts:  # noqa: ARG002
        return self._shown(args)

    def document(self, facts: Facts, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.commands.trace_json import document

        return document(facts.state, facts.summary)

    def text(self, facts: Facts, args: argparse.Namespace) -> Iterator[str]:  # noqa: ARG002
        from gdbext.commands.trace_text import lines

        if facts.state is None or facts.summary is None:
            yield "Nothing is recorded; plug-trace on starts it."
            return
        yield from lines(facts.state, facts.summary, terminal_width())

    def choices(self, argument: Argument, before: Sequence[str], current: str) -> Sequence[str]:
        """An action is offered once."""
        if argument.name == "ACTION" and any(word in _ACTIONS for word in before):
            return ()
        return super().choices(argument, before, current)


def _show_as(on: bool) -> None:
    """`show plug trace` tells what is so; the listener finds nothing left to do."""
    if bool(gdb.parameter("plug trace")) != on:
        gdb.execute(f"set plug trace {'on' if on else 'off'}", to_string=True)


def _pattern(text: str | None) -> re.Pattern[str] | None:
    from gdbext.elf.problem import Problem

    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise Problem(f"{text!r} is no regular expression: {error}") from error


def _matches(pattern: re.Pattern[str], event: Any) -> bool:  # noqa: ANN401
    function = event.function.module if event.function else None
    texts = [event.module, function, *event.loaded, *event.unloaded]
    texts += [event.path] if event.kind != "dlsym" else []
    return any(pattern.search(text) for text in texts if text)
