"""What a signal's code says (sigaction(2); Linux include/uapi/asm-generic/siginfo.h)."""

from __future__ import annotations

from typing import NamedTuple

REPORTED = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGABRT", "SIGFPE")
# Those whose default action leaves a core: signal(7).
CRASHES = ("SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGXCPU",
           "SIGXFSZ", "SIGSYS")  # fmt: skip
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
    "SIGTRAP": {1: "breakpoint", 2: "single step", 4: "hardware breakpoint"},
    "SIGSYS": {1: "system call that a seccomp filter forbids"},
}


# SI_USER, SI_QUEUE, SI_TKILL: kill, sigqueue, and tgkill, which raise and abort call.
_WITH_SENDER = (0, -1, -6)


class Sender(NamedTuple):
    """siginfo's si_pid and si_uid; `pid` is 0 for who is in no PID namespace of the receiver."""

    pid: int
    user: int


def explain_code(signal: str, code: int, sender: Sender | None = None, own: int = 0) -> str:
    """Why the signal came, to the process OWN."""
    if code <= 0:
        return f"sent {_by(code, sender, own)}, not by a fault"
    if code == SI_KERNEL and signal == "SIGTRAP":
        return "a breakpoint instruction in the program itself"
    if code == SI_KERNEL:
        return "general protection fault (a bad address, alignment or instruction)"
    return _CODES.get(signal, {}).get(code, f"code {code}")


def _by(code: int, sender: Sender | None, own: int) -> str:
    if sender is None or code not in _WITH_SENDER:
        return "by a program (kill, raise or abort)"
    if sender.pid == 0:
        return "from outside of the process's PID namespace"
    if sender.pid == own:
        return "by the process itself (raise, abort or kill)"
    return f"by process {sender.pid} of user {sender.user}"


def has_address(signal: str, code: int) -> bool:
    """Whether siginfo's si_addr holds the fault address."""
    return signal in WITH_ADDRESS and 0 < code < SI_KERNEL


class Disposition(NamedTuple):
    """What a thread does with signals, as proc_pid_status(5) has it: bit n - 1 is signal n."""

    caught: int
    ignored: int
    blocked: int


def parse_disposition(status: str) -> Disposition:
    """SigCgt, SigIgn and SigBlk of a /proc/PID/status; zeros where they are missing."""
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    caught, ignored, blocked = (
        int(fields.get(key, "0"), 16) for key in ("SigCgt", "SigIgn", "SigBlk")
    )
    return Disposition(caught, ignored, blocked)


def is_deadly(number: int, code: int, disposition: Disposition) -> bool:
    """Whether a signal of CRASHES that was just delivered ends the program.

    A fault (code above 0) that is blocked or ignored does so too: Linux, force_sig_info_to_task.
    """
    bit = 1 << number - 1
    if disposition.caught & bit and not (code > 0 and disposition.blocked & bit):
        return False
    return not (disposition.ignored & bit and code <= 0)
