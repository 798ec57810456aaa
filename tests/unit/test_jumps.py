"""Jumps and calls through a register, by their bytes."""

from __future__ import annotations

import struct

import pytest

from gdbext.elf.jumps import (
    Jumps,
    aarch64_call_register,
    aarch64_jumps,
    x86_64_call_register,
    x86_64_jumps,
)

PC = 0x5000


def jumps(
    cells: tuple[int, ...] = (), targets: tuple[int, ...] = (), computed: bool = False
) -> Jumps:
    return Jumps(frozenset(cells), frozenset(targets), computed)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("90 ff 25 10 00 00 00", jumps(cells=(PC + 0x17,))),  # jmp *0x10(%rip)
        ("e9 10 00 00 00", jumps(targets=(PC + 0x15,))),  # jmp +0x10
        ("ff e0", jumps(computed=True)),  # jmp *%rax
        ("41 ff e3", jumps(computed=True)),  # jmp *%r11
        ("ff 60 08", jumps(computed=True)),  # jmp *8(%rax)
        ("ff d0 c3", jumps()),  # call *%rax; ret
        ("e8 10 ff ff ff 48 83 c4 08", jumps()),  # a call backwards
        ("ff 25 10", jumps()),  # cut short
        ("", jumps()),
    ],
)
def test_x86_64_jumps(code: str, found: Jumps) -> None:
    assert x86_64_jumps(bytes.fromhex(code), PC) == found


B, BR_X1, RET = 0x14000004, 0xD61F0020, 0xD65F03C0
ADRP_X1, LDR_X1, LDR_X2, MOV_X1 = 0x90000001, 0xF9400821, 0xF9400822, 0xAA0203E1


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ((B,), jumps(targets=(PC + 16,))),
        ((0x17FFFFFF,), jumps(targets=(PC - 4,))),
        ((ADRP_X1, LDR_X1, BR_X1), jumps(cells=(PC + 16,))),
        ((ADRP_X1, LDR_X1, MOV_X1, BR_X1), jumps(computed=True)),  # x1 is another thing by then
        ((ADRP_X1, LDR_X2, BR_X1), jumps(computed=True)),
        ((BR_X1,), jumps(computed=True)),
        ((RET,), jumps()),
    ],
)
def test_aarch64_jumps(code: tuple[int, ...], found: Jumps) -> None:
    assert aarch64_jumps(struct.pack(f"<{len(code)}I", *code), PC) == found


@pytest.mark.parametrize(
    ("code", "register"),
    [("90 ff d2", "rdx"), ("41 ff d4", "r12"), ("90 ff 10", None), ("e8 00 00", None)],
)
def test_x86_64_call_register(code: str, register: str | None) -> None:
    assert x86_64_call_register(bytes.fromhex(code)) == register


def test_aarch64_call_register() -> None:
    assert aarch64_call_register(struct.pack("<II", RET, 0xD63F0060)) == "x3"
    assert aarch64_call_register(struct.pack("<I", 0x94000001)) is None  # bl
    assert aarch64_call_register(b"") is None
