"""plug-init: constructors and destructors, in the order of their calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gdbext.commands.base import Argument, Command, terminal_width

if TYPE_CHECKING:
    import argparse

    from gdbext.findings.turns import Turn
    from gdbext.inferior import Inferior
    from gdbext.linker.init.initfini import Function
    from gdbext.render.turns import Entry

_MOST_NAMES = 3
_CLOSED = "if a library that is gone since brought it in, that dlopen set the order of the calls"
_MOST_LINES = 12  # functions of one module, unless all are wanted
_LABELS = {"init": "DT_INIT", "fini": "DT_FINI", "preinit_array": "preinit ", "init_array": ""}


class Row(NamedTuple):
    """A turn with its place in the order and, for each function, its name, file and line."""

    number: int
    turn: Turn
    names: tuple[tuple[str | None, str | None, int | None], ...]


class InitFacts(NamedTuple):
    """Both orders, as far as they are asked for, and what could not be known."""

    beginning: list[Row]
    ending: list[Row]
    several: bool
    algorithm: str | None
    notes: list[str]
    problems: list[str]


class PlugInit(Command):
    """Show the constructors of every module in the order in which they are called.

    MODULE is any part of a loaded file's path; it shows constructors and
    destructors of those modules alone. State: run, running (a thread is in it) or
    not yet. [N] is the entry of DT_INIT_ARRAY or DT_FINI_ARRAY.
    The order is the dynamic linker's own for the start and for each dlopen; the
    dlopen calls are taken to be in the order of the link_map chain, so what a
    constructor opened itself follows it. -fini shows the destructors in the order
    in which exit() would call them now. Functions registered by atexit or
    __cxa_atexit (destructors of C++ objects) are no part of this: no table lists
    them. Start files are the compiler's own _init, _fini, frame_dummy and
    __do_global_dtors_aux."""

    name = "plug-init"
    schema = "init"
    arguments = (
        Argument("MODULE", "Show these modules alone, in full.", complete="module"),
        Argument("-fini", "Show the destructors."),
        Argument("-all", "Show every function, start files and modules without any as well."),
    )

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> InitFacts:
        from gdbext.commands.running import read_turns
        from gdbext.linker.init.initfini import closed_roots
        from gdbext.linker.loaded.modules import read_linker
        from gdbext.linker.loaded.selection import select_modules

        linker = read_linker(inferior)
        begin, end, order, left_out = read_turns(inferior, linker)
        chosen = select_modules(linker, args.module) if args.module else None
        wanted = None if chosen is None else {id(m) for m in chosen}
        closed = closed_roots(turn.step for turn in begin)
        if closed:
            names = ", ".join(module.file_name for module in closed[:_MOST_NAMES])
            more = f" and {len(closed) - _MOST_NAMES} more" if len(closed) > _MOST_NAMES else ""
            left_out = [*left_out, f"nobody has {names}{more} open any more: {_CLOSED}"]
        notes = [*order.notes, *left_out]
        return InitFacts(
            _rows(begin, wanted), _rows(end, wanted), len(linker.namespaces) > 1,
            order.algorithm, notes, list(linker.problems),
        )  # fmt: skip

    def document(self, facts: InitFacts, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.render.printable import shown

        document: dict[str, Any] = {
            "constructors": [_document(row) for row in facts.beginning],
            "destructors": [_document(row) for row in facts.ending],
            "destructor_order": facts.algorithm,
            "notes": [shown(note) for note in facts.notes],
            "problems": [shown(problem) for problem in facts.problems],
        }
        if facts.algorithm is None:
            document["destructor_order_reason"] = shown(facts.notes[0])
        return document

    def text(self, facts: InitFacts, args: argparse.Namespace) -> Iterator[str]:
        from gdbext.render.fit import wrapped
        from gdbext.render.printable import printable

        for problem in facts.problems:
            yield f"Damaged: {printable(problem)}"
        every = bool(args.all or args.module)
        if not args.fini:
            yield from _section("Constructors", facts.beginning, facts.several, every)
        if args.fini or args.module:
            yield from _section("Destructors", facts.ending, facts.several, every)
        for note in facts.notes:
            yield from wrapped("Note: ", printable(note), terminal_width())


_TITLES = {
    "Constructors": "in the order of their calls",
    "Destructors": "in the order in which exit() would run them",
}


def _rows(turns: Sequence[Turn], wanted: set[int] | None) -> list[Row]:
    return [
        Row(number, turn, tuple(_name(f) for f in turn.step.functions))
        for number, turn in enumerate(turns, 1)
        if wanted is None or id(turn.step.module) in wanted
    ]


def _name(function: Function) -> tuple[str | None, str | None, int | None]:
    """(symbol, file, line): by the module's tables, else by debug info."""
    from gdbext.inferior.frames import definition_text, function_at, source_position

    if function.address is None:
        return None, None, None
    definition = function.definition or function_at(function.address)
    file, line = source_position(function.address)
    return (definition_text(definition) if definition else None), file, line


def _document(row: Row) -> dict[str, Any]:
    from gdbext.render.printable import shown

    turn = row.turn
    step = turn.step
    document: dict[str, Any] = {
        "order": row.number,
        "path": shown(step.module.path),
        "link_map": hex(step.module.map.address),
        "namespace": step.namespace,
        "when": step.when,
        "opened": shown(step.root.path) if step.root else None,
        "called_by": step.caller,
        "state": turn.state,
        "thread": (turn.active.thread or None) if turn.active else None,
        "functions": [
            _function_document(function, state, name)
            for function, state, name in zip(step.functions, turn.states, row.names)
        ],
    }
    if turn.reason:
        document["state_reason"] = turn.reason
    if step.problem:
        document["functions_reason"] = shown(step.problem)
    return document


def _function_document(
    function: Function, state: str | None, name: tuple[str | None, str | None, int | None]
) -> dict[str, Any]:
    from gdbext.render.printable import shown

    symbol, file, line = name
    document: dict[str, Any] = {
        "kind": function.kind,
        "index": function.index,
        "address": hex(function.address) if function.address is not None else None,
        "symbol": shown(symbol) if symbol else None,
        "file": shown(file) if file else None,
        "line": line if file else None,
        "start_file": function.start_file,
        "state": state,
    }
    if function.reason:
        document["address_reason"] = shown(function.reason)
    return document


def _section(title: str, rows: Sequence[Row], several: bool, every: bool) -> Iterator[str]:
    from gdbext.render.fit import wrapped
    from gdbext.render.printable import count, printable
    from gdbext.render.turns import turns_table

    width = terminal_width()
    shown = [row for row in rows if every or row.turn.step.functions or row.turn.step.problem]
    # The program may have two turns; its own constructors are the last of these.
    last = {row.turn.step.module.map.address: row.turn.state for row in shown}
    states = list(last.values())
    counts = [
        f"{states.count(state)} {state or 'unknown'}"
        for state in ("run", "running", "not yet", None)
        if state in states
    ]
    text = count(len(last), "module") + (f" ({', '.join(counts)})" if counts else "")
    yield from wrapped("", f"{title}, {_TITLES[title]}: {text}", width)
    for namespace in dict.fromkeys(row.turn.step.namespace for row in shown):
        if several:
            yield f"Namespace {namespace}"
        group = [row for row in shown if row.turn.step.namespace == namespace]
        yield from turns_table([_entry(row, every) for row in group], width)
    for row in shown:
        if row.turn.state == "running":
            yield from wrapped("", printable(_where(row)), width)
    for reason in dict.fromkeys(
        f"{row.turn.step.module.file_name}: {row.turn.reason}" for row in shown if row.turn.reason
    ):
        yield from wrapped("", printable(reason), width)


def _where(row: Row) -> str:
    turn = row.turn
    own = (
        f"{_text(function, name[0])} of "
        for function, state, name in zip(turn.step.functions, turn.states, row.names)
        if state == "running"
    )
    thread = f" in thread {turn.active.thread}" if turn.active and turn.active.thread else ""
    return f"Running{thread}: {next(own, '')}{turn.step.module.file_name}"


def _entry(row: Row, every: bool) -> Entry:
    """What the table shows of a turn: without start files, unless every function is wanted."""
    from gdbext.render.turns import Entry, Line

    step, turn = row.turn.step, row.turn
    state = turn.state or "unknown"
    lines = [
        Line(
            (own or "unknown") if turn.state == "running" else state,
            _text(function, symbol),
            file or "",
            line or 0,
        )
        for function, own, (symbol, file, line) in zip(step.functions, turn.states, row.names)
        if every or not function.start_file or own == "running"
    ]
    if step.problem:
        lines.append(Line(state, step.problem, "", 0))
    plain = not lines and bool(step.functions)
    module = step.module.file_name
    if not every and len(lines) > _MOST_LINES + 1 and len({line.state for line in lines}) == 1:
        more = f"and {len(lines) - _MOST_LINES} more (-all)"
        lines = [*lines[:_MOST_LINES], Line(state, more, "", 0)]
    return Entry(row.number, state, step.when, module, plain, tuple(lines))


def _text(function: Function, symbol: str | None) -> str:
    label = _LABELS.get(function.kind, "")
    if function.index is not None:
        label += f"[{function.index}]"
    target = symbol or (hex(function.address) if function.address is not None else "")
    return f"{label} {target}".rstrip() + (f": {function.reason}" if function.reason else "")
