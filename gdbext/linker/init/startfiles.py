"""Which constructors and destructors are the compiler's own start files.

crti.o brings DT_INIT and DT_FINI (`_init`, `_fini`), crtbegin.o the first entries of the arrays
(`frame_dummy`, `__do_global_dtors_aux`). Stripped files have no names for them, so they are told
by their code. Sources: glibc, sysdeps/{x86_64,aarch64}/crti.S and crtn.S; gcc, libgcc/crtstuff.c.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from gdbext.elf.image import Image
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory

_EM_X86_64, _EM_AARCH64 = 62, 183
_CODE = 48  # bytes; no such function is longer
_MOST_EARLY = 64
_NEAR = 0x400  # crtstuff's four functions follow each other in crtbegin.o's .text
_ENDBR = rb"(?:\xf3\x0f\x1e\xfa)?"
# x86-64, _init: sub $8,%rsp; mov __gmon_start__@GOT,%rax; test; je; call; add $8,%rsp; ret;
# musl's is push %rax; pop %rax; ret
_BODIES: dict[int, tuple[re.Pattern[bytes], re.Pattern[bytes]]] = {
    _EM_X86_64: (
        re.compile(
            _ENDBR + rb"\x48\x83\xec\x08(?:\x48(?:\x8b\x05|\xc7\xc0)....\x48\x85\xc0\x74."
            rb"(?:\xff\xd0|\xe8....|\xff\x15....))?\x48\x83\xc4\x08\xc3|\x50\x58\xc3",
            re.DOTALL,
        ),
        re.compile(_ENDBR + rb"(?:\x48\x83\xec\x08\x48\x83\xc4\x08\xc3|\x50\x58\xc3)"),
    ),
    # ARM64: [paciasp, bti c or nop]; stp x29,x30,[sp,#-16]!; mov x29,sp; [bl call_weak_fn];
    # ldp x29,x30,[sp],#16; [autiasp]; ret
    _EM_AARCH64: (
        re.compile(
            rb"(?:..\x03\xd5){0,2}\xfd\x7b\xbf\xa9\xfd\x03\x00\x91(?:...[\x94-\x97])?"
            rb"\xfd\x7b\xc1\xa8(?:\xbf\x23\x03\xd5)?\xc0\x03\x5f\xd6",
            re.DOTALL,
        ),
        re.compile(
            rb"(?:..\x03\xd5){0,2}\xfd\x7b\xbf\xa9\xfd\x03\x00\x91\xfd\x7b\xc1\xa8"
            rb"(?:\xbf\x23\x03\xd5)?\xc0\x03\x5f\xd6",
            re.DOTALL,
        ),
    ),
}


def start_files(
    memory: Memory, image: Image, entries: Mapping[str, tuple[int, ...]]
) -> dict[int, str]:
    """{address: name} of those of `entries` (by kind) that are the compiler's start files."""
    found: dict[int, str] = {}
    bodies = _BODIES.get(image.header.machine)
    if bodies is None:
        return found
    for kind, name, body in (("init", "_init", bodies[0]), ("fini", "_fini", bodies[1])):
        for address in entries.get(kind, ()):
            if body.match(_code(memory, image, address)):
                found[address] = name
    # Constructors with a priority stand in front of frame_dummy.
    for first in entries.get("init_array", ())[:_MOST_EARLY]:
        target = _jump_target(memory, image, first)
        for last in entries.get("fini_array", ())[:_MOST_EARLY] if target else ():
            if target is not None and target < last < first < target + _NEAR:
                found[first] = "frame_dummy"
                found[last] = "__do_global_dtors_aux"
                return found
    return found


def _jump_target(memory: Memory, image: Image, first: int) -> int | None:
    """Where a function that is nothing but a jump leads.

    frame_dummy jumps to register_tm_clones, and __do_global_dtors_aux lies between the two.
    """
    code = _code(memory, image, first)
    if image.header.machine == _EM_X86_64:
        start = 4 if code.startswith(b"\xf3\x0f\x1e\xfa") else 0  # endbr64
        size = {0xE9: 4, 0xEB: 1}.get(code[start] if len(code) > start else 0, 0)  # jmp
        end = start + 1 + size
        if size and len(code) >= end:
            return first + end + int.from_bytes(code[start + 1 : end], "little", signed=True)
    elif len(code) >= 8:
        for start, (word,) in enumerate(struct.iter_unpack("<I", code[:8])):
            if word >> 26 == 0b000101:  # B
                offset = int(word & 0x03FFFFFF) - int((word & 0x02000000) << 1)
                return first + 4 * start + 4 * offset
            if word >> 12 != 0xD5032:  # a hint: BTI, NOP
                break
    return None


def _code(memory: Memory, image: Image, address: int) -> bytes:
    size = min(_CODE, image.room(address))
    try:
        return memory.read(address, size) if size else b""
    except Unreadable:
        return b""
