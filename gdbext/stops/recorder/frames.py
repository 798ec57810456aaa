"""Backtraces and names at the moment of an event, at the cost of one memory read for most.

Unwinding costs GDB a tenth of a millisecond a frame and more where many libraries are loaded. A
call that comes again from the same return address with the same stack pointer has the same
frames if every return address still stands where it stood, level by level: the size of a frame
is fixed by its code. So one read of the stack replaces the unwinding.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import gdb

from gdbext.elf.arch import Arch
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory
from gdbext.findings.tracing.events import Spot
from gdbext.inferior import Inferior
from gdbext.inferior.frames import function_at, source_position
from gdbext.stops.recorder.modules import ModuleBook, Record

FRAMES = 8
_DEEPEST = 1 << 14  # bytes of stack that are compared
_MOST_WALKS = 4096
_MOST_SPOTS = 1 << 16
_FURTHEST = 200  # frames that are walked to see whether a call is still running


class _Walk(NamedTuple):
    """Frames seen before: `modules` are those that hold them (None: a frame lies in none),
    `words` (offset from SP, return address) of each frame above the first."""

    frames: tuple[Spot, ...]
    modules: tuple[Record | None, ...]
    words: tuple[tuple[int, bytes], ...]


class Backtraces:
    """What names and frames there are, for one process."""

    def __init__(self, arch: Arch, book: ModuleBook) -> None:
        self._arch = arch
        self._book = book
        self._walks: dict[tuple[int, int], _Walk] = {}
        self._spots: dict[tuple[int, str | None, str | None, int], Spot] = {}

    def take(self, memory: Memory, back: int, sp: int) -> tuple[Spot, ...]:
        """The frames above a function that was just entered, its caller first.

        `back` is the return address, `sp` the stack pointer.
        """
        walk = self._walks.get((back, sp))
        if walk is not None and self._holds(memory, walk, sp):
            return walk.frames
        found = self._unwind(back)
        frames = tuple([self.spot(pc) for pc, _ in found])
        self._remember(memory, back, sp, found, frames)
        return frames

    def _holds(self, memory: Memory, walk: _Walk, sp: int) -> bool:
        if not all(self._is_there(record) for record in walk.modules):
            return False  # other code lies there now
        if not walk.words:
            return True
        try:
            stack = memory.read(sp, walk.words[-1][0] + 8)
        except Unreadable:
            return False
        return all(stack[offset : offset + 8] == word for offset, word in walk.words)

    def _is_there(self, record: Record | None) -> bool:
        """Whether a module is still loaded, or the same file lies at the same place again."""
        if record is None:
            return False
        if self._book.live.get(record.map.address) is record:
            return True
        other = self._book.owner(record.start)
        return other is not None and other.key == record.key

    def _unwind(self, back: int) -> list[tuple[int, int]]:
        """(pc, stack pointer) of the frames above the newest one."""
        found: list[tuple[int, int]] = []
        code = self._arch.code_address
        try:
            frame = gdb.newest_frame().older()
            while frame is not None and len(found) < FRAMES:
                stack = int(frame.read_register(self._arch.sp)) & (1 << 64) - 1
                found.append((code(int(frame.pc())), stack))
                frame = frame.older()
        except (gdb.error, ValueError):
            pass  # the stack cannot be unwound further
        if not found or found[0][0] != back:
            return [(back, 0)]  # GDB has no unwind information (yet): the caller is known anyway
        return found

    def _remember(
        self,
        memory: Memory,
        back: int,
        sp: int,
        found: list[tuple[int, int]],
        frames: tuple[Spot, ...],
    ) -> None:
        """Where each return address stands: between the stack pointers of two frames."""
        slots: list[tuple[int, bytes]] = []
        for (_, low), (pc, high) in zip(found, found[1:]):
            if not sp <= low < high <= sp + _DEEPEST:
                return
            try:
                words = struct.unpack(
                    f"<{(high - low) // 8}Q", memory.read(low, (high - low) // 8 * 8)
                )
            except (Unreadable, struct.error):
                return
            places = [i for i, w in enumerate(words) if self._arch.code_address(w) == pc]
            if not places:
                return
            word = struct.pack("<Q", words[places[-1]])
            slots.append((low - sp + 8 * places[-1], word))
        if len(self._walks) >= _MOST_WALKS:
            self._walks.clear()
        modules = {id(r): r for r in [self._book.owner(pc - 1) for pc, _ in found]}
        self._walks[back, sp] = _Walk(frames, tuple(modules.values()), tuple(slots))

    def spot(self, pc: int, exact: bool = False) -> Spot:
        """A place in code with its names; each place of a file is looked up once."""
        record = self._book.owner(pc if exact else pc - 1)
        if record is None:
            return Spot(pc)
        key = (pc - record.bias, record.path, record.build_id, 0)
        spot = self._spots.get(key)
        if spot is None:
            if len(self._spots) >= _MOST_SPOTS:
                self._spots.clear()
            spot = self._spots[key] = self._name(pc, record, pc if exact else pc - 1)
        return spot if spot.pc == pc else spot._replace(pc=pc, bias=record.bias)

    def _name(self, pc: int, record: Record, lookup: int) -> Spot:
        file, line = source_position(lookup)
        named = function_at(lookup)
        if named is None:
            try:
                inferior = Inferior()
                module = self._book.module(record, inferior.memory)
                named = inferior.tables.name(module, lookup)
            except Problem:
                named = None
        name, offset = (named.symbol, named.offset + pc - lookup) if named else (None, 0)
        return Spot(pc, record.path, record.bias, record.build_id, name, offset, file, line)


def is_below(arch: Arch, wanted: int, back: int) -> bool | None:
    """Whether a frame of the selected thread is the caller of a call: the call still runs.

    `wanted` is the stack pointer behind the call, `back` its return address: another call from
    the same frame has the same stack pointer.

    None where the frames end before that can be seen.
    """
    try:
        frame: gdb.Frame | None = gdb.newest_frame()
        for _ in range(_FURTHEST):
            if frame is None:
                return None
            stack = int(frame.read_register(arch.sp)) & (1 << 64) - 1
            if stack >= wanted:
                return stack == wanted and arch.code_address(int(frame.pc())) == back
            frame = frame.older()
    except (gdb.error, ValueError):
        pass  # no unwind information
    return None
