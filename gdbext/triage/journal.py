"""The file in which outcomes are kept, a line each, so that a later run goes on from there."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable
from types import TracebackType

from gdbext.elf.problem import Problem
from gdbext.triage.outcome import LINE_SCHEMA, Outcome, from_line, line

_FIRST = f'{{"schema": "{LINE_SCHEMA}"'.encode()


class Journal:
    """An open file of outcomes; `outcomes` are those that were there, the last of each core.

    Whatever ends the program, what was appended is in the file, in whole lines but perhaps for
    the last: that one is cut off when the file is opened next. One run at a time has it open.
    """

    def __init__(self, path: str) -> None:
        """Open it; raises Problem, and then the file is as it was."""
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise Problem(f"cannot open {path!r}: {error.strerror}") from error
        try:
            self.outcomes = self._read()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def append(self, outcome: Outcome) -> None:
        """Add a line; it is with the kernel when this returns."""
        data = line(outcome)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise Problem(f"cannot write {self.path!r}: {error.strerror}") from error

    def _read(self) -> tuple[Outcome, ...]:
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise Problem(f"{self.path!r} is not a regular file")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Problem(f"another run has {self.path!r} open") from error
        except OSError as error:  # not every network file system can
            raise Problem(f"cannot lock {self.path!r}: {error.strerror}") from error
        with open(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            data = file.read()
        *rows, rest = data.split(b"\n")
        outcomes = [self._outcome(number, row) for number, row in enumerate(rows, 1)]
        if rest:
            # Somebody else's file, named by mistake, must not lose its last line.
            if rest[: len(_FIRST)] != _FIRST[: len(rest)]:
                raise Problem(f"{self.path!r} was not written by gdbext triage")
            os.ftruncate(self._descriptor, len(data) - len(rest))
        return latest(outcomes)

    def _outcome(self, number: int, row: bytes) -> Outcome:
        try:
            return from_line(row)
        except Problem as problem:
            raise Problem(f"line {number} of {self.path!r} is no outcome: {problem}") from problem


def latest(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """The last outcome of each core."""
    return tuple({outcome.job.core: outcome for outcome in outcomes}.values())
