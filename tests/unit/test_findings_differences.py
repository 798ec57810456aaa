"""Two snapshots compared: every kind of difference, and what is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gdbext.findings.snapshots.differences import Differences, compare
from gdbext.findings.snapshots.differences_document import to_document
from gdbext.findings.snapshots.snapshot import NOWHERE, UNKNOWN, Snapshot, ThreadFacts, TlsFacts
from tests.harness import validated
from tests.unit.snapshots import (
    FUNC,
    LIBC,
    MAIN,
    MODULES,
    ONE,
    THREADS,
    TWO,
    WANTED,
    WEAK,
    changed,
    module,
    slots,
    snapshot,
    symbols,
)

OTHER = "f" * 40


def differ(after: Snapshot, before: Snapshot | None = None) -> Differences:
    """Compare; the document fits its schema, and the count is that of its parts."""
    before = before or snapshot()
    found = compare(before, after)
    document = validated({"schema": "gdbext/diff/1", **to_document(before, after, found)})
    parts = ("changes", "added", "gone", "changed", "order", "symbols", "providers", "verdicts",
             "threads", "tls")  # fmt: skip
    assert document["count"] == sum(len(document[part]) for part in parts)
    return found


def only(found: Differences, *parts: str) -> None:
    """Nothing but these parts differs."""
    names = {name for name, value in vars(found).items() if isinstance(value, list) and value}
    assert names - {"unknown"} == set(parts)


def test_addresses_are_no_difference() -> None:
    moved = [replace(m, base=hex(0x555500000000 + i * 0x10000)) for i, m in enumerate(MODULES)]
    found = differ(snapshot(moved, target="core", gdbext="9"))
    only(found)
    assert (found.count, found.unknown) == (0, [])


def test_modules_that_come_and_go() -> None:
    found = differ(snapshot([*MODULES[:2], *MODULES[3:], module("/opt/libnew.so")], threads=None))
    assert [m.path for m in found.added] == ["/opt/libnew.so"]
    assert [m.path for m in found.gone] == ["/opt/libone.so"]
    only(found, "added", "gone")
    assert found.unknown == ["the threads after are not known"]


def test_a_module_that_was_built_anew_and_moved() -> None:
    found = differ(changed(ONE, build_id=OTHER, binding="now", path="/usr/libone.so"))
    (change,) = found.changed
    assert (change.replaced, change.moved) == (True, True)
    assert change.changes == [("binding", "lazy", "now")]
    only(found, "changed")
    (change,) = differ(changed(ONE, path="/usr/lib2.so")).changed  # known by its build-id
    assert (change.replaced, change.moved, change.changes) == (False, True, [])


@pytest.mark.parametrize(
    ("entries", "name", "before", "after"),
    [
        ([("NEEDED", "libc.so.6"), ("NEEDED", "libm.so.6")], "needed", "libc.so.6",
         "libc.so.6 libm.so.6"),
        ([("NEEDED", "libc.so.6"), ("RUNPATH", "$ORIGIN")], "runpath", "", "$ORIGIN"),
        ([("NEEDED", "libc.so.6"), ("FLAGS", 0x18), ("FLAGS_1", 0x8000001)], "flags", "",
         "DF_BIND_NOW DF_STATIC_TLS DF_1_NOW DF_1_PIE"),
        ([("NEEDED", "libc.so.6"), ("FLAGS", 0x100)], "flags", "", "DF_0x100"),
    ],
)  # fmt: skip
def test_what_the_dynamic_section_says(
    entries: list[tuple[str, Any]], name: str, before: str, after: str
) -> None:
    (change,) = differ(changed(ONE, dynamic=entries)).changed
    assert change.changes == [(name, before, after)]


def test_a_build_without_an_id_is_known_by_its_dynamic_section() -> None:
    bare = changed(ONE, build_id=None)
    assert differ(bare, bare).count == 0
    one = differ(
        changed(ONE, build_id=None, dynamic=[("NEEDED", "libc.so.6"), ("STRTAB", 8)]), bare
    )
    assert [change.replaced for change in one.changed] == [True]
    assert differ(changed(ONE, build_id=None, dynamic=None)).changed == []  # nothing is known


def test_the_order_of_the_chain() -> None:
    found = differ(snapshot([MODULES[i] for i in (MAIN, LIBC, TWO, ONE)], threads=[THREADS[0]]),
                   snapshot(threads=[THREADS[0]]))  # fmt: skip
    (row,) = found.order
    assert (row.place, row.before.path, row.after.path) == (2, "/opt/libone.so", "/opt/libtwo.so")


def test_one_path_in_two_namespaces_and_twice_in_one() -> None:
    before = snapshot([*MODULES, replace(MODULES[LIBC], namespace=1)])
    after = snapshot([*MODULES, replace(MODULES[LIBC], namespace=1, build_id=OTHER)])
    (change,) = differ(after, before).changed
    assert (change.after.namespace, change.replaced) == (1, True)
    # the file was replaced and opened again: the old one is still there
    twice = snapshot([*MODULES, replace(MODULES[ONE], build_id=OTHER)])
    found = differ(twice)
    assert [(m.path, m.build_id) for m in found.added] == [("/opt/libone.so", OTHER)]
    only(found, "added")
    assert differ(twice, twice).count == 0


def test_of_several_of_one_name_the_likeliest_is_taken() -> None:
    before = snapshot([module(f"/one/{name}/x.so", build_id=None) for name in "ab"], threads=[])
    after = snapshot([module(f"/two/{name}/x.so", build_id=None) for name in "ba"], threads=[])
    pairs = [(c.before.path, c.after.path) for c in differ(after, before).changed]
    assert pairs == [("/one/a/x.so", "/two/a/x.so"), ("/one/b/x.so", "/two/b/x.so")]


def test_symbol_tables() -> None:
    before = symbols(
        ("gone", "", FUNC, 1), ("weak", "", FUNC, 2), ("size", "", FUNC, 3), ("ver", "", FUNC, 4),
        ("two", "@V1", FUNC, 5), ("two", "@@V2", FUNC, 6), ("old", "@V", WANTED, 0),
    )  # fmt: skip
    after = symbols(
        ("new", "", FUNC, 1), ("weak", "", WEAK, 2), ("size", "", FUNC, 30),
        ("ver", "@@V", FUNC, 4), ("two", "@@V2", FUNC, 7), ("two", "@@V3", FUNC, 6),
        ("V3", "@@V3", "OBJECT GLOBAL ABS", 0), ("want", "@V", WANTED, 0),
    )  # fmt: skip
    found = differ(changed(ONE, symbols=after), changed(ONE, symbols=before))
    only(found, "symbols")
    (table,) = found.symbols
    assert (table.added, table.removed) == (["two@@V3", "new"], ["gone", "two@V1"])
    assert (table.imports_added, table.imports_removed) == (["want@V"], ["old@V"])
    assert sorted(table.changed) == [
        ("size", "size", 3, 30),
        ("two@@V2", "size", 6, 7),
        ("ver@@V", "version", "none", "V"),
        ("weak", "kind", FUNC, WEAK),
    ]
    assert differ(changed(ONE, symbols=None)).unknown == [
        "the symbol table of /opt/libone.so could not be read after"
    ]


def test_another_provider() -> None:
    found = differ(changed(ONE, slots=slots(("malloc", TWO), ("g", NOWHERE))))
    rows = [(row.symbol, row.before, row.after) for row in found.providers]
    assert rows == [
        ("malloc", [("/lib/libc.so.6", "malloc")], [("/opt/libtwo.so", "malloc")]),
        ("g", [("/opt/libtwo.so", "g")], [(None, None)]),
    ]
    only(found, "providers")
    # the same with the module built anew, where the slots have other places
    anew = slots(("x", LIBC), ("malloc", TWO), ("g", TWO))
    (row,) = differ(changed(ONE, build_id=OTHER, slots=anew)).providers
    assert (row.symbol, row.slots) == ("malloc", 1)


def test_another_definition_of_the_same_provider() -> None:
    """An IFUNC chooses by the CPU; in a provider that was built anew another place says nothing."""
    elsewhere = slots(("malloc", LIBC), ("g", TWO))._replace(targets=[0x1000, 0x2000])
    (row,) = differ(changed(ONE, slots=elsewhere)).providers
    assert row.symbol == "g"
    modules = [*snapshot(changed(ONE, slots=elsewhere).modules).modules]
    modules[TWO] = replace(modules[TWO], build_id=OTHER)
    only(differ(snapshot(modules)), "changed")


def test_a_provider_that_moved_is_the_same() -> None:
    modules = [*MODULES]
    modules[TWO] = replace(modules[TWO], path="/usr/libtwo.so")
    only(differ(snapshot(modules)), "changed")


def test_lazy_slots_and_unknown_ones() -> None:
    lazy = slots(("malloc", LIBC), ("g", TWO), state="lazy")
    found = differ(changed(ONE, slots=lazy))
    assert (found.count, found.resolved) == (0, 2)
    found = differ(changed(ONE, slots=slots(("malloc", UNKNOWN), ("g", UNKNOWN))))
    assert found.count == 0
    unverified = slots(("malloc", LIBC), ("g", TWO), verdict="unverified")
    found = differ(changed(ONE, slots=unverified))
    assert (found.count, found.unknown) == (0, ["2 slots have a verdict in one snapshot alone"])


def test_verdicts() -> None:
    bad = slots(("malloc", LIBC), ("g", TWO))._replace(verdicts=["ok", "redirected"])
    (row,) = differ(changed(ONE, slots=bad)).verdicts
    assert (row.symbol, row.offset, row.before, row.after) == ("g", 0x4008, "ok", "redirected")
    (row,) = differ(changed(ONE, slots=bad, build_id=OTHER)).verdicts
    assert (row.offset, row.before, row.after) == (None, "ok", "redirected")
    # a module that is new, or has gone: what is not ok in it is told
    with_bad = snapshot([*MODULES, module("/opt/bad.so", slots=bad)])
    assert [(v.before, v.after) for v in differ(with_bad).verdicts] == [(None, "redirected")]
    back = differ(snapshot(), with_bad)
    assert [(v.before, v.after) for v in back.verdicts] == [("redirected", None)]


def test_threads_by_their_start() -> None:
    more = [*THREADS, THREADS[1]._replace(name="other"),
            ThreadFacts(None, False, NOWHERE, "/gone.so", None, 0x10),
            ThreadFacts(None, False, NOWHERE, None, None, None)]  # fmt: skip
    found = differ(snapshot(threads=more))
    assert [tuple(row) for row in found.threads] == [
        ("run", "/opt/libone.so", ["worker", "other"], 1, 2),
        ("+0x10", "/gone.so", [], 0, 1),
        ("an unknown start routine", None, [], 0, 1),
    ]
    only(found, "threads")


def test_tls() -> None:
    static: dict[str, Any] = {"size": 4224, "used": 200, "left": None}
    after = replace(changed(LIBC, tls=TlsFacts(160, 8, "static")), static_tls=static)
    rows = [(row.module.path if row.module else None, *row.change) for row in differ(after).tls]
    assert rows == [("/lib/libc.so.6", "size", 144, 160), (None, "static TLS used", 144, 200)]
    (row,) = differ(changed(LIBC, tls=None, build_id=OTHER)).tls
    assert row.change == ("size", 144, 0)
    assert differ(changed(LIBC, tls=None)).tls == []  # the same build: it is not known


def test_another_machine() -> None:
    assert differ(snapshot(cpu="aarch64")).changes == [("cpu", "x86-64", "aarch64")]
