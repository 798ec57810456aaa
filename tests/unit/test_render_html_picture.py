"""Who loaded whom, as the picture and its list have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gdbext.render.html.grouping import Child, grouped
from gdbext.render.html.marks import marks
from gdbext.render.html.picture import lost, nodes, picture
from tests.documents import LIBC, MAIN, conflict, frame, module, report


def drawn(document: dict[str, Any]) -> dict[str, Any]:
    return picture(nodes(document, marks(document)))


def leaves(children: list[Any]) -> Iterator[int]:
    for child in children:
        if isinstance(child, int):
            yield child
        else:
            yield from leaves(child["children"])


def test_each_module_hangs_below_the_one_that_brought_it_in() -> None:
    modules = [
        module(MAIN, "main"),
        module("/pre.so", "preloaded"),
        module(LIBC, "needed", needed_by=[MAIN, "/a.so", "/pre.so"]),
        module("/vdso", "vdso"),
        module("/a.so", opened_by=MAIN),
        module("/b.so"),
        module("/c.so", "needed", needed_by=["/b.so", "/a.so"]),
    ]
    document = report(modules, [conflict("/c.so", "/a.so"), conflict("/c.so", "/a.so", "exit")])
    found = nodes(document, marks(document))
    brought = {
        n.path: (n.edge, n.parent if n.parent is None else found[n.parent].path) for n in found
    }
    assert brought == {
        MAIN: ("", None),
        "/pre.so": ("preloaded", MAIN),
        LIBC: ("needed", MAIN),
        "/vdso": ("system", MAIN),
        "/a.so": ("dlopened", MAIN),
        "/b.so": ("unknown", MAIN),
        "/c.so": ("needed", "/a.so"),
        # no link_map any more, but a frame is in it
        "/opt/plugin-gone.so": ("unloaded", MAIN),
    }
    assert [[found[n].path for n in found[4].needs], lost(document, found)] == [
        [LIBC, "/c.so"],
        [[6, 4, 2]],
    ]
    texts = {n.path: [mark.text for mark in n.marks] for n in found if n.marks}
    assert texts == {
        MAIN: ["on the stack"],
        "/opt/plugin-gone.so": ["unloaded", "on the stack"],
        "/c.so": ["loses 2"],
        "/a.so": ["wins 2"],
    }


def test_namespaces_are_told_apart() -> None:
    document = report([module(MAIN, "main"), module(LIBC, "needed", needed_by=[MAIN])])
    other = {**document["links"]["namespaces"][0], "index": 1}
    other["modules"] = [
        module("/in.so", opened_by=MAIN),
        module(LIBC, "needed", needed_by=["/in.so"]),
    ]
    document["links"]["namespaces"].append(other)
    found = nodes(document, {})
    assert [(n.label, n.parent) for n in found[:4]] == [
        ("host", None),
        ("libc.so.6", 0),
        ("in.so (namespace 1)", 0),
        ("libc.so.6 (namespace 1)", 2),
    ]


def test_what_stands_out_is_in_no_group() -> None:
    modules = [module(MAIN, "main")]
    modules += [module(f"/opt/{n % 30}/lib{n}.so", opened_by=MAIN) for n in range(300)]
    modules.append(module("/opt/7/lost.so", opened_by="/opt/7/lib7.so"))
    document = report(modules, [conflict("/opt/7/lost.so", MAIN)])
    document["frames"] = [frame(0, "/opt/3/lib3.so", "f"), frame(1, MAIN, "main")]
    document["crash_frame"] = document["frames"][0]
    document["threads"]["stacks"] = document["unloaded"] = []
    found = drawn(document)
    names = [node["path"] for node in found["nodes"]]
    alone = {names[child] for child in found["children"][0] if isinstance(child, int)}
    assert {"/opt/3/lib3.so", "/opt/7/lib7.so"} <= alone
    assert len(found["children"][0]) <= 24
    assert not found["open"]
    assert sorted(p for c in found["children"].values() for p in leaves(c)) == list(range(302))


def test_many_losers_are_no_longer_drawn_one_by_one() -> None:
    modules = [module(MAIN, "main")]
    modules += [module(f"/opt/lib{n}.so", opened_by=MAIN) for n in range(1000)]
    document = report(modules, [conflict(f"/opt/lib{n}.so", MAIN) for n in range(1000)])
    document["frames"] = []
    document["threads"]["stacks"] = document["unloaded"] = []
    found = drawn(document)
    assert len(found["children"][0]) <= 40
    assert found["children"][0][0]["label"].endswith("· 40")


PLACES = st.integers(0, 11)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["main", "needed", "dlopened", "preloaded", "linker"]),
            st.lists(PLACES, max_size=4),
            st.none() | PLACES,
        ),
        min_size=1,
        max_size=11,
    )
)
def test_whatever_the_process_says_there_is_no_cycle(
    drawn_modules: list[tuple[str, list[int], int | None]],
) -> None:
    modules = [
        module(
            f"/{place}",
            kind,
            needed_by=[f"/{needer}" for needer in needers],
            opened_by=None if opener is None else f"/{opener}",
        )
        for place, (kind, needers, opener) in enumerate(drawn_modules)
    ]
    document = report(modules)
    document["frames"] = []
    found = picture(nodes(document, {}))
    seen: list[int] = []
    waiting = list(leaves(found["children"].get(-1, [])))
    while waiting:
        place = waiting.pop()
        seen.append(place)
        waiting += leaves(found["children"].get(place, []))
    assert sorted(seen) == list(range(len(found["nodes"])))


def numbers(children: list[Child]) -> Iterator[int]:
    for child in children:
        if isinstance(child, int):
            yield child
        else:
            yield from numbers(list(child.children))


@given(st.lists(st.text("ab/.", min_size=1, max_size=12), max_size=120))
def test_groups_lose_and_double_nothing(paths: list[str]) -> None:
    children = grouped([(path, place) for place, path in enumerate(paths)])
    assert sorted(numbers(children)) == list(range(len(paths)))
    assert len(children) <= 40
