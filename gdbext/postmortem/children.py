"""A program started from here with the user's own terminal, files and signals."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

from gdbext.elf.arch import ARCHES
from gdbext.elf.image import decode_header
from gdbext.elf.problem import Problem
from gdbext.postmortem.processes import OWN_MACHINES

_PR_SET_PTRACER, _ANY = 0x59616D61, ctypes.c_ulong(-1)  # prctl(2)
_NOT_STARTED = 127
# Python ignores them; a program does not expect that (subprocess, restore_signals).
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)


class Child(NamedTuple):
    """A program that was started. `failures`: where its exec(2) tells that it failed."""

    pid: int
    path: str
    failures: int


def find_program(name: str) -> str:
    """Where a shell would find a program; raises Problem if it cannot run here."""
    path = name if "/" in name else shutil.which(name)
    if path is None:
        raise Problem(f"{name}: there is no such program in PATH")
    try:
        with open(path, "rb") as file:
            head = file.read(64)
    except FileNotFoundError:
        raise Problem(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise Problem(f"{path} is a folder") from None
    except PermissionError:
        head = b""  # it may be executable all the same
    if not os.access(path, os.X_OK):
        raise Problem(f"{path} is not executable")
    if head.startswith(b"\x7fELF"):
        _check_cpu(path, head)
    return path


def _check_cpu(path: str, head: bytes) -> None:
    own = os.uname().machine
    try:
        machine = decode_header(head).machine
    except Problem as problem:
        raise Problem(f"{path}: {problem}") from problem
    if machine != OWN_MACHINES.get(own):
        theirs = next((a.name for a in ARCHES if a.machine == machine), f"number {machine}")
        raise Problem(
            f"{path} is a program for CPU {theirs}, and this machine's is {own}: run it there, "
            f"or debug it under qemu-user (qemu-{theirs} -g PORT) with gdb-multiarch"
        )


def start(
    path: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    gate: Path | None = None,
    cores: bool = False,
) -> Child:
    """Start a program as a shell would: same process group, terminal and files.

    With `gate` it waits, before it becomes the program, until somebody writes to that FIFO; with
    `cores` the size of core files is not limited.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(path, words, environment, gate, cores, writing)
    os.close(writing)
    return Child(pid, path, reading)


def _become(
    path: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    gate: Path | None,
    cores: bool,
    failures: int,
) -> NoReturn:
    """In the child: nothing of ours may be left when the program begins."""
    try:
        for number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if cores:
            limit = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
        if gate is not None:
            # Where only relatives may trace (yama), GDB is none of this process's.
            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)
            with gate.open("rb") as file:
                file.read(1)
        os.execve(path, list(words), dict(environment))  # noqa: S606
    except OSError as error:
        os.write(failures, (error.strerror or str(error)).encode())
    finally:
        os._exit(_NOT_STARTED)


def failure(child: Child) -> str | None:
    """Why a child did not become its program, "" if it still waits at its gate, None if it did."""
    os.set_blocking(child.failures, False)
    try:
        said = os.read(child.failures, 4096)
    except BlockingIOError:
        return ""
    return said.decode(errors="replace") or None


@contextmanager
def signals_for(child: Child) -> Iterator[None]:
    """SIGINT and SIGQUIT of the terminal reach the program by themselves and are not meant for us;
    what ends us alone is passed on, and its end is then ours."""

    def pass_on(number: int, _frame: object) -> None:
        os.kill(child.pid, number)

    handlers: dict[int, signal.Handlers | Callable[[int, object], None]] = {
        signal.SIGINT: signal.SIG_IGN,
        signal.SIGQUIT: signal.SIG_IGN,
        signal.SIGTERM: pass_on,
        signal.SIGHUP: pass_on,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end(child: Child) -> None:
    """End a child that did not become its program."""
    os.kill(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
