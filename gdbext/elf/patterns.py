"""What short pieces of machine code do, told by their bytes."""

from __future__ import annotations

import re
import struct

STATIC, DYNAMIC = "static", "dynamic"

_ENDBR64 = b"\xf3\x0f\x1e\xfa"
# xor %eax,%eax; perhaps add $n,%rsp and pops; ret
_X86_64_NULL = re.compile(rb"\x31\xc0(?:\x48\x83\xc4.)?(?:\x41?[\x58-\x5f])*\xc3", re.DOTALL)
# mov 8(%rax),%REG
_X86_64_ARGUMENT = re.compile(rb"[\x48\x4c]\x8b[\x40\x48\x50\x58\x60\x68\x70\x78]\x08")
_RET = 0xD65F03C0
_NEAR = 128  # bytes of a descriptor's function within which it has read its argument


def _instructions(code: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(code) // 4}I", code[: len(code) // 4 * 4])


def _without_hints(code: bytes) -> list[int]:
    """The instructions without nop, bti, paciasp and so on (Arm ARM C6.2, HINT)."""
    return [w for w in _instructions(code) if w & 0xFFFFF01F != 0xD503201F]


def x86_64_resolver(code: bytes) -> bool:
    """It saves rbx, or moves rsp, first of all, and ends in `jmp *%r11`.

    Source: glibc, sysdeps/x86_64/dl-trampoline.h.
    """
    code = code[4:] if code.startswith(_ENDBR64) else code
    return code[:2] in (b"\x53\x48", b"\x48\x83", b"\x48\x81", b"\x48\x89") and (
        b"\x41\xff\xe3" in code
    )


def aarch64_resolver(code: bytes) -> bool:
    """It makes room below sp first of all (`stp …, [sp, #-n]!` or `sub sp, sp, #n`), and ends
    in `br` to x16 or x17.

    Source: glibc, sysdeps/aarch64/dl-trampoline.S.
    """
    words = _without_hints(code)
    if not words:
        return False
    room = words[0] & 0xFFC003E0 == 0xA98003E0 or words[0] & 0xFF8003FF == 0xD10003FF
    return room and (0xD61F0200 in words or 0xD61F0220 in words)


def x86_64_descriptor(code: bytes) -> str | None:
    """What a function of a TLS descriptor returns: its argument, or what the argument leads to.

    Each of them must read the argument, 8(%rax) (glibc, sysdeps/x86_64/dl-tlsdesc.S and
    dl-tlsdesc-dynamic.h; musl, src/ldso/x86_64/tlsdesc.s).
    """
    code = code[4:] if code.startswith(_ENDBR64) else code
    if code.startswith(b"\x48\x8b\x40\x08\xc3"):
        return STATIC
    return DYNAMIC if _X86_64_ARGUMENT.search(code[:_NEAR]) else None


def aarch64_descriptor(code: bytes) -> str | None:
    """As x86_64_descriptor; the argument is at [x0, #8] (glibc, sysdeps/aarch64/dl-tlsdesc.S)."""
    words = _without_hints(code[:_NEAR])
    if words[:2] == [0xF9400400, _RET]:
        return STATIC
    return DYNAMIC if any(w & 0xFFFFFFE0 == 0xF9400400 for w in words) else None


def x86_64_returns_null(code: bytes) -> bool:
    """Whether a function may return a null pointer, set by `xor %eax,%eax`."""
    return _X86_64_NULL.search(code) is not None


def aarch64_returns_null(code: bytes) -> bool:
    """Whether a function may return a null pointer, set by `mov x0, #0` or `mov w0, #0`."""
    words = _instructions(code)
    return any(
        word in (0xD2800000, 0x52800000) and _RET in words[at + 1 : at + 4]
        for at, word in enumerate(words)
    )


def x86_64_follows_call(code: bytes) -> bool:
    """Whether code may end with `call`: E8 rel32, or FF /2 in its lengths (Intel SDM, CALL)."""
    lengths = (2, 3, 4, 6, 7)
    indirect = any(code[-n] == 0xFF and code[1 - n] & 0x38 == 0x10 for n in lengths)
    return code[-5] == 0xE8 or indirect


def aarch64_follows_call(code: bytes) -> bool:
    """Whether code ends with BL, BLR or one of BLRAA, BLRAAZ, BLRAB, BLRABZ (Arm ARM, C6.2)."""
    word = _instructions(code)[-1]
    return word >> 26 == 0x25 or word & 0xFFFFFC1F == 0xD63F0000 or word & 0xFEFFF800 == 0xD63F0800
