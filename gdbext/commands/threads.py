"""plug-threads: who started each thread, where it is in plugins, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from gdbext import settings
from gdbext.commands.base import Argument, Command, terminal_width

if TYPE_CHECKING:
    import argparse

    from gdbext.commands.threadfacts import Group, ThreadFacts
    from gdbext.findings.threads import Frame, Spot, Thread
    from gdbext.inferior import Inferior

_MOST_NUMBERS = 12
_MOST_NAMES = 3
_MOST_IN_LINE = 12
_MOST_FRAMES = 16  # of one stack, unless all are wanted
_RECURSION = 3  # calls of one function in a row


class PlugThreads(Command):
    """Show who started each thread, and what it does in plugins and in ld.so.

    Threads with the same stack are shown once. For each: its start routine and the
    module that holds it, the system call that it is in, its frames in libraries
    that dlopen brought in and in libraries that are unloaded, which lock of the
    dynamic linker it holds, and what it waits for. Threads that wait for each other
    are named first, as when a constructor, which dlopen runs with the lock held,
    waits for a thread that needs the lock itself. -all shows every frame."""

    name = "plug-threads"
    schema = "threads"
    arguments = (Argument("-all", "Show every frame of each stack."),)

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> ThreadFacts:  # noqa: ARG002
        from gdbext.commands.threadfacts import read_thread_facts

        return read_thread_facts(inferior, settings.last_signal)

    def document(self, facts: ThreadFacts, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext.render.printable import shown

        document: dict[str, Any] = {
            "deadlocks": [
                {"threads": list(d.threads), "certain": d.certain, "text": shown(d.text)}
                for d in facts.deadlocks
            ],
            "locks": [
                {"name": m.name, "address": hex(m.address), "held": m.held, "owner_lwp": m.owner}
                for m in facts.locks
            ],
            "threads": [_thread_document(t) for t in facts.threads],
            "stacks": [[_frame_document(f) for f in stack] for stack in facts.stacks],
            "notes": [shown(note) for note in facts.notes],
        }
        if facts.locks_reason is not None:
            document["locks_reason"] = facts.locks_reason
        return document

    def text(self, facts: ThreadFacts, args: argparse.Namespace) -> Iterator[str]:
        from gdbext.render.fit import wrapped
        from gdbext.render.printable import printable

        width = terminal_width()
        for deadlock in facts.deadlocks:
            head = "Deadlock: " if deadlock.certain else "Perhaps a deadlock: "
            yield from wrapped(head, printable(deadlock.text), width)
        for group in facts.groups:
            yield from _group(group, args.all, width)
        if facts.locks_reason is not None:
            yield from wrapped("Note: ", facts.locks_reason, width)
        for note in facts.notes:
            yield from wrapped("Note: ", printable(note), width)


def _group(group: Group, every: bool, width: int) -> Iterator[str]:
    from gdbext.commands.threadfacts import spot_text
    from gdbext.findings.threads import OTHER, wait_text, waiting_call
    from gdbext.inferior.frames import demangle
    from gdbext.render.fit import wrapped
    from gdbext.render.printable import printable

    rows: list[tuple[str, str]] = []
    one = group.threads[0]
    if one.is_main:
        rows.append(("started by", "the program itself: its first thread"))
    elif one.start is not None:
        rows.append(("started by", spot_text(one.start)))
    else:
        rows.append(("started by", f"unknown: {one.start_reason}"))
    if one.holds:
        rows.append(("holds", ", ".join(one.holds)))
    if one.wait is not None:
        call = waiting_call(group.frames) if one.wait.kind == OTHER else None
        rows.append(("waits for", wait_text(one.wait) + (f" ({call})" if call else "")))
    if group.frames and not every:
        names = [demangle(f.name) if f.name else "??" for f in group.frames]
        rows.append(("stack", " < ".join(_folded(names))))
    rows += _frame_rows(group.frames, every)
    yield from wrapped("", printable(_title(group)), width)
    for name, fact in rows:
        yield from wrapped(f"  {name:<12}", printable(fact), width)


def _frame_rows(frames: Sequence[Frame], every: bool) -> Iterator[tuple[str, str]]:
    """What each frame to show is and where; a recursion's frames are one row."""
    from gdbext.findings.threads import is_plugin

    kept: list[tuple[str, Frame]] = []
    for frame in frames:
        if frame.spot.ghost is not None:
            kept.append(("unloaded", frame))
        elif is_plugin(frame.spot.module) or every:
            kept.append(("plugin" if is_plugin(frame.spot.module) else "frame", frame))
    runs = [list(run) for _, run in groupby(kept, key=lambda row: (row[0], _frame_text(row[1])))]
    shown = runs if every else runs[:_MOST_FRAMES]
    for run in shown:
        what, first = run[0]
        last = run[-1][1].level
        levels = f"#{first.level}" if len(run) == 1 else f"#{first.level} to #{last}"
        yield what, f"{levels} {_frame_text(first)}"
    rest = sum(map(len, runs[len(shown) :]))
    if rest:
        yield "", f"and {rest} more such frames: plug-threads -all"


def _folded(names: list[str]) -> list[str]:
    """The names of a stack, those of a recursion once, the middle of a deep one left out."""
    runs = [(name, len(list(run))) for name, run in groupby(names)]
    texts: list[tuple[str, int]] = []
    for name, times in runs:
        texts += [(name, 1)] * times if times < _RECURSION else [(f"{name} ({times} times)", times)]
    if len(texts) <= _MOST_IN_LINE:
        return [text for text, _ in texts]
    half = _MOST_IN_LINE // 2
    left_out = sum(times for _, times in texts[half:-half])
    ends = [text for text, _ in texts]
    return [*ends[:half], f"({left_out} more)", *ends[-half:]]


def _title(group: Group) -> str:
    threads = group.threads
    if len(threads) == 1:
        one = threads[0]
        mark = "*" if one.selected else ""
        head = f"Thread {one.number}{mark} (LWP {one.lwp})"
    else:
        head = f"{len(threads)} threads: {_ranges([t.number for t in threads])}"
    names = list(dict.fromkeys(t.name for t in threads if t.name))
    if names:
        head += f" {', '.join(chr(34) + n + chr(34) for n in names[:_MOST_NAMES])}"
        head += " …" if len(names) > _MOST_NAMES else ""
    return f"{head}, {_state(threads[0])}"


def _state(thread: Thread) -> str:
    if thread.running:
        return "running"
    return f"in {thread.syscall.name}" if thread.syscall else "stopped"


def _ranges(numbers: list[int]) -> str:
    """`2-5 7 9-12`, shortened where there are many pieces."""
    pieces: list[list[int]] = []
    for number in numbers:
        if pieces and pieces[-1][1] == number - 1:
            pieces[-1][1] = number
        else:
            pieces.append([number, number])
    texts = [str(a) if a == b else f"{a}-{b}" for a, b in pieces]
    return " ".join(texts[:_MOST_NUMBERS]) + (" …" if len(texts) > _MOST_NUMBERS else "")


def _frame_text(frame: Frame) -> str:
    from gdbext.commands.threadfacts import frame_text

    line = f" ({frame.file.rpartition('/')[2]}:{frame.line})" if frame.file else ""
    return f"{frame_text(frame)}{line}"


def _thread_document(thread: Thread) -> dict[str, Any]:
    from gdbext.findings.threads import wait_text
    from gdbext.render.printable import shown

    wait, call = thread.wait, thread.syscall
    document: dict[str, Any] = {
        "number": thread.number,
        "lwp": thread.lwp,
        "name": shown(thread.name) if thread.name is not None else None,
        "selected": thread.selected,
        "state": "running" if thread.running else "stopped",
        "syscall": {"number": call.number, "name": call.name} if call else None,
        "is_main": thread.is_main,
        "started_by": _spot_document(thread.start) if thread.start is not None else None,
        "stack": thread.stack,
        "holds": list(thread.holds),
        "waits_for": None,
    }
    if thread.start is None:
        document["started_by_reason"] = thread.start_reason
    if wait is not None:
        document["waits_for"] = {
            "kind": wait.kind,
            "address": hex(wait.address),
            "thread": wait.owner,
            "lock": wait.name,
            "text": wait_text(wait),
        }
    return document


def _frame_document(frame: Frame) -> dict[str, Any]:
    from gdbext.findings.threads import is_plugin
    from gdbext.render.printable import shown

    return {
        "level": frame.level,
        "pc": hex(frame.pc),
        **_spot_document(frame.spot),
        **_name_document(frame.name),
        "file": shown(frame.file) if frame.file is not None else None,
        "line": frame.line,
        "plugin": is_plugin(frame.spot.module),
    }


def _spot_document(spot: Spot) -> dict[str, Any]:
    from gdbext.render.printable import shown

    document: dict[str, Any] = {"address": hex(spot.address), "module": None, "offset": None}
    if spot.module is not None:
        document["module"] = shown(spot.module.path)
        document["offset"] = hex(spot.address - spot.module.bias)
    elif spot.ghost is not None:
        document["module"] = shown(spot.ghost.library.path) or None
        document["offset"] = hex(spot.ghost.offset)
    document |= _name_document(spot.definition.symbol if spot.definition else None)
    document["unloaded"] = spot.ghost is not None
    document["probable"] = spot.ghost is not None and spot.ghost.library.probable
    return document


def _name_document(name: str | None) -> dict[str, Any]:
    from gdbext.inferior.frames import readable
    from gdbext.render.printable import shown

    plain = readable(name)
    return {"symbol": name, "demangled": shown(plain) if plain else None}


def deadlock_titles(facts: ThreadFacts | None) -> Iterator[str]:
    """What matters most in a process that waits for itself; None: its threads are not known."""
    for deadlock in facts.deadlocks if facts is not None else ():
        head = "deadlock" if deadlock.certain else "perhaps a deadlock"
        yield f"[gdbext] {head}: {deadlock.text}"
