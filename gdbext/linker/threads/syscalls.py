"""The system call that a thread is in, by its registers and the instruction before its PC.

Numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Interface(NamedTuple):
    """How a CPU makes system calls: the instruction, and which registers hold the number and the
    first two arguments while the kernel is in one. `sigreturn` is the code that a signal's handler
    returns to (glibc, sysdeps/unix/sysv/linux/x86_64/libc_sigaction.c; __kernel_rt_sigreturn of
    the vDSO, arch/arm64/kernel/vdso/sigreturn.S)."""

    instruction: bytes
    sigreturn: bytes
    registers: tuple[str, str, str]
    names: Mapping[int, str]


class Syscall(NamedTuple):
    """`name` is `syscall N` for the rarer ones; `arguments` are the first two."""

    number: int
    name: str
    arguments: tuple[int | None, int | None]

    @property
    def futex(self) -> int | None:
        """The address of the futex that it waits for, None when it waits for none."""
        address, operation = self.arguments
        if self.name != FUTEX or operation is None:
            return None
        return address if operation & _COMMAND in _WAITS else None


FUTEX = "futex"
# linux/futex.h: FUTEX_CMD_MASK without the bits above; WAIT, LOCK_PI, WAIT_BITSET,
# WAIT_REQUEUE_PI, LOCK_PI2
_COMMAND, _WAITS = 0x7F, (0, 6, 9, 11, 13)
_X86_64 = {
    0: "read", 1: "write", 7: "poll", 16: "ioctl", 19: "readv", 20: "writev", 23: "select",
    34: "pause", 35: "nanosleep", 42: "connect", 43: "accept", 44: "sendto", 45: "recvfrom",
    46: "sendmsg", 47: "recvmsg", 61: "wait4", 62: "kill", 65: "semop", 70: "msgrcv", 72: "fcntl",
    73: "flock", 74: "fsync", 128: "rt_sigtimedwait", 130: "rt_sigsuspend", 202: FUTEX,
    208: "io_getevents", 219: "restart_syscall", 220: "semtimedop", 230: "clock_nanosleep",
    232: "epoll_wait", 234: "tgkill", 247: "waitid", 270: "pselect6", 271: "ppoll",
    281: "epoll_pwait", 288: "accept4", 299: "recvmmsg", 426: "io_uring_enter",
    441: "epoll_pwait2", 449: "futex_waitv",
}  # fmt: skip
_AARCH64 = {
    22: "epoll_pwait", 25: "fcntl", 29: "ioctl", 32: "flock", 63: "read", 64: "write",
    65: "readv", 66: "writev", 72: "pselect6", 73: "ppoll", 82: "fsync", 95: "waitid", 98: FUTEX,
    101: "nanosleep", 115: "clock_nanosleep", 128: "restart_syscall", 129: "kill", 131: "tgkill",
    133: "rt_sigsuspend", 137: "rt_sigtimedwait", 188: "msgrcv", 192: "semtimedop", 193: "semop",
    202: "accept", 203: "connect", 206: "sendto", 207: "recvfrom", 211: "sendmsg",
    212: "recvmsg", 242: "accept4", 243: "recvmmsg", 260: "wait4", 426: "io_uring_enter",
    441: "epoll_pwait2", 449: "futex_waitv",
}  # fmt: skip
INTERFACES = {
    "x86-64": Interface(
        b"\x0f\x05",
        b"\x48\xc7\xc0\x0f\0\0\0\x0f\x05",  # mov $15,%rax; syscall
        ("orig_rax", "rdi", "rsi"),
        _X86_64,
    ),
    "aarch64": Interface(
        b"\x01\x00\x00\xd4",
        b"\x68\x11\x80\xd2\x01\x00\x00\xd4",  # mov x8,#139; svc #0
        ("x8", "x0", "x1"),
        _AARCH64,
    ),
}
_MOST_CALLS = 1 << 12


def decode_syscall(
    interface: Interface, before: bytes, values: tuple[int | None, ...]
) -> Syscall | None:
    """The system call of a thread; `before` are the bytes before its PC, `values` those of the
    interface's registers. None: it is in none.

    x86-64 sets orig_rax to -1 where the kernel was entered by anything but a system call.
    """
    number, first, second = values
    if not before.endswith(interface.instruction) or number is None or number >= _MOST_CALLS:
        return None
    return Syscall(number, interface.names.get(number, f"syscall {number}"), (first, second))
