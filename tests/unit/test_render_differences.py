"""The differences as text: what is said, hostile names, widths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gdbext.findings.snapshots.differences import compare
from gdbext.findings.snapshots.differences_document import to_document
from gdbext.findings.snapshots.snapshot import NOWHERE, Snapshot
from gdbext.render.differences import difference_lines
from tests.unit.snapshots import LIBC, MAIN, MODULES, ONE, TWO, changed, module, slots, snapshot


def lines(after: Snapshot, width: int = 160, **changes: Any) -> list[str]:  # noqa: ANN401
    before = snapshot()
    document = {**to_document(before, after, compare(before, after)), **changes}
    return list(difference_lines(document, width, False))


def test_nothing_differs() -> None:
    assert lines(snapshot()) == [
        "Before: /bin/host, native, x86-64: 4 modules, 3 slots, 3 symbols, 2 threads",
        "After:  /bin/host, native, x86-64: 4 modules, 3 slots, 3 symbols, 2 threads",
        "No differences.",
    ]


def test_what_goes_the_same_way_shares_a_line() -> None:
    modules = [*MODULES, module("/opt/liballoc.so", kind="preloaded", build_id="ab" * 20)]
    for which, count in ((MAIN, 1), (ONE, 2)):
        rows = [(s, 4 if s == "malloc" else leads) for s, leads in
                (("malloc", LIBC), ("g", TWO))[:count]]  # fmt: skip
        modules[which] = replace(modules[which], slots=slots(*rows))
    said = lines(snapshot(modules))
    assert said[2:] == [
        "3 differences.",
        "",
        "Modules:",
        "  added     /opt/liballoc.so, preloaded, build-id abababababab",
        "",
        "Symbols that another definition provides now:",
        "  changed   libc.so.6 → liballoc.so: malloc; in host, libone.so",
    ]


def test_modules_and_verdicts() -> None:
    bad = slots(("malloc", LIBC), ("g", NOWHERE))._replace(verdicts=["ok", "dangling"])
    said = lines(changed(ONE, build_id="f" * 40, path="/x/libone.so", binding="now", slots=bad))
    old = MODULES[ONE].build_id or ""
    assert "  moved     /opt/libone.so → /x/libone.so" in said
    assert f"  replaced  /x/libone.so: build-id {old[:12]} → ffffffffffff" in said
    assert "  changed   /x/libone.so: binding lazy → now" in said
    assert "  changed   libtwo.so → nowhere: g; in libone.so" in said
    assert "  changed   libone.so: g: ok → dangling; leads to nowhere" in said


def test_what_is_no_difference_is_noted() -> None:
    said = lines(snapshot(), resolved=2, unknown=["the slots of x could not be read after"])
    assert said[-2:] == [
        "Note: 2 slots lazy in one alone, which is no difference",
        "Not compared: the slots of x could not be read after",
    ]


def test_hostile_names_are_inert() -> None:
    name = "/tmp/\x1b[2J\ud800<b>.so"
    said = "\n".join(lines(snapshot([*MODULES, module(name, build_id=None)])))
    assert "\x1b" not in said
    assert r"/tmp/\x1b[2J" in said
    said.encode()


@pytest.mark.parametrize("width", [80, 160])
def test_widths(width: int) -> None:
    modules = [*MODULES, *(module(f"/opt/a/very/long/folder/lib{n}.so") for n in range(60))]
    said = lines(snapshot(modules), width)
    assert max(map(len, said)) <= width
    assert "  … and 20 more; the JSON document has them all" in said
