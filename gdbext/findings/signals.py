"""What a signal's code says (sigaction(2); Linux include/uapi/asm-generic/siginfo.h)."""

from __future__ import annotations

REPORTED = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGABRT", "SIGFPE")
WITH_ADDRESS = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE")
SI_KERNEL = 128
_CODES = {
    "SIGSEGV": {
        1: "address not mapped",
        2: "access not permitted",
        3: "bounds check failed",
        4: "access denied by a protection key",
        8: "memory tag mismatch",
        9: "memory tag mismatch",
        10: "control flow protection",
    },
    "SIGBUS": {
        1: "misaligned address",
        2: "no memory behind the mapping (past the end of its file)",
        3: "hardware error",
        4: "hardware memory error",
        5: "hardware memory error",
    },
    "SIGILL": {
        1: "illegal opcode",
        2: "illegal operand",
        3: "illegal addressing mode",
        4: "illegal trap",
        5: "privileged opcode",
        6: "privileged register",
        7: "coprocessor error",
        8: "internal stack error",
    },
    "SIGFPE": {
        1: "integer division by zero",
        2: "integer overflow",
        3: "floating-point division by zero",
        4: "floating-point overflow",
        5: "floating-point underflow",
        6: "inexact floating-point result",
        7: "invalid floating-point operation",
        8: "subscript out of range",
    },
}


def explain_code(signal: str, code: int) -> str:
    """Why the signal came."""
    if code <= 0:
        return "sent by a program (kill, raise or abort), not by a fault"
    if code == SI_KERNEL:
        return "general protection fault (a bad address, alignment or instruction)"
    return _CODES.get(signal, {}).get(code, f"code {code}")


def has_address(signal: str, code: int) -> bool:
    """Whether siginfo's si_addr holds the fault address."""
    return signal in WITH_ADDRESS and 0 < code < SI_KERNEL
