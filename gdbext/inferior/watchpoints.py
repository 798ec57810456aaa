"""Hardware watchpoints on GOT slots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import gdb

from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import read_word
from gdbext.inferior import Inferior
from gdbext.linker.loaded.images import linker_image, main_image
from gdbext.linker.loaded.linkmaps import LinkMap, read_namespaces
from gdbext.linker.loaded.rendezvous import find_r_debug

PRESENT, ABSENT, MOVED = "present", "absent", "moved"


class Watched(NamedTuple):
    """The slot at `address`: whose it is, in words, and l_name and l_addr of its module."""

    address: int
    title: str
    l_name: bytes | None
    l_addr: int


class Write(NamedTuple):
    """What a slot held and holds; `before` is None where that is not known."""

    before: int | None
    value: int


class SlotWatchpoint(gdb.Breakpoint):
    """Stops when a slot is written, except by ld.so with what its own lookup gives.

    The decision is made in stop(), which only reads: the thread that wrote is selected there on
    GDB 13.1 and 18.1, and `next`, `finish`, `until` and a batch of commands go on over ld.so's
    write as if nothing had been. The other way, a silent stop and a posted `continue`, was tried:
    it cuts `next` and `finish` short on 18.1, a batch goes on to its next command before the
    program does, and on 13.1 it ends in a fatal error of GDB itself.
    """

    def __init__(self, watched: Watched, is_fine: Callable[[Inferior, int, int], bool]) -> None:
        super().__init__(
            f"*(void **) {watched.address:#x}", type=gdb.BP_WATCHPOINT, wp_class=gdb.WP_WRITE
        )
        self.watched = watched
        self.is_fine = is_fine
        self.write: Write | None = None  # the latest that stopped the program
        self.problem: str | None = None  # why it could not be judged
        self.value: int | None = None
        self.pid = 0
        self.seen = False  # whether its module was there, in this process

    def stop(self) -> bool:
        """Whether somebody else than ld.so wrote. Nothing is printed and nothing is changed."""
        self.problem = None
        try:
            inferior = Inferior()
            if self.whereabouts(inferior) != PRESENT:
                return False  # other data lies there now, or ld.so has not listed its module yet
            before, self.value = self.value, read_word(inferior.memory, self.watched.address)
            self.write = Write(before, self.value)
            pc = inferior.arch.code_address(int(gdb.newest_frame().pc()))
            return not self.is_fine(inferior, pc, self.watched.address)
        except Problem as problem:
            self.problem = str(problem)
            return True

    def whereabouts(self, inferior: Inferior) -> str:
        """Whether the slot's module is where it was; the process may be another one by now."""
        if self.pid != inferior.gdb.pid:
            self.pid, self.seen, self.value = inferior.gdb.pid, False, None
        maps = _maps(inferior)
        same = [m for m in maps if m.l_name == self.watched.l_name]
        if any(m.l_addr == self.watched.l_addr for m in same):
            self.seen = True
            return PRESENT
        return MOVED if same and not self.seen else ABSENT


def _maps(inferior: Inferior) -> list[LinkMap]:
    """The link_maps of every namespace; [] before there are any."""
    try:
        r_debug = find_r_debug(inferior, main_image(inferior)[0])
        namespaces = read_namespaces(inferior.memory, r_debug, linker_image(inferior))
    except Problem:
        return []
    return [m for n in namespaces for m in n.maps]


def slot_watchpoints() -> list[SlotWatchpoint]:
    """Those that there are; one that was made before gdbext was loaded again counts as well."""
    return [b for b in gdb.breakpoints() if isinstance(getattr(b, "watched", None), tuple)]  # type: ignore[misc]


def set_watchpoint(
    inferior: Inferior, watched: Watched, is_fine: Callable[[Inferior, int, int], bool]
) -> SlotWatchpoint:
    """Watch a slot; raises Problem where the hardware cannot."""
    before = {b.number for b in gdb.breakpoints()}
    try:
        with _inserted_at_once(), _c_language():
            made = _quietly(lambda: SlotWatchpoint(watched, is_fine))
    except gdb.error as error:
        in_use = sum(b.type == gdb.BP_HARDWARE_WATCHPOINT for b in gdb.breakpoints()) - 1
        _delete_new(before)
        why = f"no hardware watchpoint is left ({in_use} in use)" if in_use > 0 else NONE
        raise Problem(f"{why}; GDB says: {' '.join(str(error).split())}") from error
    if made.type != gdb.BP_HARDWARE_WATCHPOINT:
        made.delete()
        raise Problem(
            "GDB offers no hardware watchpoint here, and a software one would single-step the "
            "whole program; see: show can-use-hw-watchpoints"
        )
    made.whereabouts(inferior)
    try:
        made.value = read_word(inferior.memory, watched.address)
    except Unreadable:
        made.value = None
    return made


NONE = "this target has no hardware watchpoints (qemu-user's stub has none)"


def _delete_new(before: set[int]) -> None:
    """GDB keeps a watchpoint that it could not insert, and would fail at each step for it."""
    for one in gdb.breakpoints():
        if one.number not in before:
            one.delete()


@contextmanager
def _inserted_at_once() -> Iterator[None]:
    """GDB asks the hardware now; else it would find out when the program runs on."""
    name = "breakpoint always-inserted"
    always = gdb.parameter(name)
    gdb.execute(f"set {name} on", to_string=True)
    try:
        yield
    finally:
        gdb.execute(f"set {name} {'on' if always else 'off'}", to_string=True)


@contextmanager
def _c_language() -> Iterator[None]:
    """The expression is C; GDB keeps its language with the watchpoint."""
    before = str(gdb.parameter("language"))
    gdb.execute("set language c", to_string=True)
    try:
        yield
    finally:
        gdb.execute(f"set language {before}", to_string=True)


_tasks: list[Callable[[], SlotWatchpoint]] = []
_results: list[SlotWatchpoint | gdb.error] = []


def run_task() -> None:
    """Do what _quietly() asks for; the `python` command would print an error as well."""
    try:
        _results.append(_tasks.pop()())
    except gdb.error as error:
        _results.append(error)


def _quietly(make: Callable[[], SlotWatchpoint]) -> SlotWatchpoint:
    """GDB announces a new watchpoint on its standard output, where -json allows nothing else.

    Only what a GDB command prints can be caught, so the call goes through one.
    """
    _tasks.append(make)
    gdb.execute(f"python __import__('sys').modules[{__name__!r}].run_task()", to_string=True)
    result = _results.pop()
    if isinstance(result, gdb.error):
        raise result
    return result
