"""Many modules as few: by folder, and within one folder by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

from gdbext.render.html.names import count, file_name, folder

_FEW = 8  # neighbours that need no group
_RUN = 40  # modules of one folder in a group
_FOLDERS = 14  # folders side by side


@dataclass(frozen=True)
class Group:
    """Modules, and groups of them, that are shown as one until somebody opens it."""

    label: str
    children: Sequence[Child]


Child = Union[int, Group]  # a module is a number that only the caller understands
Named = tuple[str, int]


def grouped(found: Sequence[Named]) -> list[Child]:
    """`found`, paths with numbers, as at most a few children, the same ones each time."""
    if len(found) <= _FEW:
        return [number for _, number in found]
    shared = _shared([folder(path) for path, _ in found])
    folders: dict[str, list[Named]] = {}
    for path, number in found:
        rest = folder(path)[len(shared) :].strip("/")
        folders.setdefault(rest.partition("/")[0], []).append((path, number))
    if len(folders) == 1:
        return _runs(found)
    largest = sorted(folders, key=lambda name: (-len(folders[name]), name))[:_FOLDERS]
    children: list[Child] = []
    others: list[Named] = []
    for name, inside in folders.items():
        if name not in largest:
            others += inside
        elif len(inside) == 1:
            children.append(inside[0][1])
        else:
            children.append(_group(_common(inside) or "/", inside))
    if others:
        children.append(Group(f"other folders · {count(len(others), 'module')}", _runs(others)))
    return children


def _group(name: str, inside: Sequence[Named]) -> Group:
    """`name` with the last two folders of the way there."""
    short = "/".join(name.strip("/").split("/")[-2:]) or "/"
    return Group(f"{short} · {count(len(inside), 'module')}", grouped(inside))


def _common(inside: Sequence[Named]) -> str:
    return _shared([folder(path) for path, _ in inside])


def _runs(found: Sequence[Named]) -> list[Child]:
    """In the order of their names, _RUN in each group."""
    ordered = sorted(found, key=lambda named: (file_name(named[0]), named[0]))
    if len(ordered) <= _RUN:
        return [number for _, number in ordered]
    # Few enough groups at each level, however many modules there are.
    size = _RUN
    while len(ordered) > size * _RUN:
        size *= _RUN
    runs = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    return [
        Group(f"{file_name(run[0][0])} … {file_name(run[-1][0])} · {len(run):,}", _runs(run))
        for run in runs
    ]


def _shared(folders: Sequence[str]) -> str:
    """The folder that all of them are in or below."""
    first, last = min(folders).split("/"), max(folders).split("/")
    size = next(
        (place for place, (a, b) in enumerate(zip(first, last)) if a != b),
        min(len(first), len(last)),
    )
    return "/".join(first[:size])
