"""Bad calls and the slots that they went through."""

from __future__ import annotations

import struct

from gdbext.findings.crash.calls import find_bad_call, handled_signal
from gdbext.linker.loaded.modules import Linker
from gdbext.linker.places import Map
from tests.unit import got_process
from tests.unit.crafted import words
from tests.unit.got_process import STACK


def calling(code: bytes, slot: int = 0, value: int = 0) -> tuple[Map, Linker, int]:
    """A process where `code`, a call, ends at the return address on the stack; `slot` is where a
    slot of the library is to hold `value`."""
    build, _, _, _ = got_process.made()
    user = build.objects[1]
    body = bytearray(build.runs[user.base])
    body[0x500 : 0x500 + len(code)] = code
    if slot:
        body[slot : slot + 8] = words(value)
    build.runs[user.base] = bytes(body)
    back = user.base + 0x500 + len(code)
    build.runs[STACK] = words(back) + bytes(4088)
    process = build.process()
    again = got_process.with_tables(process)
    return (*again, back)


def test_a_call_through_a_slot() -> None:
    code = b"\xff\x15" + struct.pack("<i", 0x430 - 0x506)  # call *0x430, the null GLOB_DAT slot
    space, linker, back = calling(code)
    user = linker.modules[1]
    call = find_bad_call(space, 0, STACK, None)
    assert call is not None
    assert (call.return_address, call.caller) == (back, user)
    assert call.slot is not None
    assert (call.slot.address, call.slot.symbol) == (user.bias + 0x430, "variable")
    assert call.slot_module is user
    # the same with a link register, as on ARM64
    assert find_bad_call(space, 0, 0, back) == call
    # what was called is not where the PC is
    jumped = find_bad_call(space, 0xDEAD0000, STACK, None)
    assert jumped == call._replace(slot=None, slot_module=None, jumped=True)
    assert (call.actor, jumped.actor) == (user, None)


def test_a_call_through_a_stub() -> None:
    code = b"\xe8" + struct.pack("<i", 0x310 - 0x505)
    space, linker, _ = calling(code, 0x420, 0x10)
    call = find_bad_call(space, 0x10, STACK, None)
    assert call is not None
    assert call.slot is not None
    assert call.slot.address == linker.modules[1].bias + 0x420


def test_a_call_through_a_register_has_no_slot() -> None:
    space, linker, _ = calling(b"\x90" * 6 + b"\xff\xd0")
    call = find_bad_call(space, 0, STACK, None)
    assert call is not None
    assert (call.caller, call.slot, call.slot_module) == (linker.modules[1], None, None)
    # no register has changed since, so one with another value did not lead there
    for value, jumped in ((0, False), (linker.modules[1].bias + 0x500, True)):
        call = find_bad_call(space, 0, STACK, None, {"rax": value}.get)
        assert call is not None
        assert call.jumped == jumped


def test_no_bad_call() -> None:
    space, linker, back = calling(b"\xff\xd0")
    assert find_bad_call(space, linker.modules[1].bias + 0x500, STACK, None) is None  # it is code
    assert find_bad_call(space, 0, 0xDEAD0000, None) is None
    assert find_bad_call(space, 0, STACK, 0x1234) is None  # returns to no module
    assert find_bad_call(space, 0, STACK, back) is not None
    space, _, _ = calling(b"\x90" * 8)
    assert (
        find_bad_call(space, 0, STACK, None) is None
    )  # no call stands before what is on the stack


def test_a_handler_that_the_kernel_called() -> None:
    """It returns to sigreturn, which is no call."""
    space, _, back = calling(b"\x90")
    assert handled_signal(space, 0, back, 10) is None
    sigreturn = b"\x48\xc7\xc0\x0f\0\0\0\x0f\x05"
    space, linker, back = calling(sigreturn)
    start = back - len(sigreturn)
    assert handled_signal(space, 0, start, 10) == "SIGUSR1"
    assert handled_signal(space, 0, start, 99) == "signal 99"
    assert handled_signal(space, linker.modules[1].bias + 0x500, start, 10) is None  # it is code
    assert handled_signal(space, 0, None, 10) is None
    assert find_bad_call(space, 0, 0, start) is None
