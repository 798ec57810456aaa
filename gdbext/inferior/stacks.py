"""The stacks of all threads, as far as questions about running code need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gdb

from gdbext.inferior.framerecords import callers_behind
from gdbext.inferior.frames import selected_frame
from gdbext.inferior.text import tolerant
from gdbext.inferior.unwinding import older
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.threads.threads import Stack, StackFrame

if TYPE_CHECKING:
    from gdbext.inferior import Inferior

_MOST_THREADS = 64
_MOST_FRAMES = 400
_ADDRESS = (1 << 48) - 1  # ARM64 may sign a return address in the bits above (PAuth)


def read_stacks(inferior: Inferior, linker: Linker) -> tuple[list[Stack], list[str]]:
    """The stacks of the selected thread, the first one and others, and what was left out.

    The selected thread and frame stay selected.
    """
    selected: gdb.InferiorThread | None = gdb.selected_thread()
    if selected is None:
        return [], ["no thread is selected"]
    frame = selected_frame()
    threads = sorted(inferior.gdb.threads(), key=lambda t: (t.num != selected.num, t.num))
    stacks, notes = [], []
    try:
        for thread in threads[:_MOST_THREADS]:
            if not thread.is_valid() or thread.is_running():
                continue
            thread.switch()
            frames, whole = _read_stack(inferior, linker)
            stacks.append(Stack(thread.num, tuple(frames)))
            if not whole:
                notes.append(f"thread {thread.num}: only {_MOST_FRAMES} frames were looked at")
    finally:
        selected.switch()
        if frame is not None and frame.is_valid():
            frame.select()
    if len(threads) > _MOST_THREADS:
        notes.append(f"only {_MOST_THREADS} of {len(threads)} threads were looked at")
    return stacks, notes


def _read_stack(inferior: Inferior, linker: Linker) -> tuple[list[StackFrame], bool]:
    found: list[StackFrame] = []
    place, name = 0, None
    try:
        frame: gdb.Frame | None = gdb.newest_frame()
        exact = True
        while frame is not None and len(found) < _MOST_FRAMES:
            place = int(frame.pc()) & _ADDRESS
            name = None if inferior.is_other_build(place) else tolerant(frame.name)
            found.append(StackFrame(place if exact else place - 1, name))
            # What a signal interrupted is at its very PC, as the innermost frame is.
            exact = frame.type() == gdb.SIGTRAMP_FRAME
            frame = older(frame, inferior.unwinding)
    except gdb.error:
        frame = None  # the stack is damaged from here on: GDB cannot unwind further
    if frame is None:
        behind = callers_behind(inferior, linker, place, name)[: _MOST_FRAMES - len(found)]
        found += [StackFrame(address - 1, None) for address in behind]
    return found, frame is None
