"""glibc's static TLS area: its size, how much is used and how much is left.

Sources: glibc, elf/dl-tls.c (_dl_determine_tlsoffset, _dl_tls_static_surplus_init) and
elf/dl-reloc.c (_dl_try_allocate_static_tls).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_words
from gdbext.linker.tls.tlsstate import TlsState, Variables

_LARGEST = 1 << 32
_MOST_ALIGN = 1 << 21
_CONTROL_ALIGN = 64  # the largest TCB_ALIGNMENT (glibc, nptl/descr.h)
_SMALLEST_CONTROL, _LARGEST_CONTROL = 1024, 1 << 14


@dataclass(frozen=True)
class StaticTls:
    """The static TLS area that every thread has. All numbers are bytes.

    `size` is the area with its control block, `control` what struct pthread takes of it, 0 where
    `used` counts the control block (ARM64). A dlclose lowers `used` only if its block was the
    last one. `surplus` is the spare room that was planned at the start, `optional` how much of
    what is left may go to TLSDESC; None: this glibc has no such number, or it was not found.
    """

    size: int
    align: int
    used: int
    control: int
    surplus: int | None
    optional: int | None
    below: bool

    @property
    def room(self) -> int:
        """What blocks can have of it."""
        return self.size - self.control

    @property
    def left(self) -> int:
        """The size of the largest TLS segment that still gets static TLS, if it needs no
        alignment."""
        return max(self.room - self.used, 0)

    def fits(self, size: int, align: int, first_byte: int = 0) -> bool:
        """Whether a TLS segment that is dlopened now gets static TLS if it must have it.

        `first_byte` is its address modulo its alignment. Source: _dl_try_allocate_static_tls
        with `optional` false.
        """
        if align > self.align:
            return False
        if self.below:
            return size + first_byte <= self.left
        start = -(-(self.used - first_byte) // align) * align + first_byte
        return start + size <= self.size

    @property
    def starts(self) -> range:
        """What `used` can have been when the area was planned, by `size` and `surplus`."""
        if self.surplus is None:
            return range(self.used + 1)
        last = self.room - self.surplus
        step = self.align if self.below else _CONTROL_ALIGN
        return range(max(last - step + 1, 0), min(last, self.used) + 1)


def find_static(
    state: TlsState, variables: Variables, below: bool, control: int, lowest: int
) -> StaticTls | None:
    """The numbers of static TLS; None unless exactly one set of words agrees with itself.

    `control` is sizeof (struct pthread) where blocks lie `below` it, 0 elsewhere; `lowest` is
    how far the blocks that are static reach.
    """
    areas = _candidates(state, variables, below, control)
    found = {area for area in areas if _agrees(area, lowest)}
    return found.pop() if len(found) == 1 else None


def _candidates(
    state: TlsState, variables: Variables, below: bool, control: int
) -> Iterator[StaticTls]:
    numbers, constants = state.numbers, variables.constants
    if len(numbers) in (2, 3):  # nelem, used, optional; what never changes is constant (2.34)
        optional = numbers[2] if len(numbers) == 3 else None
        for size, align, surplus in zip(constants, constants[1:], constants[2:]):
            yield StaticTls(size, align, numbers[1], control, surplus, optional, below)
    elif len(numbers) in (4, 5):  # nelem, size, used, align, and optional from 2.32 on
        optional = numbers[4] if len(numbers) == 5 else None
        _, size, used, align = numbers[:4]
        yield StaticTls(size, align, used, control, None, optional, below)


def _agrees(area: StaticTls, lowest: int) -> bool:
    align = area.align
    if not 16 <= align <= _MOST_ALIGN or align & (align - 1):
        return False
    if not lowest <= area.used <= area.room < _LARGEST:
        return False
    return area.room % (align if area.below else 16) == 0 and bool(area.starts)


def with_surplus(area: StaticTls, variables: Variables, start: int) -> StaticTls:
    """`area` with its surplus, where one word alone of `_rtld_global_ro` can be it.

    In glibc 2.32, 2.33 and Debian's 2.31 it stands alone there; before there was none. `start` is
    `used` when the area was planned.
    """
    if area.surplus is not None:
        return area
    step = area.align if area.below else _CONTROL_ALIGN
    last = area.room - start
    words = {word for word in variables.constants if max(last - step, 0) < word <= last}
    return replace(area, surplus=words.pop()) if len(words) == 1 else area


def planned_control(state: TlsState, surplus: int, start: int) -> int | None:
    """The size of x86-64's struct pthread in a static program: what is left of the area's size
    (glibc, csu/libc-tls.c, init_static_tls). `start` is `used` when the area was planned."""
    if len(state.numbers) not in (4, 5):
        return None
    _, size, _, align = state.numbers[:4]
    if not 16 <= align <= _MOST_ALIGN:
        return None
    control = size - -(-(start + surplus) // align) * align
    fits = _SMALLEST_CONTROL <= control < _LARGEST_CONTROL and control % _CONTROL_ALIGN == 0
    return control if fits else None


def find_control(memory: Memory, pointer: int, state: TlsState) -> int | None:
    """The size of x86-64's struct pthread, by the main thread's own control block.

    Behind it stands where ld.so allocated the area, at most the alignment before its first byte
    (glibc, elf/dl-tls.c, tcb_to_pointer_to_free_location). `pointer` is the thread pointer.
    For glibc before 2.34, where libc.so.6 does not tell and the sizes are in `state`.
    """
    if len(state.numbers) not in (4, 5):
        return None
    _, size, _, align = state.numbers[:4]
    try:
        first = pointer + _SMALLEST_CONTROL
        words = read_words(memory, first, (_LARGEST_CONTROL - _SMALLEST_CONTROL) // 8)
    except Unreadable:
        return None
    found = [
        control
        for control in range(_SMALLEST_CONTROL, _LARGEST_CONTROL, _CONTROL_ALIGN)
        if 0 <= pointer + control - size - words[(control - _SMALLEST_CONTROL) // 8] <= align
    ]
    return found[0] if len(found) == 1 else None
