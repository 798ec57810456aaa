"""Programs that run beside GDB: stubs, and programs to attach to."""

from __future__ import annotations

import itertools
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.harness import TIMEOUT, Gdb, HarnessError


@contextmanager
def process(
    command: Sequence[str], output: Path, cwd: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """COMMAND, running, with no input and its output in OUTPUT; the block ends it."""
    with output.open("wb") as out:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=env
        )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def free_ports() -> Iterator[int]:
    """Ports to listen on, different in every worker: below the range that the system hands out."""
    first = 10_000 + os.getpid() % 2_000 * 10
    for port in itertools.cycle(range(first, first + 10)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                yield port


PORTS = free_ports()


def connect(gdb: Gdb, port: int, stub: subprocess.Popen[bytes]) -> None:
    """Connect to STUB, which may not listen yet: GDB tries again until it does."""
    gdb.cmd("set tcp connect-timeout 60")
    said = gdb.cmd(f"target remote 127.0.0.1:{port}")
    if "Remote debugging using" not in said or stub.poll() is not None:
        raise HarnessError(f"no connection to {stub.args!r}:\n{said}\n{gdb.output()}")


def read_line(stream: IO[bytes], wanted: str) -> None:
    """Read STREAM, a pipe, up to the line WANTED."""
    deadline = time.monotonic() + TIMEOUT
    seen = b""
    while f"\n{wanted}\n".encode() not in b"\n" + seen:
        readable, _, _ = select.select([stream], [], [], max(0, deadline - time.monotonic()))
        more = os.read(stream.fileno(), 4096) if readable else b""
        if not more:
            raise HarnessError(f"the program did not print {wanted!r}, only {seen!r}")
        seen += more


@contextmanager
def waiting(
    command: Sequence[str], cwd: Path, ready: str = "ready", env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """COMMAND, running, after it printed the line READY; it reads stdin from a pipe."""
    running = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd, env=env
    )
    assert running.stdin
    assert running.stdout
    try:
        read_line(running.stdout, ready)
        yield running
    finally:
        running.stdin.close()
        running.stdout.close()
        running.kill()
        running.wait()
