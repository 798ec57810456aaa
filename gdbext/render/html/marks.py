"""What stands out about a module, from every part of the report; table and picture both use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gdbext.render.html.names import file_name

_WRONG = ("redirected", "stale", "dangling")


class Mark(NamedTuple):
    """A word or two that stand out, and how: crash, lost, gone or plain."""

    text: str
    kind: str


def marks(report: Mapping[str, Any]) -> dict[str, list[Mark]]:
    """The marks of each module that has any, by its path; the strongest first."""
    found: dict[str, list[Mark]] = {}
    for path, mark in _all(report):
        known = found.setdefault(path, [])
        if mark not in known:
            known.append(mark)
    return found


def _all(report: Mapping[str, Any]) -> Iterator[tuple[str, Mark]]:
    site = report.get("crash_frame") or {}
    if site.get("module"):
        yield site["module"], Mark("crash site", "crash")
    for frame in report.get("frames") or []:
        path = frame.get("module")
        if path and frame.get("unloaded"):
            yield path, Mark("unloaded", "gone")
        if path and path != site.get("module"):
            yield path, Mark("on the stack", "crash")
    for path in unloaded(report):
        yield path, Mark("unloaded", "gone")
    conflicts = (report.get("conflicts") or {}).get("conflicts") or []
    for path, lost in Counter(conflict["loser"] for conflict in conflicts).items():
        yield path, Mark(f"loses {lost}", "lost")
    for path, won in Counter(conflict["winner"] for conflict in conflicts).items():
        yield path, Mark(f"wins {won}", "plain")
    for module in (report.get("got") or {}).get("modules") or []:
        wrong = Counter(s["verdict"] for s in module["slots"] if s["verdict"] in _WRONG)
        for verdict, number in sorted(wrong.items()):
            yield module["path"], Mark(f"{number} {verdict}", "lost")
    for module in modules(report):
        if module.get("file") in ("replaced", "deleted"):
            yield module["path"], Mark(f"file {module['file']}", "gone")


def modules(report: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every module of every namespace, in the order of the chains, with its namespace's number."""
    for namespace in (report.get("links") or {}).get("namespaces") or []:
        for module in namespace["modules"]:
            yield {**module, "namespace": namespace["index"]}


def unloaded(report: Mapping[str, Any]) -> list[str]:
    """Paths of libraries that are gone, as the report lists them or as frames name them."""
    paths = [
        entry["path"]
        for entry in report.get("unloaded") or []
        if isinstance(entry, Mapping) and entry.get("path")
    ]
    stacks = [report.get("frames") or [], *((report.get("threads") or {}).get("stacks") or [])]
    paths += [f["module"] for stack in stacks for f in stack if f.get("unloaded") and f["module"]]
    return list(dict.fromkeys(paths))


def labels(paths: list[str]) -> dict[str, str]:
    """A short name for each path: its file name, with one folder more where two share that."""
    names = Counter(file_name(path) for path in set(paths))
    return {
        path: file_name(path) if names[file_name(path)] == 1 else "/".join(path.split("/")[-2:])
        for path in paths
    }
