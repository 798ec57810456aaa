"""plug-init: constructors and destructors, in the order of their calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gdbext.commands.base import Argument, Command, terminal_width

if TYPE_CHECKING:
    import argparse

    from gdbext.findings.turns import Turn
    from gdbext.inferior import Inferior
    from gdbext.linker.initfini import Function
    from gdbext.linker.modules import Linker, Module

_WIDE = 132
_LABELS = {"init": "DT_INIT", "fini": "DT_FINI"}


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

    MODULE is any part of a loaded file's path; it shows constructors and destructors of those
    modules alone. State: run, running (a thread is in it) or not yet.
    The order is the dynamic linker's own for the start and for each dlopen; the dlopen calls
    are taken to be in the order of the link_map chain, so what a constructor opened itself
    follows it. -fini shows the destructors in the order in which exit() would call them now.
    Functions registered by atexit or __cxa_atexit (destructors of C++ objects) are no part of
    this: no table lists them. Start files are the compiler's own _init, _fini, frame_dummy and
    __do_global_dtors_aux."""

    name = "plug-init"
    schema = "init"
    arguments = (
        Argument("MODULE", "Show these modules alone, in full.", complete="module"),
        Argument("-fini", "Show the destructors."),
        Argument("-all", "Show start files and modules without functions as well."),
    )

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> InitFacts:
        from gdbext.findings.turns import Look, take_turns
        from gdbext.inferior.stacks import read_stacks
        from gdbext.linker.depends import read_dependencies
        from gdbext.linker.initfini import Reader, constructors, destructors
        from gdbext.linker.modules import read_linker
        from gdbext.linker.selection import select_modules

        linker = read_linker(inferior)
        tables = inferior.tables
        needs = read_dependencies(inferior, linker, tables)
        reader = Reader(inferior.memory, linker, tables)
        stacks, left_out = read_stacks(inferior.gdb)

        def symbol_start(module: Module, address: int) -> int | None:
            found = tables.name(module, address)
            return address - found.offset if found else None

        look = Look(linker, needs, stacks, _starts(inferior), symbol_start)
        begin, end = take_turns(
            look, list(constructors(reader, needs)), list(destructors(reader, needs))
        )
        chosen = select_modules(linker, args.module) if args.module else None
        wanted = None if chosen is None else {id(m) for m in chosen}
        notes = [*needs.notes, *left_out]
        return InitFacts(
            _rows(begin, wanted), _rows(end, wanted), len(linker.namespaces) > 1,
            needs.algorithm, notes, _problems(linker),
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
    "Constructors": "in the order in which they are called",
    "Destructors": "in the order in which exit() would call them now",
}


def _problems(linker: Linker) -> list[str]:
    return list(linker.problems)


def _starts(inferior: Inferior) -> Callable[[Module], tuple[int, ...]]:
    """The function starts of a module, read once."""
    from gdbext.elf.problem import Problem
    from gdbext.elf.unwind import read_function_starts

    made: dict[int, tuple[int, ...]] = {}

    def starts(module: Module) -> tuple[int, ...]:
        key = id(module)
        if key not in made:
            try:
                image = module.image
                made[key] = read_function_starts(inferior.memory, image) if image else ()
            except Problem:
                made[key] = ()  # the symbols tell, if anything does
        return made[key]

    return starts


def _rows(turns: Sequence[Turn], wanted: set[int] | None) -> list[Row]:
    return [
        Row(number, turn, tuple(_name(f) for f in turn.step.functions))
        for number, turn in enumerate(turns, 1)
        if wanted is None or id(turn.step.module) in wanted
    ]


def _name(function: Function) -> tuple[str | None, str | None, int | None]:
    """(symbol, file, line): by the module's tables, else by debug info."""
    from gdbext.inferior.frames import demangle, function_at, source_position

    if function.address is None:
        return None, None, None
    definition = function.definition or function_at(function.address)
    file, line = source_position(function.address)
    return (demangle(str(definition)) if definition else None), file, line


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

    shown = [row for row in rows if every or row.turn.step.functions or row.turn.step.problem]
    states = [row.turn.state for row in shown]
    counts = [
        f"{states.count(state)} {state or 'unknown'}"
        for state in ("run", "running", "not yet", None)
        if state in states
    ]
    head = f"{title}, {_TITLES[title]}"
    modules = len({row.turn.step.module.map.address for row in shown})
    text = f"{count(modules, 'module')}" + (f" ({', '.join(counts)})" if counts else "")
    yield from wrapped(f"{head}: ", text, terminal_width())
    namespaces = list(dict.fromkeys(row.turn.step.namespace for row in shown))
    for namespace in namespaces:
        if several:
            yield f"Namespace {namespace}"
        group = [row for row in shown if row.turn.step.namespace == namespace]
        yield from _table(group, every)
    reasons = dict.fromkeys(
        f"{os.path.basename(row.turn.step.module.path)}: {row.turn.reason}"
        for row in shown
        if row.turn.reason
    )
    for reason in reasons:
        yield from wrapped("  ", printable(reason), terminal_width())


def _table(rows: Sequence[Row], every: bool) -> Iterator[str]:
    from gdbext.render.fit import shortened
    from gdbext.render.tables import table

    wide = terminal_width() >= _WIDE
    cells: list[list[str]] = []
    for group in _groups(rows, every):
        if len(group) > 1 or (not every and _only_start_files(group[0])):
            cells.append(_summary(group))
        else:
            cells += _cells(group[0], every, wide)
    headers = ["#", "state", "when", "module", "function", "source"]
    if not any(row[-1] for row in cells):
        headers.pop()
        cells = [row[:-1] for row in cells]
    sizes = [max(map(len, column)) for column in zip(headers, *cells)]
    room = terminal_width() - 2 - 2 * (len(sizes) - 1) - (sum(sizes) - sizes[4])
    for row in cells:
        row[4] = shortened(row[4], room)
    yield from table(headers, cells, right="#")


def _groups(rows: Sequence[Row], every: bool) -> Iterator[list[Row]]:
    """Neighbours with nothing but start files in one state make one group."""
    group: list[Row] = []
    for row in rows:
        plain = not every and _only_start_files(row)
        same = group and plain and _only_start_files(group[0]) and _alike(group[-1], row)
        if group and not same:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _only_start_files(row: Row) -> bool:
    step = row.turn.step
    return (
        not step.problem
        and bool(step.functions)
        and all(f.start_file for f in step.functions)
        and row.turn.state != "running"
    )


def _alike(one: Row, other: Row) -> bool:
    return (one.turn.state, one.turn.step.when) == (other.turn.state, other.turn.step.when)


def _summary(group: Sequence[Row]) -> list[str]:
    from gdbext.render.printable import count

    first, last = group[0], group[-1]
    number = str(first.number) if first is last else f"{first.number}-{last.number}"
    name = os.path.basename(first.turn.step.module.path)
    module = name if first is last else count(len(group), "module")
    state = first.turn.state or "unknown"
    return [number, state, first.turn.step.when, module, "(start files alone)", ""]


def _cells(row: Row, every: bool, wide: bool) -> Iterator[list[str]]:
    """One line for each function; the module is named on the first."""
    from gdbext.render.fit import shortened

    step, turn = row.turn.step, row.turn
    head = [str(row.number), turn.state or "unknown", step.when]
    name = os.path.basename(step.module.path) or step.module.path
    lines = 0
    for function, state, (symbol, file, line) in zip(step.functions, turn.states, row.names):
        if function.start_file and not every:
            continue
        label = _label(function)
        target = symbol or (hex(function.address) if function.address is not None else "")
        source = ""
        if file:
            source = f"{shortened(file, 48) if wide else os.path.basename(file)}:{line}"
        own = (state or "unknown") if turn.state == "running" else head[1]
        start = head if not lines else ["", own if turn.state == "running" else "", ""]
        if not lines and turn.state == "running":
            start = [head[0], own, head[2]]
        text = f"{label} {target}".rstrip() + (f": {function.reason}" if function.reason else "")
        yield [*start, name if not lines else "", text, source]
        lines += 1
    if step.problem:
        yield [*(head if not lines else ["", "", ""]), name if not lines else "", step.problem, ""]
    elif not lines:
        yield [*head, name, "(none)", ""]


def _label(function: Function) -> str:
    if function.index is None:
        return _LABELS[function.kind]
    return f"{function.kind}[{function.index}]"
