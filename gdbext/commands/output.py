"""Where the answer of a command goes: GDB's standard output, or a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import gdb


def write(parts: Iterator[str], path: str | None) -> None:
    """Write to GDB's standard output, or to a file that appears whole or not at all."""
    if path is None:
        for part in _batches(parts):
            gdb.write(part)
        return
    with output_file(path) as file:
        for part in _batches(parts):
            file.write(part.encode("utf-8", "backslashreplace"))


@contextmanager
def output_file(path: str) -> Iterator[BinaryIO]:
    """A file that the user named, whole or not at all, mode 0600; raises Problem."""
    from gdbext.elf.problem import Problem
    from gdbext.render.files import whole_file

    path = os.path.expanduser(path)
    try:
        with whole_file(path) as file:
            yield file
    except OSError as error:
        raise Problem(f"cannot write {path!r}: {error.strerror}") from error


def _batches(parts: Iterator[str]) -> Iterator[str]:
    """Fewer, larger strings: a call of gdb.write costs more than a line."""
    batch: list[str] = []
    for part in parts:
        batch.append(part)
        if len(batch) == 256:
            yield "".join(batch)
            batch = []
    yield "".join(batch)
