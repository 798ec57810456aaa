"""ARM64 frame records: callers with signed return addresses, leaf functions, damaged chains."""

from __future__ import annotations

import struct

import pytest

from gdbext.elf.arch import AARCH64
from gdbext.linker.threads.framerecords import read_callers
from tests.unit import crafted
from tests.unit.crafted import words

CODE, STACK = 0x5500001000, 0x7FFFF000
BL, NOP = 0x94000010, 0xD503201F
# return addresses: behind a call each
FIRST, SECOND, THIRD = CODE + 0x104, CODE + 0x204, CODE + 0x304
PC = CODE + 0x10


def code() -> bytes:
    instructions = [NOP] * 1024
    for address in (FIRST, SECOND, THIRD):
        instructions[(address - 4 - CODE) // 4] = BL
    return struct.pack("<1024I", *instructions)


def callers(link: int, record: int, stack: bytes, own: tuple[int, ...] = ()) -> list[int]:
    memory = crafted.spread({CODE: code(), STACK: stack})
    return list(
        read_callers(memory, AARCH64, PC, link, record, lambda pc, at: pc == PC and at in own)
    )


def chain(*backs: int) -> bytes:
    """Records 32 bytes apart, the last of which leads nowhere."""
    rows = [(STACK + 32 * n, back) for n, back in enumerate(backs, 1)]
    rows[-1] = (0, rows[-1][1])
    return b"".join(words(outer, back, 0, 0) for outer, back in rows)


def test_a_leaf_functions_caller_is_in_the_link_register() -> None:
    assert callers(FIRST, STACK, chain(SECOND, THIRD)) == [FIRST, SECOND, THIRD]


def test_a_function_that_has_called_another_has_its_caller_in_its_record() -> None:
    assert callers(FIRST, STACK, chain(SECOND, THIRD), own=(FIRST,)) == [SECOND, THIRD]
    # before its first call the link register holds what its record holds
    assert callers(SECOND, STACK, chain(SECOND, THIRD)) == [SECOND, THIRD]


@pytest.mark.parametrize("signature", [0x0036 << 48, 0x0009 << 48, 0x55AA << 40])
def test_signed_addresses(signature: int) -> None:
    assert callers(signature | FIRST, STACK, chain(signature | SECOND)) == [FIRST, SECOND]


def test_what_no_call_returns_to_ends_the_chain() -> None:
    assert callers(CODE + 0x400, STACK, chain(SECOND, CODE + 0x400, THIRD)) == [SECOND]
    assert callers(0, STACK, chain(0x1234567, THIRD)) == []


def test_damaged_chains() -> None:
    assert callers(FIRST, STACK + 4, chain(SECOND)) == [FIRST]
    assert callers(FIRST, 0xDEAD0000, chain(SECOND)) == [FIRST]
    assert callers(FIRST, STACK, words(STACK, SECOND)) == [FIRST, SECOND], "round and round"
    assert callers(FIRST, STACK, words(STACK - 64, SECOND)) == [FIRST, SECOND], "downwards"
    assert callers(FIRST, STACK, words(1 << 62, SECOND)) == [FIRST, SECOND], "too far up"
