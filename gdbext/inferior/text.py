"""Text that GDB hands over, also where the program's names in it are no UTF-8."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_Text = TypeVar("_Text", str, "str | None")


def tolerant(read: Callable[[], _Text]) -> _Text | str:
    """What `read` gives. GDB decodes names strictly, and threads, files and symbols of a damaged
    or hostile program have any bytes in theirs: those are kept as Python's own functions do it."""
    try:
        return read()
    except UnicodeDecodeError as error:
        return error.object.decode("utf-8", "surrogateescape")
