"""One line on standard error that says what takes so long; nothing where nobody looks."""

from __future__ import annotations

import sys
import time

_PATIENCE = 1.0  # seconds in which nothing is said
_CLEAR = "\r\x1b[K"


class Progress:
    """A line that changes in place on a terminal, from the second second on."""

    def __init__(self) -> None:
        self._start: float | None = None  # when the first thing was told
        self._shows = sys.stderr.isatty()
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def say(self, stage: str) -> None:
        """Tell what is being done now; it may be called as often as one likes."""
        now = time.monotonic()
        self._start = self._start or now
        passed = now - self._start
        if self._shows and passed >= _PATIENCE:
            self._shown = True
            print(f"{_CLEAR}gdbext: {stage}, {passed:.0f} s", end="", file=sys.stderr, flush=True)

    def __exit__(self, *error: object) -> None:
        if self._shown:
            print(_CLEAR, end="", file=sys.stderr, flush=True)
