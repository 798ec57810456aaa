"""One row of data for each CPU. A CPU is a row here, never an `if` in the middle of logic."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gdbext.elf import patterns
from gdbext.elf.aarch64 import instructions, loads_by_page
from gdbext.elf.jumps import (
    Jumps,
    aarch64_call_register,
    aarch64_jumps,
    x86_64_call_register,
    x86_64_jumps,
)
from gdbext.elf.taken import Taken, aarch64_taken, x86_64_taken

JUMP_SLOT, GLOB_DAT, IRELATIVE, ABSOLUTE = "JUMP_SLOT", "GLOB_DAT", "IRELATIVE", "ABSOLUTE"
RELATIVE, COPY, TLSDESC = "RELATIVE", "COPY", "TLSDESC"
DTPMOD, DTPOFF, TPOFF = "DTPMOD", "DTPOFF", "TPOFF"


@dataclass(frozen=True)
class Arch:
    """What the linker model needs to know of a CPU.

    `relocations` maps a relocation number to (kind, the psABI's name). `lazy_stub(code, pc,
    index, pltgot)` says whether `code`, read at `pc`, is the place where the unresolved lazy
    slot number `index` of the object whose DT_PLTGOT is `pltgot` leads. `stub_slot(code, pc)`
    gives the address of the slot that the PLT entry at `pc` jumps through, None when it is no
    PLT entry. `call_slot(code, pc)` gives ("slot", address), ("stub", address) or None for
    the call instruction that ends at `pc`, `code` being the 24 bytes before `pc`;
    `call_register(code)` is the register that it takes its target from.
    `taken(code, pc)` is what the instructions take the address of, load from and call,
    `jumps(code, pc)` where they jump.
    `resolver(code)` says whether code may be ld.so's _dl_runtime_resolve, `tls_descriptor(code)`
    which kind of TLS descriptor's function it may be, `returns_null(code)` whether it may
    return a null pointer, `follows_call(code)` whether its 8 bytes may end with a call.
    `code_step`: instructions start at multiples of it (bytes).
    `siginfo`: where siginfo is above SP in a signal trampoline's frame (struct rt_sigframe of
    the kernel's arch/*/kernel/signal.c).
    `trap(context)`: the signal's number, its code and the address that the kernel makes of the
    CPU's exception, by the struct ucontext there, None where that does not tell.
    `stub_registers`: those that hold a slot's address when a PLT entry jumps through it.
    `thread_pointers`: names of that register. `frame_register` leads to frame records.
    """

    name: str
    machine: int
    gdb_name: str
    relocations: Mapping[int, tuple[str, str]]
    registers: tuple[str, ...]
    flags: str
    pc: str
    sp: str
    thread_pointers: tuple[str, ...]
    link_register: str | None
    frame_register: str | None
    stub_registers: tuple[str, ...]
    code_step: int
    siginfo: int
    trap: Callable[[bytes], tuple[int, int, int] | None]
    tls_below_pointer: bool
    lazy_stub: Callable[[bytes, int, int, int], bool]
    stub_slot: Callable[[bytes, int], int | None]
    call_slot: Callable[[bytes, int], tuple[str, int] | None]
    call_register: Callable[[bytes], str | None]
    taken: Callable[[bytes, int], Taken]
    jumps: Callable[[bytes, int], Jumps]
    resolver: Callable[[bytes], bool]
    tls_descriptor: Callable[[bytes], str | None]
    returns_null: Callable[[bytes], bool]
    follows_call: Callable[[bytes], bool]

    def code_address(self, value: int) -> int:
        """`value` without what is not address in it: a pointer authentication code, a tag.

        User addresses have at most 52 bits on ARM64 and 56 on x86-64 (five-level paging).
        """
        return value & ((1 << 52) - 1) if self.link_register else value


def _signed32(code: bytes, at: int) -> int:
    return int(struct.unpack_from("<i", code, at)[0])


_ENDBR64 = b"\xf3\x0f\x1e\xfa"


def _x86_64_lazy_stub(code: bytes, pc: int, index: int, pltgot: int) -> bool:
    """`push index; jmp PLT0`, behind an endbr64 in an IBT PLT (psABI x86-64, 5.2 and 13.2).

    mold puts `mov $index, %r11d` before the jump instead, and points lazy slots at PLT0.
    """
    at = 4 if code.startswith(_ENDBR64) else 0
    if len(code) >= at + 5 and code[at] == 0x68:
        return int(struct.unpack_from("<I", code, at + 1)[0]) == index
    return _x86_64_plt0(code, pc, pltgot)


def _x86_64_plt0(code: bytes, pc: int, pltgot: int) -> bool:
    """PLT0 pushes GOT[1], PC-relative: `ff 35 rel32`, maybe behind an endbr64 and a push."""
    for at in range(min(len(code) - 6, 12)):
        if code[at : at + 2] == b"\xff\x35":
            return pc + at + 6 + _signed32(code, at + 2) == pltgot + 8
    return False


def _x86_64_stub_slot(code: bytes, pc: int) -> int | None:
    """`jmp *slot(%rip)`, perhaps behind endbr64 and with a bnd or notrack prefix."""
    at = 4 if code.startswith(_ENDBR64) else 0
    if code[at : at + 1] in (b"\xf2", b"\x3e"):
        at += 1
    if code[at : at + 2] != b"\xff\x25" or len(code) < at + 6:
        return None
    return pc + at + 6 + _signed32(code, at + 2)


def _x86_64_call_slot(code: bytes, pc: int) -> tuple[str, int] | None:
    """`call *slot(%rip)` (ff 15) or `call stub` (e8), each with a 32-bit displacement."""
    if code[-6:-4] == b"\xff\x15":
        return "slot", pc + _signed32(code, len(code) - 4)
    if code[-5:-4] == b"\xe8":
        return "stub", pc + _signed32(code, len(code) - 4)
    return None


def _aarch64_lazy_stub(code: bytes, pc: int, _index: int, pltgot: int) -> bool:
    """Every lazy slot leads to PLT0: `stp x16, x30, [sp,#-16]!`, then it loads GOT[2].

    Source: AAELF64, PLT sequences; with BTI a `bti c`, a hint, comes first.
    """
    words = [w for w in instructions(code[:8]) if w & 0xFFFFF01F != 0xD503201F]
    return words[:1] == [0xA9BF7BF0] and any(
        address == pltgot + 16 for _, _, address in loads_by_page(code[:24], pc)
    )


def _aarch64_stub_slot(code: bytes, pc: int) -> int | None:
    """`adrp x16; ldr x17, [x16, off]; add x16, …; br x17`, perhaps behind `bti c`."""
    words = instructions(code[:24])
    if 0xD61F0220 not in words[:6]:  # br x17
        return None
    end = words.index(0xD61F0220)  # what follows is the next entry
    loads = loads_by_page(code[: 4 * end], pc)
    return next((address for _, register, address in loads if register == 17), None)


def _aarch64_call_slot(code: bytes, pc: int) -> tuple[str, int] | None:
    """`bl stub`, or `blr xN` after a load of xN from a slot (-fno-plt)."""
    words = instructions(code)
    last = words[-1] if words else 0
    if last & 0xFC000000 == 0x94000000:
        distance = last & 0x3FFFFFF
        if distance & 1 << 25:
            distance -= 1 << 26
        return "stub", pc - 4 + 4 * distance
    if last & 0xFFFFFC1F == 0xD63F0000:
        register = last >> 5 & 31
        loads = [(i, a) for i, r, a in loads_by_page(code, pc - len(code)) if r == register]
        if loads and all(word & 31 != register for word in words[loads[-1][0] + 1 : -1]):
            return "slot", loads[-1][1]  # and nothing else was put there since
    return None


_SIGILL, _SIGSEGV = 4, 11
_MAPERR, _ACCERR, _SI_KERNEL = 1, 2, 128
_CONTEXT = struct.Struct("<192xQQ8xQ")  # err, trapno and cr2 of struct sigcontext_64


def _x86_trap(context: bytes) -> tuple[int, int, int] | None:
    """Linux, arch/x86/kernel/traps.c and arch/x86/mm/fault.c."""
    error, trap, address = _CONTEXT.unpack_from(context)
    if trap == 14:  # page fault; bit 0: the page was there
        return _SIGSEGV, _ACCERR if error & 1 else _MAPERR, address
    return {6: (_SIGILL, 2, 0), 13: (_SIGSEGV, _SI_KERNEL, 0)}.get(trap)


X86_64 = Arch(
    name="x86-64",
    machine=62,
    gdb_name="i386:x86-64",
    # psABI x86-64, table 4.10
    relocations={
        1: (ABSOLUTE, "R_X86_64_64"),
        5: (COPY, "R_X86_64_COPY"),
        6: (GLOB_DAT, "R_X86_64_GLOB_DAT"),
        7: (JUMP_SLOT, "R_X86_64_JUMP_SLOT"),
        8: (RELATIVE, "R_X86_64_RELATIVE"),
        16: (DTPMOD, "R_X86_64_DTPMOD64"),
        17: (DTPOFF, "R_X86_64_DTPOFF64"),
        18: (TPOFF, "R_X86_64_TPOFF64"),
        36: (TLSDESC, "R_X86_64_TLSDESC"),
        37: (IRELATIVE, "R_X86_64_IRELATIVE"),
    },
    registers=(
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
        "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip",
    ),
    flags="eflags",
    pc="rip",
    sp="rsp",
    thread_pointers=("fs_base",),
    link_register=None,
    frame_register=None,
    stub_registers=(),
    code_step=1,
    siginfo=304,  # behind struct ucontext, which SP points to
    trap=_x86_trap,
    tls_below_pointer=True,
    lazy_stub=_x86_64_lazy_stub,
    stub_slot=_x86_64_stub_slot,
    call_slot=_x86_64_call_slot,
    call_register=x86_64_call_register,
    taken=x86_64_taken,
    jumps=x86_64_jumps,
    resolver=patterns.x86_64_resolver,
    tls_descriptor=patterns.x86_64_descriptor,
    returns_null=patterns.x86_64_returns_null,
    follows_call=patterns.x86_64_follows_call,
)  # fmt: skip

AARCH64 = Arch(
    name="aarch64",
    machine=183,
    gdb_name="aarch64",
    # AAELF64, dynamic relocations
    relocations={
        257: (ABSOLUTE, "R_AARCH64_ABS64"),
        1024: (COPY, "R_AARCH64_COPY"),
        1025: (GLOB_DAT, "R_AARCH64_GLOB_DAT"),
        1026: (JUMP_SLOT, "R_AARCH64_JUMP_SLOT"),
        1027: (RELATIVE, "R_AARCH64_RELATIVE"),
        1028: (DTPMOD, "R_AARCH64_TLS_DTPMOD"),
        1029: (DTPOFF, "R_AARCH64_TLS_DTPREL"),
        1030: (TPOFF, "R_AARCH64_TLS_TPREL"),
        1031: (TLSDESC, "R_AARCH64_TLSDESC"),
        1032: (IRELATIVE, "R_AARCH64_IRELATIVE"),
    },
    registers=(*(f"x{n}" for n in range(31)), "sp", "pc"),
    flags="cpsr",
    pc="pc",
    sp="sp",
    thread_pointers=("TPIDR_EL0", "tpidr"),
    link_register="x30",
    frame_register="x29",
    stub_registers=("x16", "x17"),  # AAELF64, PLT; and glibc's _dl_runtime_resolve
    code_step=4,
    siginfo=0,
    trap=lambda _: None,
    tls_below_pointer=False,
    lazy_stub=_aarch64_lazy_stub,
    stub_slot=_aarch64_stub_slot,
    call_slot=_aarch64_call_slot,
    call_register=aarch64_call_register,
    taken=aarch64_taken,
    jumps=aarch64_jumps,
    resolver=patterns.aarch64_resolver,
    tls_descriptor=patterns.aarch64_descriptor,
    returns_null=patterns.aarch64_returns_null,
    follows_call=patterns.aarch64_follows_call,
)

ARCHES = (X86_64, AARCH64)
