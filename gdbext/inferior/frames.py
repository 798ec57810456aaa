"""Threads, frames, registers and the signal of a stop; a selection is always restored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import gdb

from gdbext.elf.arch import Arch
from gdbext.inferior.text import tolerant
from gdbext.inferior.unwinding import Unwinding, frame_register, older
from gdbext.linker.loaded.tables import Definition
from gdbext.linker.places import Map
from gdbext.linker.threads.threads import Thread

_MOST_THREADS = 10_000
_MANGLED = re.compile(r"_[ZRD][\w.$@]{1,4000}", re.ASCII)


def read_threads(inferior: gdb.Inferior, arch: Arch) -> Sequence[Thread]:
    """Every thread with its SP and TP; the selected thread and frame stay selected."""
    return _read(arch, sorted(inferior.threads(), key=lambda t: t.num)[:_MOST_THREADS])


def read_selected_thread(arch: Arch) -> Thread | None:
    """The selected thread alone: asking all 10,000 of a core takes GDB long."""
    selected: gdb.InferiorThread | None = gdb.selected_thread()
    return next(iter(_read(arch, [selected])), None) if selected is not None else None


def _read(arch: Arch, threads: Sequence[gdb.InferiorThread]) -> Sequence[Thread]:
    selected: gdb.InferiorThread | None = gdb.selected_thread()
    if selected is None:
        return ()
    frame = selected_frame()
    try:
        return tuple(
            _thread(arch, thread)
            for thread in threads
            if thread.is_valid() and not thread.is_running()
        )
    finally:
        selected.switch()
        if frame is not None and frame.is_valid():
            frame.select()


def register(name: str) -> int | None:
    """A register of the selected frame, unsigned; None when it is not available."""
    frame = selected_frame()
    return frame_register(frame, name) if frame is not None else None


def innermost_register(name: str) -> int | None:
    """A register of the selected thread, whichever of its frames is selected."""
    try:
        return frame_register(gdb.newest_frame(), name)
    except gdb.error:
        return None  # no thread, or one that runs


def stack_pointers(name: str, most: int) -> Iterator[int]:
    """SP, which is the register `name`, in the selected frame and in those further out."""
    frame = selected_frame()
    try:
        for _ in range(most):
            pointer = frame_register(frame, name) if frame is not None else None
            if frame is None or pointer is None:
                return
            yield pointer
            frame = frame.older()
    except gdb.error:
        return  # the stack is damaged from here on


@contextmanager
def selected_level(level: int) -> Iterator[None]:
    """Select a frame by its number, and what was selected again afterwards."""
    before = selected_frame()
    frame: gdb.Frame | None = gdb.newest_frame()
    for _ in range(level):
        frame = frame.older() if frame is not None else None
    if frame is not None:
        frame.select()
    try:
        yield
    finally:
        if before is not None and before.is_valid():
            before.select()


def frame_level(frame: gdb.Frame) -> int:
    """Its number in a backtrace; GDB 11 has Frame.level(), older ones have not."""
    level = 0
    newer = frame.newer()
    while newer is not None:
        level, newer = level + 1, newer.newer()
    return level


def read_frames(most: int, unwinding: Unwinding | None = None) -> list[Frame]:
    """The frames of the selected thread, innermost first, at most `most`."""
    while True:
        found: list[Frame] = []
        try:
            frame: gdb.Frame | None = gdb.newest_frame()
            while frame is not None and len(found) < most:
                found.append(_frame(frame, found[-1] if found else None, unwinding))
                frame = older(frame, unwinding)
        except gdb.error:
            pass  # the stack is damaged from here on: GDB cannot unwind further
        if unwinding is None or not unwinding.load(f.pc for f in found):
            return found


def function_at(address: int) -> Definition | None:
    """The function at an address by debug info, which may know what no symbol table does."""
    try:
        block = gdb.block_for_pc(address)
    except (gdb.error, RuntimeError):
        return None
    while block is not None and block.function is None:
        block = block.superblock
    if block is None or block.function is None:
        return None
    function = block.function
    return Definition(tolerant(lambda: function.linkage_name), address - block.start)


def source_position(address: int) -> tuple[str | None, int | None]:
    """(file, line) of an address by debug info."""
    place = gdb.find_pc_line(address)
    return (tolerant(place.symtab.fullname), place.line) if place.symtab else (None, None)


class Signal(NamedTuple):
    """The siginfo of a stop: `address` is si_addr, where the kind of signal has one, `sender`
    (si_pid, si_uid), where a process sent it."""

    code: int
    address: int | None
    sender: tuple[int, int]


def signal_info() -> Signal | None:
    """siginfo(5) of the selected thread; None where the target does not tell (qemu-user 7.2)."""
    info = gdb.convenience_variable("_siginfo")
    if info is None:
        return None
    try:
        code = int(info["si_code"])
        fields = info["_sifields"]  # a union
        address = int(fields["_sigfault"]["si_addr"]) & (1 << 64) - 1
        sender = int(fields["_kill"]["si_pid"]), int(fields["_kill"]["si_uid"])
    except gdb.error:
        return None
    return Signal(code, address, sender)


def careful(space: Map, last_signal: Sequence[str]) -> Map:
    """`space`, which reads no unknown address after a SIGBUS where nobody lists the mappings.

    qemu-user's stub (7.2) reads a page that has no file behind it without precaution and dies.
    """
    if "SIGBUS" in last_signal and not space.process.regions():
        return replace(space, probe=False)
    return space


def instruction_at(pc: int) -> str | None:
    """The instruction at `pc` in AT&T syntax (x86-64) or the CPU's only one (ARM64)."""
    frame = selected_frame()
    if frame is None:
        return None
    flavor = gdb.parameter("disassembly-flavor") if _has_flavor() else None
    try:
        if flavor not in (None, "att"):
            gdb.execute("set disassembly-flavor att", to_string=True)
        return str(frame.architecture().disassemble(pc)[0]["asm"])
    except gdb.error:
        return None
    finally:
        if flavor not in (None, "att"):
            gdb.execute(f"set disassembly-flavor {flavor}", to_string=True)


def _has_flavor() -> bool:
    """GDBs for ARM64 alone have no such setting."""
    try:
        gdb.parameter("disassembly-flavor")
    except RuntimeError:
        return False
    return True


_LANGUAGES = {"Z": "c++", "R": "rust", "D": "d"}


def demangle(name: str) -> str:
    """A C++, Rust or D name as people write it; the name itself when it is not mangled."""
    # The name is the program's: GDB would run a second line of it as a command.
    if not _MANGLED.fullmatch(name):
        return name
    try:
        # The language of the frame may be another, which cannot demangle it.
        command = f"demangle -l {_LANGUAGES[name[1]]} -- {name}"
        return gdb.execute(command, to_string=True).strip() or name
    except gdb.error:
        return name


def definition_text(definition: Definition) -> str:
    """A symbol as people write it, and the offset in it."""
    offset = f"+{definition.offset:#x}" if definition.offset else ""
    return demangle(definition.symbol) + offset


def readable(name: str | None) -> str | None:
    """What demangle() makes of a name; None where that is the name itself."""
    plain = demangle(name) if name else None
    return plain if plain != name else None


class Frame(NamedTuple):
    """One frame. `lookup` is an address inside the call, since a return address may already be
    behind the function; `file` and `line` are None without debug info. `by_record`: a frame
    record tells of it, and not GDB."""

    level: int
    pc: int
    lookup: int
    function: str | None
    file: str | None
    line: int | None
    by_record: bool = False


def _frame(frame: gdb.Frame, inner: Frame | None, unwinding: Unwinding | None) -> Frame:
    pc = int(frame.pc())
    other = unwinding is not None and unwinding.is_other_build(pc)
    # A frame that a signal interrupted is at its very PC, as the innermost one is.
    newer = frame.newer()
    exact = newer is None or newer.type() == gdb.SIGTRAMP_FRAME
    place = frame.find_sal()
    symtab = None if other else place.symtab
    return Frame(
        level=inner.level + 1 if inner else 0,
        pc=pc,
        lookup=pc if exact else pc - 1,
        function=None if other else tolerant(frame.name),
        file=tolerant(symtab.fullname) if symtab else None,
        line=place.line if symtab else None,
    )


def selected_frame() -> gdb.Frame | None:
    """The selected frame, None when there is none."""
    # GDB 13.1 looks at its caller first, and fails where that is one of qemu's signal frames.
    for find in (gdb.selected_frame, gdb.newest_frame):
        try:
            return find()
        except gdb.error:
            continue
    return None


def _thread(arch: Arch, thread: gdb.InferiorThread) -> Thread:
    thread.switch()
    frame = gdb.newest_frame()
    pointers = (frame_register(frame, name) for name in arch.thread_pointers)
    return Thread(
        number=thread.num,
        lwp=thread.ptid[1],
        stack_pointer=frame_register(frame, arch.sp) or 0,
        thread_pointer=next((p for p in pointers if p), None),
    )
