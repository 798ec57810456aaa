"""plug-report: the whole post-mortem."""

from __future__ import annotations

import signal as signals
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import gdb

from gdbext import settings
from gdbext.commands.base import Argument, Command, Part, terminal_width
from gdbext.commands.conflicts import PlugConflicts
from gdbext.commands.got import PlugGot
from gdbext.commands.links import PlugLinks
from gdbext.commands.output import write
from gdbext.commands.threads import PlugThreads
from gdbext.commands.tls import PlugTls

if TYPE_CHECKING:
    import argparse

    from gdbext.commands.bundlefacts import BundleFacts
    from gdbext.inferior import Inferior
    from gdbext.inferior.frames import Frame
    from gdbext.linker.places import Place
    from gdbext.stops.crash import Crash

_MOST_FRAMES = 256
_PARTS: dict[str, tuple[str, type[Command], tuple[str, ...]]] = {
    "links": ("Modules", PlugLinks, ()),
    "got": ("Slots that are not ok", PlugGot, ("-all",)),
    "conflicts": ("Conflicts", PlugConflicts, ()),
    "threads": ("Threads", PlugThreads, ()),
    "tls": ("Thread-local storage", PlugTls, ()),
}


class ReportFacts(NamedTuple):
    """The crash itself, what the other commands have to say, by the keys of _PARTS, and what GDB
    warned of."""

    target: str
    program: str | None
    crash: Crash
    parts: dict[str, Part]
    warnings: list[str]
    documents: dict[str, dict[str, Any] | None]
    bundle: BundleFacts | None = None

    def document(self, key: str) -> dict[str, Any] | None:
        """A part as its own -json has it, made once: JSON and HTML both want all slots."""
        if key not in self.documents:
            self.documents[key] = self.parts[key].document()
        return self.documents[key]


BUNDLED = (
    Argument("-with-args", "Put the program's arguments into the bundle."),
    Argument("-with-environment", "Put its environment into the bundle."),
)


class PlugReport(Command):
    """Show the whole post-mortem of a crash: cause first, then everything around it.

    The cause, if one is to be seen that has to do with libraries; signal and fault address;
    the crashing thread's frames with module, offset and build-id; registers and what they point
    to; all modules; GOT slots that ld.so's own lookup does not confirm; conflicts; threads;
    thread-local storage. It works on a stopped process and on a core, also without symbols."""

    name = "plug-report"
    schema = "report"
    arguments = (
        Argument("-document", "Write the JSON document to FILE too.", "FILE", "file"),
        Argument("-html", "Write one page for a browser to FILE too.", "FILE", "file"),
        Argument("-bundle", "Write what plug-bundle writes to FILE too.", "FILE", "file"),
        *BUNDLED,
        Argument("-talk", "A file with what GDB said so far; its warnings are reported.", "FILE",
                 "file"),
        Argument("-progress", "Say on standard error what is being read."),
        Argument("-color", "Style the text even where it goes to a file."),
    )  # fmt: skip

    def facts(self, inferior: Inferior, args: argparse.Namespace) -> ReportFacts:
        from gdbext.stops.crash import read_crash

        _say(args, "frames")
        crash = read_crash(inferior, _signal(inferior), _MOST_FRAMES)
        parts = {}
        for key, (title, kind, words) in _PARTS.items():
            _say(args, title.lower())
            parts[key] = Part.of(kind, inferior, *words)
        warnings = _warnings(args.talk) if args.talk else []
        bundle = None
        if args.bundle:
            from gdbext.commands.bundlefacts import read_bundle

            _say(args, "files")
            bundle = read_bundle(inferior, parts, args.with_args, args.with_environment)
        path = inferior.main_path()
        return ReportFacts(inferior.target, path, crash, parts, warnings, {}, bundle)

    def also(self, facts: ReportFacts, args: argparse.Namespace) -> None:
        if args.document:
            write(iter([self.json(facts, args)]), args.document)
        if args.html:
            from gdbext.render.html import report_html

            write(report_html(self.document(facts, args), facts.document("got")), args.html)
        if args.bundle and facts.bundle is not None:
            from gdbext.commands.bundlefacts import pack, write_bundle

            write_bundle(args.bundle, pack(self.bundled(facts), facts.bundle))

    def bundled(self, facts: ReportFacts) -> dict[str, bytes]:
        """The report as a bundle has it: without texts out of the program's memory."""
        from gdbext.render.html import report_html

        registers = [register._replace(text=None) for register in facts.crash.registers]
        clean = facts._replace(crash=facts.crash._replace(registers=registers))
        args = self.parse([])
        texts = {
            "report.json": [self.json(clean, args)],
            "report.txt": (line + "\n" for line in _lines(clean, False)),
            "report.html": report_html(self.document(clean, args), facts.document("got")),
        }
        return {
            name: "".join(parts).encode("utf-8", "backslashreplace")
            for name, parts in texts.items()
        }

    def document(self, facts: ReportFacts, args: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG002
        from gdbext import __version__
        from gdbext.findings.crash import causes_document
        from gdbext.render.printable import shown

        crash = facts.crash
        frames = [_frame(frame, place) for frame, place in crash.frames]
        document: dict[str, Any] = {
            "gdbext": __version__,
            "target": facts.target,
            "program": shown(facts.program) if facts.program else None,
            **causes_document(crash.causes),
            "signal": crash.signal,
            "signal_meaning": crash.why,
            "fault_address": hex(crash.fault.address) if crash.fault else None,
            "fault_address_reason": shown(crash.fault_reason) if crash.fault_reason else None,
            "crash_frame": next((f for f in frames if f["module"] or f["unloaded"]), None),
            "frames": frames,
            "registers": [
                {"name": r.name, "value": None if r.value is None else hex(r.value)}
                for r in crash.registers
            ],
        }
        for key, part in facts.parts.items():
            found = facts.document(key)
            if key == "got" and found is not None:
                found = _not_ok(found)
            document[key] = found
            if found is None:
                document[f"{key}_reason"] = shown(part.problem or "it is not known")
        document["events"] = _events()
        document["warnings"] = [shown(line) for line in facts.warnings]
        return document

    def text(self, facts: ReportFacts, args: argparse.Namespace) -> Iterator[str]:
        from gdbext.stops.crash import use_color

        return _lines(facts, args.color or use_color())


def _lines(facts: ReportFacts, color: bool) -> Iterator[str]:
    from gdbext.render.fit import bold, wrapped
    from gdbext.render.printable import printable
    from gdbext.stops.report import report

    width = terminal_width()
    yield from report(facts.crash, color, width)
    for key, (title, _, _) in _PARTS.items():
        part = facts.parts[key]
        yield ""
        yield bold(f"{title}:", color)
        if key == "got" and part.facts is not None:
            yield from _not_ok_text(part)
        else:
            yield from part.text()
    if facts.warnings:
        yield ""
        yield bold("Warnings:", color)
        for line in facts.warnings:
            yield from wrapped("  ", printable(line), width)


def _say(args: argparse.Namespace, stage: str) -> None:
    if args.progress:
        gdb.write(f"plug-report: now {stage}\n", gdb.STDERR)


def _warnings(talk: str) -> list[str]:
    """What GDB warned of, each once; raises Problem."""
    from gdbext.elf.problem import Problem

    try:
        with open(talk, encoding="utf-8", errors="backslashreplace") as file:
            lines = [line.strip() for line in file]
    except OSError as error:
        raise Problem(f"cannot read {talk!r}: {error.strerror}") from error
    head = "warning: "
    return list(dict.fromkeys(line[len(head) :] for line in lines if line.startswith(head)))


def _events() -> list[dict[str, Any]]:
    """What plug-trace recorded, as its own -json has it."""
    trace = sys.modules.get("gdbext.stops.trace")
    state = trace.state() if trace is not None else None
    if state is None:
        return []
    from gdbext.stops.recorder.log import event_document

    return [event_document(event) for event in state.log.events.values()]


def _signal(inferior: Inferior) -> str | None:
    """The signal that stopped a process, or that ended it."""
    if inferior.core is None:
        return settings.last_signal[0] if settings.last_signal else None
    number = inferior.core.signal
    if number is None:
        return None
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _frame(frame: Frame, place: Place) -> dict[str, Any]:
    from gdbext.elf.notes import read_build_id
    from gdbext.render.printable import shown

    module, ghost = place.module, place.ghost
    path, offset, build_id = None, None, None
    if module is not None:
        path, offset = module.path, hex(frame.pc - module.bias)
        build_id = read_build_id(module.memory, module.image) if module.image else None
    elif ghost is not None:
        path, offset, build_id = ghost.library.path, hex(ghost.offset), ghost.library.build_id
    function = place.definition.symbol if place.definition else frame.function
    return {
        "level": frame.level,
        "pc": hex(frame.pc),
        "kind": place.kind,
        "module": shown(path) if path else None,
        "offset": offset,
        "build_id": build_id,
        "symbol": shown(function) if function else None,
        "file": shown(frame.file) if frame.file else None,
        "line": frame.line,
        "unloaded": ghost is not None,
        "probable": ghost.library.probable if ghost else False,
    }


def _not_ok(document: dict[str, Any]) -> dict[str, Any]:
    """plug-got's document with those slots alone that are not ok."""
    kept = []
    for module in document["modules"]:
        slots = [slot for slot in module["slots"] if slot["verdict"] != "ok"]
        header = module["got_header"]
        if slots or module["problem"] or (header and header["verdict"] not in ("ok", None)):
            kept.append({**module, "slots": slots})
    total = sum(len(module["slots"]) for module in document["modules"])
    return {"slots": total, "modules": kept}


def _not_ok_text(part: Part) -> Iterator[str]:
    from dataclasses import replace

    shown = 0
    for judged in part.facts:
        rows = [row for row in zip(judged.found.slots, judged.judgements) if row[1].verdict != "ok"]
        wrong = judged.header is not None and judged.header.verdict != "ok"
        if rows or judged.found.problem or wrong:
            slots = replace(judged.found, slots=[slot for slot, _ in rows])
            one = judged._replace(found=slots, judgements=[judgement for _, judgement in rows])
            yield from part.command.text([one], part.command.parse(["-all"]))
            shown += 1
    if not shown:
        total = sum(len(judged.found.slots) for judged in part.facts)
        yield f"none of {total}"
