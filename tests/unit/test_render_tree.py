"""Trees whose nodes are shown once."""

from __future__ import annotations

from gdbext.render.tree import Child, Row, tree_rows

GRAPH = {1: [2, 3], 2: [3], 3: [4], 4: [2], 5: [2, 3, 6], 6: [0]}


def children(key: int) -> list[Child]:
    return [Child(k or None, f"n{k}") for k in GRAPH.get(key, [])]


def test_each_node_is_expanded_once() -> None:
    rows = list(tree_rows([Child(1, "n1"), Child(5, "n5"), Child(2, "n2")], children))
    assert rows == [
        Row(0, ("n1",), 1, "new"),
        Row(1, ("n2",), 2, "new"),
        Row(2, ("n3",), 3, "new"),
        Row(3, ("n4",), 4, "new"),
        Row(4, ("n2",), 2, "cycle"),
        Row(1, ("n3",), None, "above"),
        Row(0, ("n5",), 5, "new"),
        Row(1, ("n2", "n3"), None, "above"),
        Row(1, ("n6",), 6, "new"),
        Row(2, ("n0",), None, "absent"),
        Row(0, ("n2",), None, "above"),
    ]


def test_deep_trees_need_no_recursion() -> None:
    rows = list(tree_rows([Child(1, "")], lambda key: [Child(key + 1, "")] if key < 20_000 else []))
    assert rows[-1].depth == 19_999
    assert list(tree_rows([], children)) == []
