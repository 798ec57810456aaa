"""Constructors and destructors of made-up processes, sound and damaged, and their states."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbext.elf.problem import Problem
from gdbext.findings.turns import NOT_YET, RUN, RUNNING, Look, Turn, take_turns
from gdbext.linker.init.initfini import Reader, Step, constructors, destructors
from gdbext.linker.init.initorder import HISTORY, MOVES, InitOrder, read_init_order
from gdbext.linker.loaded.layout import INITFINI
from gdbext.linker.loaded.modules import Linker, read_linker
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.threads.threads import Stack, StackFrame
from tests.unit import glibc
from tests.unit.crafted import words
from tests.unit.glibc import RELEASES, Glibc, Object

DT_INIT, DT_FINI, DT_FLAGS_1 = 12, 13, 0x6FFFFFFB
DT_INIT_ARRAY, DT_INIT_ARRAYSZ, DT_PREINIT_ARRAY, DT_PREINIT_ARRAYSZ = 25, 27, 32, 33
INITFIRST = 0x20
NEWEST = "2.41-x86-64"
# an address in the image's code, as a constructor's; the images of glibc.py follow each other
FIRST, STEP, CODE = 0x7F0000000000, 0x100000, 0x30
AT_BASE, LD_SO = 7, FIRST + 2 * STEP  # its libc is its dynamic linker here


def objects() -> list[Object]:
    """A program, two libraries of its start, two that were opened."""
    made = glibc.program()
    for number, each in enumerate(made):
        start = FIRST + number * STEP
        each.parts = {DT_INIT_ARRAY: words(start + CODE, start + CODE + 8)}
        each.values = [(DT_INIT_ARRAYSZ, 16), (DT_FINI, CODE + 16)]
    return made


def read(made: Glibc) -> tuple[Linker, InitOrder, list[Step], list[Step]]:
    process = made.process()
    process.auxv = {**process.auxv, AT_BASE: LD_SO}
    linker = read_linker(process)
    tables = TableSet(process.memory, lambda _: None, lambda _: None)
    order = read_init_order(process, linker, tables)
    reader = Reader(process.memory, linker, tables)
    return linker, order, list(constructors(reader, order)), list(destructors(reader, order))


def names(steps: list[Step]) -> list[str]:
    return [step.module.path.rpartition("/")[2] for step in steps]


@pytest.mark.parametrize("name", RELEASES)
def test_orders(name: str) -> None:
    _, order, begin, end = read(glibc.make(name, objects()))
    assert order.notes == ()
    assert names(begin) == ["libc.so.6", "liba.so", "main", "plug.so", "libdep.so"]
    assert [step.caller for step in begin] == ["ld.so", "ld.so", "libc", "ld.so", "ld.so"]
    assert [step.when for step in begin] == ["start"] * 3 + ["dlopen"] * 2
    assert [f.kind for f in begin[0].functions] == ["init_array"] * 2
    assert [f.address for f in begin[3].functions] == [
        FIRST + 3 * STEP + CODE,
        FIRST + 3 * STEP + CODE + 8,
    ]
    assert names(end)[0] == "main"
    assert sorted(names(end)) == sorted(names(begin))
    assert [f.kind for f in end[0].functions] == ["fini"]


def test_initfirst_and_preinit() -> None:
    made = objects()
    made[1].values = [*made[1].values, (DT_FLAGS_1, INITFIRST)]
    made[0].parts = {**made[0].parts, DT_PREINIT_ARRAY: words(FIRST + CODE + 24)}
    made[0].values = [*made[0].values, (DT_PREINIT_ARRAYSZ, 8)]
    _, _, begin, _ = read(glibc.make(NEWEST, made))
    assert names(begin)[:4] == ["liba.so", "main", "libc.so.6", "main"]
    assert [f.kind for f in begin[1].functions] == ["preinit_array"]


def test_damaged_arrays() -> None:
    made = objects()
    made[1].values = [(DT_INIT_ARRAYSZ, 1 << 60)]
    made[2].parts = {DT_INIT_ARRAY: words(0, 0x1234)}
    _, _, begin, _ = read(glibc.make(NEWEST, made))
    steps = dict(zip(names(begin), begin))
    assert steps["liba.so"].functions == ()
    assert "hold no array of" in (steps["liba.so"].problem or "")
    bad = steps["libc.so.6"].functions
    assert [f.address for f in bad] == [None, None]
    assert [f.reason for f in bad] == [
        "it holds 0x0, which is in no loaded module",
        "it holds 0x1234, which is in no loaded module",
    ]


def test_a_damaged_list_leaves_the_module_alone() -> None:
    made = glibc.make(NEWEST, objects())
    scope = made.release.scope
    made.write(made.objects[0], scope + INITFINI, words(made.objects[1].address))
    _, order, begin, _ = read(made)
    assert any("l_initfini of /bin/main is damaged" in note for note in order.notes)
    assert sorted(names(begin)) == sorted(["main", "liba.so", "libc.so.6", "plug.so", "libdep.so"])


def test_dependencies_of_a_library_whose_opener_is_gone() -> None:
    """It was never opened itself: its list has its direct dependencies, and none of theirs."""
    made = glibc.make(NEWEST, objects())
    _, order, _, _ = read(made)
    root = next(m for m in read_linker(made.process()).modules if m.path.endswith("plug.so"))
    own = root.map.address
    lists = {own: (2, 1, own), 1: (4, 3, 1), 2: (5, 2), 3: (4, 3), 4: (1, 4), 5: (own, 5)}
    found = replace(order, lists=lists)
    assert found.starting_with(root) == (2, 1, own)
    assert found.with_needs(root) == (5, 2, 4, 3, 1, own)


def test_history_and_relocation_dependencies() -> None:
    made = glibc.make(NEWEST, objects())
    at = made.release.scope + INITFINI + 8
    main, first, libc, plug, dep = made.objects
    called = [main, plug, dep, first, libc]  # the last constructor call first
    for each, following in zip(called, [*called[1:], None]):
        made.write(each, at, words(following.address if following else 0))
    _, order, _, end = read(made)
    assert order.algorithm == HISTORY
    assert names(end) == ["main", "plug.so", "libdep.so", "liba.so", "libc.so.6"]
    # and without: libdep.so is bound to plug.so
    made = glibc.make(NEWEST, objects())
    for each in made.objects:
        made.write(each, at, words(0, 0))
    before = names(read(made)[3])
    assert before.index("plug.so") < before.index("libdep.so")
    room = 0x5666_0000_0000
    made.runs[room] = words(1, made.objects[3].address)
    made.write(made.objects[4], at, words(room, 1))
    _, order, _, end = read(made)
    assert order.algorithm == MOVES  # this ld.so does not know the tunable
    assert names(end).index("libdep.so") < names(end).index("plug.so")


def look(made: Glibc, *frames: tuple[int, str | None]) -> tuple[list[Turn], list[Turn]]:
    """The states with one thread's stack; each function starts where its constructor is."""
    linker, order, begin, end = read(made)
    stack = Stack(1, tuple(StackFrame(*frame) for frame in frames))
    known = sorted(f.address for s in (*begin, *end) for f in s.functions if f.address)
    return take_turns(
        Look(linker, order, [stack], lambda _: tuple(known), lambda _m, _a: None), begin, end
    )


def flags(made: Glibc, number: int, begun: bool) -> None:
    """Set or clear l_init_called of one object."""
    each = made.objects[number]
    at = made.release.phdr + 116
    word = int.from_bytes(made.runs[each.address][at : at + 4], "little")
    bit = 1 << (4 if made.release.new_bits else 3)
    made.write(each, at, (word | bit if begun else word & ~bit).to_bytes(4, "little"))


def test_states_at_rest() -> None:
    made = glibc.make(NEWEST, objects())
    begin, end = look(made, (FIRST + CODE + 40, "main"))
    assert {turn.state for turn in begin} == {RUN}
    assert {turn.state for turn in end} == {NOT_YET}


def test_without_a_stack_the_programs_own_are_unknown() -> None:
    begin, _ = look(glibc.make(NEWEST, objects()))
    assert [turn.state for turn in begin] == [RUN, RUN, None, RUN, RUN]
    assert "libc" in (begin[2].reason or "")


PLUG, CALLER = FIRST + 3 * STEP, (LD_SO + 0x100, None)


@pytest.mark.parametrize("name", RELEASES)
def test_a_running_constructor(name: str) -> None:
    made = glibc.make(name, objects())
    flags(made, 4, False)
    begin, end = look(made, (PLUG + CODE + 9, None), CALLER)
    assert [turn.state for turn in begin][3:] == [RUNNING, NOT_YET]
    assert begin[3].states == (RUN, RUNNING)
    assert begin[3].active is not None
    assert begin[3].active.thread == 1
    assert {turn.state for turn in end} == {NOT_YET}
    # called by somebody else it is no constructor that runs
    begin, _ = look(made, (PLUG + CODE + 9, None), (FIRST + STEP + 0x100, None))
    assert begin[3].state == RUN


def test_a_constructor_that_left_its_frame() -> None:
    begin, _ = look(glibc.make(NEWEST, objects()), (PLUG + 0x10, "work"), CALLER)
    assert (begin[3].state, begin[3].states) == (RUNNING, (None, None))
    assert "tail call" in (begin[3].reason or "")


@pytest.mark.parametrize("name", RELEASES)
def test_a_running_destructor(name: str) -> None:
    """At exit ld.so has cleared the program's mark and this module's."""
    made = glibc.make(name, objects())
    for number in (0, 3):
        flags(made, number, False)
    frames = ((PLUG + CODE + 16, None), CALLER, (FIRST + CODE + 40, "main"))
    begin, end = look(made, *frames)
    assert {turn.state for turn in begin} == {RUN}
    states = dict(zip(names([turn.step for turn in end]), [turn.state for turn in end]))
    assert states == {
        "main": RUN,
        "plug.so": RUNNING,
        "liba.so": NOT_YET,
        "libc.so.6": NOT_YET,
        "libdep.so": NOT_YET,
    }


@given(
    st.integers(0, 4),
    st.integers(0, 1200 // 8 - 1),
    st.sampled_from([0, 1, 8, PLUG, FIRST + CODE, 0x555500000000, 0x555500001000, (1 << 64) - 8]),
)
def test_damage(number: int, place: int, word: int) -> None:
    """One wrong word in a link_map costs no more than what it says."""
    made = glibc.make(NEWEST, objects())
    made.write(made.objects[number], 8 * place, words(word))
    try:
        begin, end = look(made, (PLUG + 0x10, "work"), CALLER, (FIRST + CODE + 40, "main"))
    except Problem:
        return
    assert len(begin) <= 6
    assert len(end) <= 6
