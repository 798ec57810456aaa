"""Who loaded whom: a forest of modules and of groups of modules, and the same as a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gdbext.render.html.grouping import Group, grouped
from gdbext.render.html.marks import Mark, labels, modules, unloaded
from gdbext.render.html.markup import EMPTY, Markup, code, folded, join, section, tag
from gdbext.render.html.names import badge, count, file_name
from gdbext.render.printable import printable

_SMALL = 40  # modules that are all drawn
_DEEPEST = 100  # modules that brought in one another
_LISTED = 2000
_MARKED = 24  # modules that stand out in one way and are drawn by themselves
_STRONGEST = ("crash", "gone", "lost", "plain")
# How a module came in, as the list says it; the picture has a line of its own for each.
_EDGES = {
    "": "the program",
    "needed": "needed",
    "dlopened": "dlopened",
    "preloaded": "preloaded",
    "unloaded": "was loaded, is gone",
    "system": "mapped by the kernel",
}


@dataclass
class Node:
    """One module and who brought it in: `parent` is a place in the list, None for a root."""

    path: str
    label: str
    kind: str
    marks: Sequence[Mark]
    parent: int | None = None
    edge: str = ""
    needs: list[int] = field(default_factory=list)


def nodes(report: Mapping[str, Any], marks: Mapping[str, Sequence[Mark]]) -> list[Node]:
    """Every module; each hangs below the one that brought it in, and there are no cycles."""
    found = list(modules(report))
    loaded = {each["path"] for each in found}
    gone = [path for path in unloaded(report) if path not in loaded]
    names = labels([each["path"] for each in found] + gone)
    made = []
    for each in found:
        space = f" (namespace {each['namespace']})" if each["namespace"] else ""
        label = names[each["path"]] + space
        made.append(Node(each["path"], label, each["kind"], marks.get(each["path"], [])))
    by_path: dict[tuple[int, str], int] = {}
    for place, each in enumerate(found):
        by_path.setdefault((each["namespace"], each["path"]), place)
    for place, each in enumerate(found):
        space = each["namespace"]
        needers = [
            by_path[space, path] for path in each.get("needed_by") or [] if (space, path) in by_path
        ]
        for needer in needers:
            made[needer].needs.append(place)
        opener = each.get("opened_by")
        by = by_path.get((space, opener), by_path.get((0, opener))) if opener else None
        parent, edge = _origin(each, needers, by)
        if parent is not None and _leads_to(made, parent, place):
            # The program has no parent, so it can take whatever would close a circle.
            parent, edge = None if _leads_to(made, 0, place) else 0, "unknown"
        made[place].parent, made[place].edge = parent, edge
    root = 0 if made else None
    made += [Node(p, names[p], "unloaded", marks.get(p, []), root, "unloaded") for p in gone]
    return made


def _origin(
    each: Mapping[str, Any], needers: Sequence[int], opener: int | None
) -> tuple[int | None, str]:
    kind = each["kind"]
    if kind == "main":
        return None, ""
    if opener is not None and kind not in ("needed", "preloaded"):
        return opener, "dlopened"
    if kind == "preloaded":
        return 0, "preloaded"
    if kind == "dlopened":
        return 0, "unknown"
    if needers:
        return min(needers), "needed"
    return 0, "system" if kind in ("vdso", "linker") else "unknown"


def _leads_to(made: Sequence[Node], start: int, target: int) -> bool:
    """Whether `target` is among what brought `start` in, or the way up is too long to be drawn."""
    place: int | None = start
    for _ in range(_DEEPEST):
        if place is None:
            return False
        if place == target:
            return True
        place = made[place].parent
    return True


def picture(found: Sequence[Node]) -> dict[str, Any]:
    """What the script draws: `nodes`, and for each parent (-1: none) its `children` in order.

    A child is a place in `nodes`, or a group: {label, children}. A node that stands out, or that
    leads to one, is never put into a group. `open` says whether all of it is drawn at once.
    """
    children: dict[int, list[int]] = {}
    for place, node in enumerate(found):
        children.setdefault(-1 if node.parent is None else node.parent, []).append(place)
    notable = _notable(found)
    small = len(found) <= _SMALL
    drawn = {
        parent: [*places]
        if small
        else [
            *(p for p in places if p in notable),
            *_collected(found, [p for p in places if p not in notable]),
        ]
        for parent, places in children.items()
    }
    return {
        "open": small,
        "nodes": [
            {
                "label": printable(node.label),
                "path": printable(node.path),
                "kind": node.kind,
                "edge": node.edge,
                "parent": node.parent,
                "needs": node.needs,
                "marks": [[mark.text, mark.kind] for mark in node.marks],
                "notable": place in notable,
            }
            for place, node in enumerate(found)
        ],
        "children": drawn,
    }


def _notable(found: Sequence[Node]) -> set[int]:
    """Places of what is drawn by itself: roots, what stands out most, and the way to each."""
    alone = [place for place, node in enumerate(found) if node.parent is None]
    for kind in _STRONGEST:
        marked = [
            p for p, node in enumerate(found) if any(mark.kind == kind for mark in node.marks)
        ]
        # What is true of very many stands out no more, apart from the crash path itself.
        if kind == "crash" or len(marked) <= _MARKED:
            alone += marked[:_MARKED]
    notable: set[int] = set()
    for place in alone:
        above: int | None = place
        while above is not None and above not in notable:
            notable.add(above)
            above = found[above].parent
    return notable


def _collected(found: Sequence[Node], places: Sequence[int]) -> Iterator[int | dict[str, Any]]:
    """Groups of modules that came in the same way."""
    for edge in dict.fromkeys(found[place].edge for place in places):
        named = [(found[place].path, place) for place in places if found[place].edge == edge]
        yield from map(_written, grouped(named))


def _written(child: int | Group) -> int | dict[str, Any]:
    if isinstance(child, int):
        return child
    return {"label": printable(child.label), "children": [_written(c) for c in child.children]}


def lost(report: Mapping[str, Any], found: Sequence[Node]) -> list[list[int]]:
    """[loser, winner, how many symbols], places of nodes, for each pair that has conflicts."""
    places = {node.path: place for place, node in reversed(list(enumerate(found)))}
    pairs: dict[tuple[int, int], int] = {}
    for conflict in (report.get("conflicts") or {}).get("conflicts") or []:
        pair = places.get(conflict["loser"]), places.get(conflict["winner"])
        if pair[0] is not None and pair[1] is not None:
            pairs[pair[0], pair[1]] = pairs.get((pair[0], pair[1]), 0) + 1
    return [[loser, winner, number] for (loser, winner), number in pairs.items()]


def picture_section(found: Sequence[Node]) -> Markup:
    """The place where the script draws, and the same facts as a list."""
    if not found:
        return EMPTY
    quiet = "quiet" if len(found) > _SMALL else None
    return section(
        "picture",
        "Who loaded whom",
        tag("div", id="graph"),
        folded("The same as a list", tag("ol", *_lines(found), class_="tree"), kind=quiet),
        note=f"{count(len(found), 'module')}, each below the one that brought it in first.",
    )


def _lines(found: Sequence[Node]) -> Iterator[Markup]:
    """One item for each module, depth first, its level said in words."""
    below: dict[int | None, list[int]] = {}
    for place, node in enumerate(found):
        below.setdefault(node.parent, []).append(place)
    stack = [(place, 0) for place in reversed(below.get(None, []))]
    listed = 0
    while stack and listed < _LISTED:
        place, depth = stack.pop()
        node = found[place]
        how = _EDGES.get(node.edge, f"{node.kind}, by whom is not known")
        parent = file_name(found[node.parent].path) if node.parent is not None else ""
        by = f" by {parent}" if node.edge in ("needed", "dlopened") else ""
        words = (badge(mark.text, mark.kind) for mark in node.marks)
        about = tag("span", f"{how}{by}", class_="folder")
        line = join([code(node.label), *words, about], " ")
        yield tag("li", line, class_=f"depth-{min(depth, 8)}")
        listed += 1
        stack += [(child, depth + 1) for child in reversed(below.get(place, []))]
    if stack:
        yield tag("li", f"and {len(found) - listed:,} more")
