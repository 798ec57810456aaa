"""What was worked out of a stopped process is kept for as long as the command looks at it.

A report asks for the modules and for the lookup in many places; each is worked out once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from gdbext.elf.problem import Problem

_Read = TypeVar("_Read", bound=Callable[..., Any])


def once(read: _Read) -> _Read:
    """Make `read(process, …)` give the same answer, or the same Problem, again.

    The other arguments count by identity: they are facts of the same process, which are kept too.
    """
    name = f"{read.__module__}.{read.__qualname__}"

    @wraps(read)
    def reading(process: Any, *others: Any) -> Any:  # noqa: ANN401
        key = (name, *map(id, others))
        if key not in process.kept:
            try:
                process.kept[key] = read(process, *others), others
            except Problem as problem:
                process.kept[key] = problem, others
        found = process.kept[key][0]
        if isinstance(found, Problem):
            raise found
        return found

    return cast("_Read", reading)
