"""The slots that the code around a crash uses: calls and loads of one function, nothing else."""

from __future__ import annotations

import struct

from gdbext.findings.crash.nearslots import CALL, LOAD, find_near_slots
from tests.unit.test_findings_calls import calling

AT = 0x500  # where calling() puts the code


def relative(opcode: bytes, target: int, at: int) -> bytes:
    """An instruction with a 32-bit displacement to `target`; it begins `at` bytes into the code."""
    return opcode + struct.pack("<i", target - (AT + at + len(opcode) + 4))


def test_calls_and_loads() -> None:
    code = relative(b"\xff\x15", 0x418, 0)  # call *slot(%rip)
    code += relative(b"\xe8", 0x310, 6)  # call of a PLT entry
    code += relative(b"\x48\x8b\x05", 0x428, 11)  # mov slot(%rip),%rax
    code += relative(b"\x48\x8b\x05", 0x10, 18)  # no slot
    code += relative(b"\xe8", 0x700, 25)  # no PLT entry
    space, linker, _ = calling(code)
    user = linker.modules[1]
    found = find_near_slots(space, user.bias + AT + 11)
    assert [(n.how, n.slot.address - user.bias, n.code and n.code - user.bias) for n in found] == [
        (CALL, 0x418, AT + 6),
        (CALL, 0x420, AT + 11),
        (LOAD, 0x428, None),
    ]
    assert all(near.module is user for near in found)


def test_what_is_far_away_or_no_code() -> None:
    space, linker, _ = calling(relative(b"\xff\x15", 0x418, 0))
    user = linker.modules[1]
    assert find_near_slots(space, user.bias + AT + 0x200) == []
    assert find_near_slots(space, 0) == []
    assert find_near_slots(space, 0x7FFF00000000) == []
