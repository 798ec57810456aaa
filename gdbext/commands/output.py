"""Where the answer of a command goes: GDB's standard output, or a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TextIO

import gdb


def write(parts: Iterator[str], path: str | None) -> None:
    """Write to GDB's standard output, or to a file that appears whole or not at all."""
    if path is None:
        for part in _batches(parts):
            gdb.write(part)
        return
    from gdbext.elf.problem import Problem

    path = os.path.expanduser(path)
    draft = f"{path}.{os.getpid()}.part"
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                _write_all(file, parts)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise Problem(f"cannot write {path!r}: {error.strerror}") from error


def _write_all(file: TextIO, parts: Iterator[str]) -> None:
    for part in parts:
        file.write(part)


def _batches(parts: Iterator[str]) -> Iterator[str]:
    """Fewer, larger strings: a call of gdb.write costs more than a line."""
    batch: list[str] = []
    for part in parts:
        batch.append(part)
        if len(batch) == 256:
            yield "".join(batch)
            batch = []
    yield "".join(batch)
