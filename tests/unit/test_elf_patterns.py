"""What pieces of machine code do: ld.so's resolvers, TLS descriptors, null results, calls."""

from __future__ import annotations

import struct

import pytest

from gdbext.elf import patterns
from gdbext.elf.patterns import DYNAMIC, STATIC

ENDBR64 = bytes.fromhex("f30f1efa")
NOP, BTI_C, RET = 0xD503201F, 0xD503245F, 0xD65F03C0


def words(*instructions: int) -> bytes:
    return struct.pack(f"<{len(instructions)}I", *instructions)


@pytest.mark.parametrize("start", [b"", ENDBR64])
def test_x86_64_resolver(start: bytes) -> None:
    saves = bytes.fromhex("53 4889e3 4883e4c0")  # push rbx; mov rsp,rbx; and $-64,rsp
    jumps = bytes.fromhex("f2 41ffe3")  # bnd jmp *%r11
    assert patterns.x86_64_resolver(start + saves + bytes(100) + jumps)
    assert not patterns.x86_64_resolver(start + saves + bytes(100) + b"\xc3")
    assert not patterns.x86_64_resolver(start + b"\x31\xc0" + jumps)


@pytest.mark.parametrize("hints", [(), (NOP,), (BTI_C,)])
def test_aarch64_resolver(hints: tuple[int, ...]) -> None:
    stp, sub, br_x16 = 0xA9B327E8, 0xD107C3FF, 0xD61F0200  # stp x8, x9, [sp, #-208]!
    for first in (stp, sub):
        assert patterns.aarch64_resolver(words(*hints, first, 0xA9011FE6, br_x16))
        assert not patterns.aarch64_resolver(words(*hints, first, 0xA9011FE6, RET))
    assert not patterns.aarch64_resolver(words(*hints, 0xF9400400, br_x16))
    assert not patterns.aarch64_resolver(b"")


@pytest.mark.parametrize("start", [b"", ENDBR64])
def test_x86_64_descriptor(start: bytes) -> None:
    assert patterns.x86_64_descriptor(start + bytes.fromhex("488b4008c3")) == STATIC
    dynamic = bytes.fromhex("48897424f0 64488b342508000000 48897c24f8 488b7808")
    assert patterns.x86_64_descriptor(start + dynamic) == DYNAMIC
    undefined = bytes.fromhex("488b4008 64482b042500000000 c3")
    assert patterns.x86_64_descriptor(start + undefined) == DYNAMIC
    assert patterns.x86_64_descriptor(start + bytes.fromhex("4883ec08 488b7f08 c3")) is None
    assert patterns.x86_64_descriptor(start + bytes(200) + dynamic) is None, "too far behind"


@pytest.mark.parametrize("hints", [(), (NOP,), (BTI_C,)])
def test_aarch64_descriptor(hints: tuple[int, ...]) -> None:
    load, other = 0xF9400400, 0xF9400420  # ldr x0, [x0, #8]; ldr x0, [x1, #8]
    assert patterns.aarch64_descriptor(words(*hints, load, RET)) == STATIC
    push, load_x1 = 0xA9BF07E1, 0xF9400401
    assert patterns.aarch64_descriptor(words(*hints, push, load_x1, RET)) == DYNAMIC
    assert patterns.aarch64_descriptor(words(*hints, other, RET)) is None
    assert patterns.aarch64_descriptor(words(RET, *[NOP] * 40, load)) is None


def test_null_results() -> None:
    for code in ("31c0c3", "31c04883c408c3", "31c05d415cc3"):
        assert patterns.x86_64_returns_null(bytes.fromhex("8b051ac4010085c0" + code))
    for code in ("31c0", "31c0488d0511000000c3", "33c9c3", ""):
        assert not patterns.x86_64_returns_null(bytes.fromhex(code))
    assert patterns.aarch64_returns_null(words(NOP, 0xD2800000, 0xA8C17BFD, RET))
    assert patterns.aarch64_returns_null(words(0x52800000, RET))
    assert not patterns.aarch64_returns_null(words(0xD2800001, RET))
    assert not patterns.aarch64_returns_null(words(0xD2800000, NOP, NOP, NOP, NOP, RET))


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("e801000000", True),
        ("ffd0", True),  # call *%rax
        ("41ff14c3", True),  # call *(%r11,%rax,8)
        ("ff15f01f0000", True),  # call *0x1ff0(%rip)
        ("ff94c880000000", True),  # call *0x80(%rax,%rcx,8)
        ("ffe0", False),  # jmp *%rax
        ("e901000000", False),
        ("c3", False),
    ],
)
def test_x86_64_calls(code: str, call: bool) -> None:
    assert patterns.x86_64_follows_call((bytes(8) + bytes.fromhex(code))[-8:]) is call


@pytest.mark.parametrize(
    ("word", "call"),
    [
        (0x97FFFFF0, True),  # bl
        (0x94000010, True),
        (0xD63F0060, True),  # blr x3
        (0xD63F091F, True),  # blraaz x8
        (0xD63F0D1F, True),  # blrabz x8
        (0xD73F0911, True),  # blraa x8, x17
        (0x17FFFFF0, False),  # b
        (0xD61F0220, False),  # br x17
        (0xD71F0911, False),  # braa x8, x17
        (RET, False),
    ],
)
def test_aarch64_calls(word: int, call: bool) -> None:
    assert patterns.aarch64_follows_call(words(NOP, word)) is call
