"""The callers on an ARM64 stack by its frame records, where GDB cannot unwind.

The frame register leads to {the caller's frame record, the return address} (AAPCS64, 6.4.6), which
GCC and Clang keep up in all but leaf functions. GDB 13 gives up on code that signs its return
addresses in qemu-user's own cores, which lack the note that says where the signature is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gdbext.elf.arch import Arch
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_words

# Sizes of user addresses in Linux (arch/arm64, CONFIG_ARM64_VA_BITS), a signature being above
_ADDRESS_BITS = (52, 48, 47, 42, 39)
_LONGEST_CALL = 8
_LARGEST_FRAME = 1 << 24


def read_callers(
    memory: Memory,
    arch: Arch,
    pc: int,
    link: int,
    record: int,
    same_function: Callable[[int, int], bool],
) -> Iterator[int]:
    """The return addresses of a thread from the innermost on, without their signatures.

    `link` and `record` are its link and frame registers. Ends where no call is seen that returns
    to such an address."""
    first = return_address(memory, arch, link)
    if first is not None and same_function(pc, first):
        first = None  # it returned there from a call of its own
    if first is not None:
        yield first
    while record and record % 8 == 0:
        try:
            outer, back = read_words(memory, record, 2)
        except Unreadable:
            return
        address = return_address(memory, arch, back)
        if address is None:
            return
        if address != first:  # in its first instructions a function's record holds the same
            yield address
        first = None
        if not record < outer <= record + _LARGEST_FRAME:
            return
        record = outer


def return_address(memory: Memory, arch: Arch, value: int) -> int | None:
    """The address in a value that may be signed, if it is behind a call."""
    for bits in _ADDRESS_BITS:
        address = value & (1 << bits) - 1
        try:
            code = memory.read(address - _LONGEST_CALL, _LONGEST_CALL)
        except Unreadable:
            continue
        if arch.follows_call(code):
            return address
    return None
