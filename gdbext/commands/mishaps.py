"""The failures that a stopped process shows: errors that threads hold, stops in ld.so, crashes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gdbext import settings

if TYPE_CHECKING:
    from gdbext.findings.opening.dlopen_errors import Diagnosis, Recorded
    from gdbext.inferior import Inferior
    from gdbext.linker.loaded.modules import Linker

_NT_PRSTATUS = 1
_PROLOGUE = 48  # bytes of a function in which its arguments are still where the caller put them


def held_failures(inferior: Inferior, linker: Linker) -> tuple[list[Recorded], str | None]:
    """What each thread holds: those that nobody has read yet first, then the selected thread's."""
    from gdbext.findings.opening.dlopen_errors import Recorded, musl_object
    from gdbext.linker.opening.dlresults import read_dl_results

    selected = inferior.selected_thread()
    number = selected.number if selected else 0
    results, reason = read_dl_results(
        inferior, inferior.arch, linker, inferior.tables, inferior.threads()
    )
    results.sort(key=lambda r: (bool(r.returned), r.thread != number, r.thread))
    words = {True: "dlerror() has given it out", False: "dlerror() was not called yet"}
    return [
        Recorded(
            r.object or musl_object(r.text),
            r.text,
            r.code,
            f"thread {r.thread}" + (f"; {words[r.returned]}" if r.returned is not None else ""),
            r.thread,
            r.returned,
        )
        for r in results
    ], reason


def error_path(inferior: Inferior, linker: Linker) -> Recorded | None:
    """The failure that is just being raised, where the program is stopped in ld.so's function."""
    from gdbext.findings.opening.dlopen_errors import UNKNOWN, Recorded, classify
    from gdbext.inferior.frames import innermost_register
    from gdbext.linker.opening.dlresults import ARGUMENTS, signalled

    arch = inferior.arch
    pc = innermost_register(arch.pc)
    module = linker.owner(arch.code_address(pc)) if pc else None
    found = inferior.tables.name(module, pc) if module is not None and pc else None
    if found is None or found.offset > _PROLOGUE:
        return None
    values = [innermost_register(name) for name in ARGUMENTS[arch.machine]]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    told = signalled(inferior.memory, found.symbol, known)
    if told is None or classify(told[2]) == UNKNOWN:
        return None  # not the arguments any more
    code, about, text = told
    thread = inferior.selected_thread()
    number = thread.number if thread else None
    return Recorded(about, text, code, f"the program is in {found.symbol}", number, False)


def constructor_crash(inferior: Inferior, linker: Linker) -> Diagnosis | None:
    """The constructor in which a signal stopped the selected thread."""
    from gdbext.commands.running import read_turns
    from gdbext.elf.problem import Problem
    from gdbext.findings.crash.signals import REPORTED
    from gdbext.findings.opening.failures import crashed_constructor
    from gdbext.inferior.frames import definition_text, function_at

    signal = _signal(inferior)
    thread = inferior.selected_thread()
    if signal not in REPORTED or thread is None:
        return None
    try:
        turns = read_turns(inferior, linker)
    except Problem:
        return None  # what runs is not known
    running = [t for t in turns.beginning if t.state == "running" and t.active is not None]
    # constructors may open libraries: the innermost is the last in the order
    for turn in reversed(running):
        if turn.active is None or turn.active.thread != thread.number:
            continue
        function = turn.active.function
        address = function.address if function else None
        definition = function.definition if function else None
        definition = definition or (function_at(address) if address else None)
        name = definition_text(definition) if definition else "that it has"
        return crashed_constructor(turn.step.module, name, signal, thread.number)
    return None


def _signal(inferior: Inferior) -> str:
    """The signal of the stop; a core is the work of one (the first NT_PRSTATUS has its number)."""
    import signal

    if settings.last_signal or inferior.core is None:
        return settings.last_signal[0] if settings.last_signal else ""
    status = next((n.data for n in inferior.core.notes if n.type == _NT_PRSTATUS), b"")
    number = int.from_bytes(status[:4], "little")  # elf_siginfo.si_signo (linux/elfcore.h)
    return signal.Signals(number).name if number in set(signal.Signals) else ""


def lost_page(inferior: Inferior, linker: Linker) -> Diagnosis | None:
    """SIGBUS in ld.so: it touched a page of a file that ends before."""
    from gdbext.elf.problem import Problem
    from gdbext.elf.soundness import TRUNCATED, check_segments, segments_of
    from gdbext.findings.opening.dlopen_errors import Cause, Diagnosis
    from gdbext.inferior.frames import innermost_register, signal_info
    from gdbext.inferior.loading import process_host
    from gdbext.linker.loaded.modules import LINKER

    pc = innermost_register(inferior.arch.pc)
    owner = linker.owner(inferior.arch.code_address(pc)) if pc else None
    if _signal(inferior) != "SIGBUS" or owner is None or owner.kind != LINKER:
        return None
    info = signal_info()
    address = info.address if info else None
    regions = [r for r in inferior.regions() if address and r.start <= address < r.end and r.path]
    # without a list of mappings, the files of the namespace are looked through
    paths = [r.path for r in regions] or [m.path for m in linker.modules if m.path[:1] == "/"]
    host, _ = process_host(inferior, linker)
    for path in paths:
        try:
            data = host.search.view.open(path or "").data
            flaw = check_segments(data, segments_of(data), program=True)
        except Problem:
            continue
        if flaw is not None and flaw.kind == TRUNCATED:
            cause = Cause(
                TRUNCATED,
                f"{path} is cut short, and ld.so died in it: {flaw.detail}",
                (f"SIGBUS in {os.path.basename(owner.path)}"
                 + (f" at {address:#x}, in the mapping of that file" if regions else ""),),
                "Copy or install the file again, and check for a full disk.",
            )  # fmt: skip
            return Diagnosis(path or "", cause, None)
    return None
