"""Signatures: what makes two crashes one, and what does not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbext.findings.crash.signature import DEPTH, signature
from tests.unit.reports import Row, frame, report

LIBC = "/lib/x86_64-linux-gnu/libc.so.6"
CXX = "/lib/x86_64-linux-gnu/libstdc++.so.6"
PLUGIN = frame("/opt/libplugin.so", 0x1117, symbol="run")
MIDDLE = frame("/opt/libmiddle.so", 0x40)
MAIN = frame("/opt/host", 0x128C, symbol="main")
NULL = frame(None, kind="null")
STACK = [PLUGIN, MIDDLE, MAIN]
PLAIN = report(STACK)


def same(*documents: Row) -> bool:
    return len({signature(document).id for document in documents}) == 1


def labels(document: Row) -> list[str]:
    return [site.label for site in signature(document).sites]


def test_it_is_readable_and_short() -> None:
    found = signature(report([NULL, *STACK], rule="null_slot"))
    assert found.what == "null_slot"
    assert len(found.id) == 16
    assert int(found.id, 16)
    assert [site.label for site in found.sites] == [
        "null", "libplugin.so+0x1117 run", "libmiddle.so+0x40", "host+0x128c main",
    ]  # fmt: skip


def test_a_signature_is_the_same_in_the_next_release() -> None:
    """Files that a run has written hold signatures: a new rule needs a new _VERSION."""
    assert signature(PLAIN).id == "f51b35ffd8ddbb81"


def test_addresses_paths_and_names_do_not_matter() -> None:
    moved = [{**row, "module": "/srv/other/" + row["module"].rpartition("/")[2]} for row in STACK]
    bare = [{**row, "symbol": None} for row in STACK]
    extracted = [{**PLUGIN, "module": "/tmp/libplugin8312.so"}, MIDDLE, MAIN]
    deleted = [{**PLUGIN, "module": "/opt/libplugin.so (deleted)"}, MIDDLE, MAIN]
    assert same(PLAIN, *(report(rows) for rows in (list(STACK), moved, bare, extracted, deleted)))


def test_cxx_names_are_shown_as_people_write_them() -> None:
    mangled = {**PLUGIN, "symbol": "_Z3runv", "demangled": "run()"}
    assert labels(report([mangled]))[0] == "libplugin.so+0x1117 run()"
    assert same(report([mangled]), report([PLUGIN]))


def test_code_in_a_mapped_file_is_told_by_the_file() -> None:
    """What a core without private memory leaves to know."""

    def crash(path: str, offset: int) -> Row:
        rows = [frame(None, kind="file", mapped_file=path, file_offset=hex(offset))]
        return {**report(rows), "links": None}

    generated = crash("/tmp/jit.n6fYqt", 0x40)
    assert labels({**generated, "links": {}}) == ["nowhere"]  # beside known modules
    assert same(crash("/lib/libc.so.6", 0x108F36), crash("/usr/lib/libc.so.6", 0x108F36))
    assert not same(crash("/lib/libc.so.6", 0x108F36), crash("/lib/libc.so.6", 0x108F37))
    assert not same(crash("/lib/libc.so.6", 0x108F36), report([frame(LIBC, 0x108F36)]))
    assert labels(crash("/lib/libc.so.6", 0x108F36)) == ["libc.so.6+0x108f36"]


@pytest.mark.parametrize(
    "other",
    [
        report(STACK, signal="SIGBUS"),
        report(STACK, rule="null_slot"),
        report([{**PLUGIN, "offset": "0x1118"}, MIDDLE, MAIN]),
        report([{**PLUGIN, "build_id": "ff"}, MIDDLE, MAIN]),
        report([{**PLUGIN, "build_id": None}, MIDDLE, MAIN]),
        report([NULL, *STACK]),
        report([PLUGIN, MAIN]),
        report([]),
    ],
)
def test_what_does_matter(other: Row) -> None:
    assert not same(PLAIN, other)


def test_a_rule_counts_before_the_signal() -> None:
    assert same(report(STACK, "SIGSEGV", "wild_slot"), report(STACK, "SIGBUS", "wild_slot"))


def test_without_a_build_id_the_file_name_counts() -> None:
    one, two = ({**PLUGIN, "build_id": None, "module": f"/opt/lib{n}.so"} for n in "12")
    assert not same(report([one, MAIN]), report([two, MAIN]))
    assert same(report([one, MAIN]), report([{**one, "module": "/srv/lib1.so"}, MAIN]))


@pytest.mark.parametrize(
    "top",
    [
        [frame(LIBC, 0x8AEEC), frame(LIBC, 0x3BFB2, symbol="raise"), frame(LIBC, 0x26472)],
        [frame("/usr/lib/libc-2.31.so", 1), frame("/usr/lib/libpthread-2.31.so", 2)],
        [frame("/lib/libpthread.so.0", 1)],
        [frame("/lib/ld-musl-x86_64.so.1", 7)],
        [frame(LIBC, 1), frame(CXX, 2), frame(CXX, 3), frame("/lib/libgcc_s.so.1", 4)],
        [frame("/usr/lib/libasan.so.8", 5)],
        [frame("/opt/host", 5, symbol="__pthread_kill_implementation"),
         frame("/opt/host", 6, symbol="abort")],
        [frame("linux-vdso.so.1", 5)],
    ],
)  # fmt: skip
def test_how_a_program_gives_up_does_not_matter(top: list[Row]) -> None:
    assert same(report([*top, *STACK], "SIGABRT"), report(STACK, "SIGABRT"))


def test_only_the_inner_run_time_frames_are_passed_over() -> None:
    callback = report([PLUGIN, frame(LIBC, 0x99), MIDDLE, MAIN])
    assert "libc.so.6+0x99" in labels(callback)


def test_names_that_only_look_like_run_time_libraries() -> None:
    for name in ("libcurl.so.4", "libcap.so.2", "libstdc++helper.so", "libc_plugin.so"):
        assert labels(report([frame(f"/opt/{name}", 1), *STACK]))[0] == f"{name}+0x1"


def test_a_stack_of_nothing_but_the_c_library_keeps_it() -> None:
    assert labels(report([frame(LIBC, 1), frame(LIBC, 2)])) == ["libc.so.6+0x1", "libc.so.6+0x2"]


@pytest.mark.parametrize(
    ("known", "more"),
    [
        (False, [frame(LIBC, 0x29D8F), frame(LIBC, 0x29E3F), frame("/opt/host", 0x10A4)]),
        (False, [frame("/lib/ld-musl-x86_64.so.1", 3), frame("/opt/host", 0x10A4),
                 frame("/opt/host", 0x1090)]),
        (True, [frame(LIBC, 0x29D8F), frame("/opt/host", 0x10A4, symbol="_start")]),
    ],
)  # fmt: skip
def test_start_up_code_does_not_matter(known: bool, more: list[Row]) -> None:
    """GDB shows it where the program has no symbol main, and leaves it out otherwise."""
    main = MAIN if known else {**MAIN, "symbol": None}
    assert same(report([PLUGIN, main, *more]), report([PLUGIN, MAIN]))


def test_the_start_of_a_thread_does_not_matter() -> None:
    start = [frame(LIBC, 0x89133), frame(LIBC, 0x1097DC)]
    assert same(report([PLUGIN, MIDDLE, *start]), report([PLUGIN, MIDDLE]))


def test_the_depth_of_a_recursion_does_not_matter() -> None:
    walk, visit = frame("/opt/libtree.so", 0x10), frame("/opt/libtree.so", 0x20)
    shallow = report([PLUGIN, walk, visit, MAIN])
    for depth in (2, 3, 100):
        assert same(shallow, report([PLUGIN, *[walk, visit] * depth, MAIN]))


def test_an_inlined_function_does_not_matter() -> None:
    assert same(PLAIN, report([{**PLUGIN, "symbol": "inlined"}, *STACK]))


def test_where_in_a_recursion_the_stack_ended_does_not_matter() -> None:
    ping, pong = frame("/opt/libtree.so", 0x10), frame("/opt/libtree.so", 0x20)
    prologue = frame("/opt/libtree.so", 0x4)
    overflows = [
        report([*top, *[ping, pong] * depth, *end], rule="stack_overflow")
        for top in ([prologue], [frame(LIBC, 1), pong], [])
        for depth, end in ((128, []), (90, [MAIN]))
    ]
    assert same(*overflows)
    assert labels(overflows[0]) == ["libtree.so+0x10", "libtree.so+0x20"]


def test_one_frame_that_is_too_large_overflows_without_recursion() -> None:
    assert labels(report(STACK, rule="stack_overflow"))[0] == "libplugin.so+0x1117 run"


def test_only_the_innermost_frames_count() -> None:
    deep = [frame("/opt/libdeep.so", n) for n in range(DEPTH)]
    assert same(report([*deep, PLUGIN, MAIN]), report([*deep, MIDDLE, MAIN]))
    assert not same(report([*deep[1:], PLUGIN, MAIN]), report([*deep[1:], MIDDLE, MAIN]))


def test_unloaded_code_is_told_apart_but_not_how_exactly_it_is_known() -> None:
    exact = {**PLUGIN, "unloaded": True, "kind": "unloaded"}
    probable = {**exact, "build_id": None, "probable": True}
    assert same(report([exact, MAIN]), report([probable, MAIN]))
    assert not same(report([exact, MAIN]), report([PLUGIN, MAIN]))
    assert labels(report([exact]))[0] == "libplugin.so+0x1117 run (unloaded)"
    nameless = {**exact, "module": None}
    assert labels(report([nameless]))[0] == "a library+0x1117 run (unloaded)"


def test_frames_in_no_module() -> None:
    """Whether GDB calls it heap, anonymous or unmapped depends on what the core holds."""
    kinds = ("anonymous", "heap", "unmapped", "stack", "unknown")
    assert same(*(report([frame(None, kind=kind), *STACK]) for kind in kinds))
    assert same(report([frame(None)] * 3 + STACK), report([frame(None), *STACK]))
    assert not same(report([frame(None), *STACK]), report([NULL, *STACK]))


def test_without_any_frame_in_a_module_the_program_counts() -> None:
    for frames in ([], [frame(None)], [NULL]):
        one = report(frames)
        assert same(one, {**report(frames), "program": "/srv/host"})
        assert not same(one, {**report(frames), "program": "/opt/other"})
        assert not same(one, {**report(frames), "program": None})


def test_hostile_names() -> None:
    names = ("/", "../../etc/passwd", "\x1b[2J", "a\nb", "\udcff", " (deleted)")
    found = {signature(report([frame(name, 1, build_id=None), MAIN])).id for name in names}
    assert len(found) == len(names)


@given(
    st.lists(st.sampled_from([PLUGIN, MIDDLE, MAIN, NULL, frame(LIBC, 1), frame(CXX, 2)])),
    st.sampled_from([None, "null_slot", "stack_overflow"]),
)
def test_any_stack_has_a_signature(frames: list[Row], rule: str | None) -> None:
    found = signature(report(frames, rule=rule))
    assert len(found.sites) <= min(DEPTH, len(frames))
    assert bool(found.sites) == bool(frames)
    assert same(report(frames, rule=rule), report(list(frames), rule=rule))


def test_many_crashes_have_as_many_signatures() -> None:
    chooser = random.Random(5)
    stacks = {tuple(chooser.sample(range(1, 60), 3)) for _ in range(2000)}
    found = {
        signature(report([*(frame("/opt/libplugin.so", n) for n in stack), MAIN])).id
        for stack in stacks
    }
    assert len(found) == len(stacks)


def test_the_frames_of_a_handler_that_gave_up_do_not_matter() -> None:
    handler = [frame(LIBC, 0x8EEC), frame("/opt/libreporter.so", 0x10)]
    behind = {**report([*handler, PLUGIN, *STACK]), "fault_level": len(handler)}
    assert same(behind, PLAIN)
