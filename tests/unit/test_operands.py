"""The address that an instruction accesses: its text as objdump and GDB print it, on both CPUs."""

from __future__ import annotations

import pytest

from gdbext.findings.crash.operands import (
    aarch64_operands,
    is_canonical,
    jumps_through,
    needs_alignment,
    x86_64_operands,
)

_NAMES = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)))
# Every register its own number, so that no two sums agree by accident.
X86_64 = {name: 0x10000 * (number + 1) for number, name in enumerate(_NAMES)} | {
    "fs_base": 0x7000000,
    "gs_base": 0x8000000,
    "eax": 0x11,
    "r8d": 0x22,
    "r9d": 0x33,
}
RAX, RBX, RCX, RDX = (X86_64[name] for name in ("rax", "rbx", "rcx", "rdx"))
RSI, RDI, RBP, RSP = (X86_64[name] for name in ("rsi", "rdi", "rbp", "rsp"))
FS = X86_64["fs_base"]


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("mov    %eax,0x8(%rbx,%rcx,4)", [RBX + 4 * RCX + 8]),
        ("mov    -0x8(%rbp),%rax", [RBP - 8]),
        ("mov    (%rax),%rax", [RAX]),
        ("movb   $0x1,(%rdi)", [RDI]),
        ("movl   $0xdeadbeef,0x10(%rsi)", [RSI + 0x10]),
        ("mov    0x0(,%rcx,8),%rdx", [8 * RCX]),
        ("mov    0x40(,%rcx,8),%rdx", [0x40 + 8 * RCX]),
        ("mov    %fs:0x28,%rax", [FS + 0x28]),
        ("mov    %fs:(%rax),%rdx", [FS + RAX]),
        ("mov    %fs:-0x8(%rax,%rcx,2),%rdx", [FS + RAX + 2 * RCX - 8]),
        ("mov    %gs:0x10,%eax", [X86_64["gs_base"] + 0x10]),
        ("mov    0x12345(%rip),%rax        # 0x1238c", [0x1238C]),
        ("mov    0x2ee4(%rip),%rax        # 0x555555558040 <table>", [0x555555558040]),
        ("mov    0x404040,%eax", [0x404040]),
        ("movabs 0x1122334455667788,%al", [0x1122334455667788]),
        ("movabs $0x1122334455667788,%rax", []),
        ("rep stos %al,%es:(%rdi)", [RDI]),
        ("rep movsb %ds:(%rsi),%es:(%rdi)", [RSI, RDI]),
        ("rep movsq %ds:(%rsi),%es:(%rdi)", [RSI, RDI]),
        ("repz cmpsb %es:(%rdi),%ds:(%rsi)", [RDI, RSI]),
        ("scas   %es:(%rdi),%al", [RDI]),
        ("lock incl (%rax)", [RAX]),
        ("lock cmpxchg %ecx,0x4(%rdx)", [RDX + 4]),
        ("xchg   %rax,(%rbx)", [RBX]),
        ("push   0x8(%rax)", [RAX + 8]),
        ("push   %rbp", [RSP - 8]),
        ("push   $0x10", [RSP - 8]),
        ("pop    %rbx", [RSP]),
        ("ret", [RSP]),
        ("bnd ret", [RSP]),
        ("leave", [RBP]),
        ("call   0x121", [RSP - 8]),
        ("call   0x7ffff7fc1030 <puts@plt>", [RSP - 8]),
        ("call   *0x10(%rax)", [RAX + 0x10]),
        ("call   *%rdx", [RSP - 8]),
        ("jmp    *(%rax,%rbx,8)", [RAX + 8 * RBX]),
        ("jmp    *%rax", []),
        ("jne    0xf6", []),
        ("movaps %xmm0,0x10(%rsp)", [RSP + 0x10]),
        ("vmovdqu64 0x40(%rsi),%zmm1", [RSI + 0x40]),
        ("vpgatherdd %ymm1,(%rax,%ymm2,4),%ymm3", []),
        ("movsd  (%rax),%xmm0", [RAX]),
        ("mov    (%eax),%ecx", [0x11]),
        ("mov    0x4(%r8d,%r9d,4),%ecx", [0x22 + 4 * 0x33 + 4]),
        ("mov    %rax,(%r12)", [X86_64["r12"]]),
        ("mov    0x0(%rsi,%riz,1),%rax", [RSI]),
        ("movzbl (%rax,%rdx,1),%eax", [RAX + RDX]),
        ("fldt   (%rsp)", [RSP]),
        ("lea    0x8(%rax),%rbx", []),
        ("nopw   (%rax,%rax,1)", []),
        ("cs nopw 0x0(%rax,%rax,1)", []),
        ("prefetcht0 (%rax)", []),
        ("xlat   %ds:(%rbx)", []),
        ("bt     %rax,(%rdi)", []),
        ("bt     $0x3,(%rdi)", [RDI]),
        ("mov    %rax,%rbx", []),
        ("ud2", []),
        ("syscall", []),
        ("(bad)", []),
        ("", []),
    ],
)
def test_x86_64(text: str, addresses: list[int]) -> None:
    assert x86_64_operands(text, X86_64.get) == addresses


def test_a_register_that_is_not_there_gives_no_address() -> None:
    assert x86_64_operands("mov (%rax),%rbx", lambda _: None) == []
    assert x86_64_operands("push %rax", lambda _: None) == []
    assert x86_64_operands("mov %fs:0x28,%rax", lambda _: None) == []
    assert aarch64_operands("ldr x0, [x1, x2]", {"x1": 1}.get) == []
    assert aarch64_operands("dc zva, x7", lambda _: None) == []


def test_addresses_wrap_at_64_bits() -> None:
    assert x86_64_operands("mov -0x8(%rax),%rbx", {"rax": 0}.get) == [(1 << 64) - 8]
    assert aarch64_operands("ldur x0, [x1, #-3]", {"x1": 0}.get) == [(1 << 64) - 3]


AARCH64 = {f"x{number}": 0x10000 * (number + 1) for number in range(31)} | {"sp": 0x900000}
X0, X1, X2 = AARCH64["x0"], AARCH64["x1"], AARCH64["x2"]


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("ldr\tx0, [x1]", [X1]),
        ("ldr\tx0, [x1, #8]", [X1 + 8]),
        ("ldr\tx0, [x1, #8]!", [X1 + 8]),
        ("ldr\tx0, [x1], #8", [X1]),
        ("ldur\tx0, [x1, #-3]", [X1 - 3]),
        ("ldr\tx0, [x1, #0x10]", [X1 + 16]),
        ("ldr\tx0, [x1, x2]", [X1 + X2]),
        ("ldr\tx0, [x1, x2, lsl #3]", [X1 + 8 * X2]),
        ("ldr\tw0, [x1, w2, uxtw #2]", [X1 + 4 * X2]),
        ("ldr\tw0, [x1, w2, sxtw #2]", [X1 + 4 * X2]),
        ("ldrb\tw0, [x1, w2, sxtw]", [X1 + X2]),
        ("ldr\tx0, [x1, x2, sxtx #3]", [X1 + 8 * X2]),
        ("ldr\tx0, [x1, x2, sxtx]", [X1 + X2]),
        ("ldr\tx0, [x1, xzr]", [X1]),
        ("strb\twzr, [x0]", [X0]),
        ("strh\tw1, [x0, #2]", [X0 + 2]),
        ("stp\tx29, x30, [sp, #-32]!", [AARCH64["sp"] - 32]),
        ("ldp\tx29, x30, [sp], #32", [AARCH64["sp"]]),
        ("ldpsw\tx1, x2, [x0, #16]", [X0 + 16]),
        ("stp\tq0, q1, [x1, #-64]", [X1 - 64]),
        ("ldr\tx0, 0x154", [0x154]),
        ("ldrsw\tx0, 0x5500000158 <main+16>", [0x5500000158]),
        ("ldr\tq3, 0x15c", [0x15C]),
        ("ldxr\tw0, [x1]", [X1]),
        ("stlxr\tw2, w0, [x1]", [X1]),
        ("casal\tw0, w1, [x2]", [X2]),
        ("casp\tx0, x1, x2, x3, [x4]", [AARCH64["x4"]]),
        ("ldadd\tw0, w1, [x2]", [X2]),
        ("ld1\t{v0.16b}, [x0]", [X0]),
        ("ld1\t{v0.16b}, [x0], x2", [X0]),
        ("ld1\t{v0.s}[1], [x2]", [X2]),
        ("st2\t{v0.b, v1.b}[3], [x5]", [AARCH64["x5"]]),
        ("st4\t{v0.2d-v3.2d}, [x6]", [AARCH64["x6"]]),
        ("dc\tzva, x7", [AARCH64["x7"]]),
        ("ic\tivau, x7", [AARCH64["x7"]]),
        ("stg\tx0, [x1, #16]", [X1 + 16]),
        ("prfm\tpldl1keep, [x0]", []),
        ("ldraa\tx0, [x1, #8]", []),
        ("ldr\tz0, [x1, #1, mul vl]", []),
        ("ld1w\t{z0.s}, p0/z, [x0, z1.s, uxtw #2]", []),
        ("ld1d\t{z0.d}, p0/z, [x0, x1, lsl #3]", [X0 + 8 * X1]),
        ("add\tx0, x1, x2", []),
        ("blr\tx1", []),
        ("ret", []),
        ("udf\t#0", []),
        ("", []),
    ],
)
def test_aarch64(text: str, addresses: list[int]) -> None:
    assert aarch64_operands(text, AARCH64.get) == addresses


def test_aarch64_extends_a_narrow_index() -> None:
    registers = {"x1": 0x10000, "x2": 0xAAAAAAAAFFFFFFFE}
    assert aarch64_operands("ldr w0, [x1, w2, sxtw #2]", registers.get) == [0x10000 - 8]
    assert aarch64_operands("ldr w0, [x1, w2, uxtw]", registers.get) == [0x10000 + 0xFFFFFFFE]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("call   *%rdx", ("value", RDX)),
        ("notrack jmp *%rax", ("value", RAX)),
        ("jmp    *(%rax,%rbx,8)", ("slot", RAX + 8 * RBX)),
        ("call   *0x2fe2(%rip)        # 0x3ff8", ("slot", 0x3FF8)),
        ("bnd jmp *0x2fe2(%rip)        # 0x3ff8", ("slot", 0x3FF8)),
        ("ret", ("slot", RSP)),
        ("call   0x121", None),
        ("mov    (%rax),%rdx", None),
        ("", None),
    ],
)
def test_jumps(text: str, target: tuple[str, int] | None) -> None:
    assert jumps_through(text, X86_64.get) == target


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("movaps %xmm0,0x10(%rsp)", True),
        ("movdqa (%rsi),%xmm1", True),
        ("addps  (%rsi),%xmm1", True),
        ("vmovdqa (%rsi),%ymm1", True),
        ("vmovntps %ymm1,(%rsi)", True),
        ("movups %xmm0,(%rdi)", False),
        ("movdqu (%rsi),%xmm1", False),
        ("vmovdqu (%rsi),%ymm1", False),
        ("movsd  (%rax),%xmm0", False),
        ("movq   (%rax),%xmm0", False),
        ("mov    (%rax),%rbx", False),
        ("", False),
    ],
)
def test_alignment(text: str, needed: bool) -> None:
    assert needs_alignment(text) is needed


def test_canonical() -> None:
    assert is_canonical(0)
    assert is_canonical(0x7FFFFFFFFFFF)
    assert is_canonical((1 << 64) - 8)
    assert not is_canonical(0xDEADBEEFDEADBEE0)
