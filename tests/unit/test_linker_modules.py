"""The linker's state of whole made-up processes: glibc's, musl's, static and damaged ones."""

from __future__ import annotations

import struct

import pytest

from gdbext.elf.arch import AARCH64
from gdbext.elf.problem import Problem
from gdbext.linker.loaded.loading import NOW, binding, deepbind, nodelete, relro
from gdbext.linker.loaded.modules import DLOPENED, LINKER, MAIN, NEEDED, VDSO, read_linker
from gdbext.linker.loaded.rendezvous import find_r_debug, read_main_image
from gdbext.linker.loaded.selection import select_modules
from gdbext.linker.process.process import Region
from tests.unit import crafted, glibc
from tests.unit.crafted import FakeProcess, words
from tests.unit.glibc import RELEASES, Object


@pytest.mark.parametrize("name", RELEASES)
def test_a_process(name: str) -> None:
    made = glibc.make(name)
    linker = read_linker(made.process())
    assert [(m.path, m.kind, m.soname, m.needed) for m in linker.modules] == [
        ("/bin/main", MAIN, None, ("libc.so.6", "liba.so")),
        ("/lib/liba.so", NEEDED, "liba.so", ("libc.so.6",)),
        ("/lib/libc.so.6", NEEDED, "libc.so.6", ()),
        ("/opt/plug.so", DLOPENED, "plug.so", ("libdep.so",)),
        ("/opt/libdep.so", NEEDED, "libdep.so", ("libc.so.6",)),
    ]
    needed_by = [[n.map.address for n in linker.needed_by(m)] for m in linker.modules]
    at = [m.map.address for m in linker.modules]
    assert needed_by == [[], [at[0]], [at[0], at[1], at[4]], [], [at[3]]]
    assert linker.layout == glibc.expected_layout(made.release)
    assert (linker.problems, linker.unlisted) == ((), ())
    assert [m.image.start if m.image else None for m in linker.modules] == [
        o.base for o in made.objects
    ]
    for module, each in zip(linker.modules, made.objects):
        assert linker.owner(each.base + 0x50) is module
        assert linker.by_map[each.address] is module
    assert linker.owner(made.objects[0].base - 1) is None
    assert linker.owner(made.r_debug) is None
    assert linker.first(0) is linker.modules[0]
    memory = made.process().memory
    assert [deepbind(memory, linker, m) for m in linker.modules] == [False] * 5
    known = made.release.nodelete
    assert [nodelete(m) for m in linker.modules] == ([False] * 4 + [True] if known else [None] * 5)


@pytest.mark.parametrize("name", RELEASES)
def test_a_core_that_holds_no_program_headers(name: str) -> None:
    made = glibc.make(name)  # as qemu's own cores do: what is private was dumped, code was not
    process = made.process()
    whole = read_linker(made.process())
    bases = {each.base for each in made.objects}
    made.runs = {at: run for at, run in made.runs.items() if at not in bases}
    ld_so, brk = made.objects[2].base, 0x7F00DEAD0000
    stray = 0x555400000000  # a link_map of the middle, and what only looks like its r_debug
    made.runs[stray] = words(0, 0, 0, 0, 0x5000, stray, 0, 0, 1, stray, brk, 0, ld_so)
    code, heap = (
        Region(brk, brk + 4096, 5, 0, None, None),
        Region(stray, stray + 104, 6, 0, None, None),
    )
    regions = sorted([*process.regions(), code, heap])
    vdso = made.objects[1]
    auxv = {**process.auxv, 7: ld_so, 33: vdso.base}
    made.write(vdso, 8, words(0x10))  # its name is in memory that the core lacks
    bare = FakeProcess(crafted.spread(made.runs), auxv, made.arch, regions)
    linker = read_linker(bare)
    assert [m.kind for m in linker.modules] == [MAIN, VDSO, LINKER, DLOPENED, NEEDED]
    assert [m.path for m in linker.modules] == [
        "/bin/main", "[vdso]", "/lib/libc.so.6", "/opt/plug.so", "/opt/libdep.so",
    ]  # fmt: skip
    for module, one in zip(linker.modules, whole.modules):
        assert module.image is None
        assert module.span == one.span
        assert linker.owner((module.span or (0, 0))[0] + 0x50) is module
    # a range without its own dynamic section is none
    made.write(made.objects[3], made.release.map_start, words(0x1000))
    damaged = FakeProcess(crafted.spread(made.runs), auxv, made.arch, regions)
    assert read_linker(damaged).modules[3].span is None


def test_deepbind_is_seen_in_the_order_of_the_scopes() -> None:
    made = glibc.make("2.41-aarch64")
    plug = made.objects[3]
    own = words(plug.address + made.release.phdr + 24)
    main = words(made.objects[0].address + made.release.phdr + 24)
    made.write(plug, made.release.scope - 40, own + main)
    linker = read_linker(made.process())
    assert deepbind(made.process().memory, linker, linker.modules[3]) is True
    made.write(plug, made.release.scope, words(0xDEAD0000))
    linker = read_linker(made.process())
    assert deepbind(made.process().memory, linker, linker.modules[3]) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (None, "partial")),
        ([(24, 0), (23, 64), (2, 0)], (NOW, "full")),  # DT_BIND_NOW
        ([(30, 8), (23, 64)], (NOW, "full")),  # DF_BIND_NOW
        ([(0x6FFFFFFB, 1), (23, 64)], (NOW, "full")),  # DF_1_NOW
        ([(23, 64), (3, 0x40)], ("lazy", "partial")),  # GOT[1] is set: bytes of the headers
        ([(23, 64)], (None, "partial")),
    ],
)
def test_binding_and_relro(values: list[tuple[int, int]], expected: tuple[str, str]) -> None:
    segment = crafted.segment(crafted.PT_GNU_RELRO, 0x100, 8)
    memory, image = crafted.load(crafted.make_elf(values=values, segments=[segment]))
    assert (binding(memory, image)[0], relro(image)) == expected
    assert relro(crafted.load(crafted.make_elf(values=values))[1]) == "none"


def test_choosing_modules() -> None:
    linker = read_linker(glibc.make("2.31-x86-64").process())

    def chosen(wanted: str) -> list[str]:
        return [m.path for m in select_modules(linker, wanted)]

    assert chosen("/lib/liba.so") == ["/lib/liba.so"]
    assert chosen("liba.so") == ["/lib/liba.so"]
    assert chosen("main") == ["/bin/main"]
    assert chosen("/opt") == ["/opt/plug.so", "/opt/libdep.so"]
    with pytest.raises(Problem, match="no loaded module has 'libz'"):
        chosen("libz")


def test_damage_in_the_chain_is_told_and_the_rest_shown() -> None:
    made = glibc.make("2.36-x86-64")
    made.write(made.objects[3], 24, words(0xDEAD0000))
    linker = read_linker(made.process())
    assert [m.path for m in linker.modules] == [
        "/bin/main", "/lib/liba.so", "/lib/libc.so.6", "/opt/plug.so",
    ]  # fmt: skip
    assert any("0xdead0000" in problem for problem in linker.problems)


def test_a_chain_of_which_nothing_can_be_read_is_a_problem() -> None:
    made = glibc.make("2.36-x86-64")
    body = made.runs[made.r_debug]
    made.runs[made.r_debug] = body[:8] + words(0xDEAD0000) + body[16:]
    with pytest.raises(Problem, match="0xdead0000"):
        read_linker(made.process())


def test_an_image_that_is_not_there_is_a_problem_of_its_module_alone() -> None:
    made = glibc.make("2.36-x86-64")
    del made.runs[made.objects[1].base]
    linker = read_linker(made.process())
    assert [m.image is None for m in linker.modules] == [False, True, False, False, False]
    assert linker.modules[1].problem
    assert linker.layout is not None


def test_musl_has_no_private_fields() -> None:
    made = glibc.make("2.36-x86-64")
    for each in made.objects:
        made.write(each, 40, words(each.base) + bytes(600))
    linker = read_linker(made.process())
    assert linker.layout is None
    assert all(m.private is None for m in linker.modules)
    assert len(linker.modules) == 5


# ------------------------------------------------------------------------- finding r_debug


def test_before_the_first_instruction_of_ld_so() -> None:
    made = glibc.make("2.36-x86-64")
    main = made.objects[0]
    main.data = main.data.replace(words(21, made.r_debug), words(21, 0))
    made.runs[main.base] = main.data.ljust(4096, b"\0")
    with pytest.raises(Problem, match="has not run yet"):
        read_linker(made.process())


@pytest.mark.parametrize(
    "content",
    [
        words(0, 1, 2, 0, 0),  # version 0: ld.so has not filled it
        words(17, 1, 2, 0, 0),
        words(1, 0, 2, 0, 0),
        words(1, 1, 2, 3, 0),
    ],
)
def test_where_dt_debug_leads_to_no_r_debug(content: bytes) -> None:
    made = glibc.make("2.36-x86-64")
    made.runs[made.r_debug] = content
    with pytest.raises(Problem, match="there is no r_debug: damaged"):
        read_linker(made.process())
    made.runs[made.r_debug] = b""
    with pytest.raises(Problem, match="in no memory that can be read"):
        read_linker(made.process())


def test_auxiliary_vectors_that_do_not_help() -> None:
    made = glibc.make("2.36-x86-64")
    process = made.process()
    for auxv, text in (
        ({}, "names no program headers"),
        ({3: 0, 5: 9}, "names no program headers"),
        ({3: 0x1000, 5: 60_000}, "60000 program headers"),
        ({3: 0x1000, 5: 9}, "does not hold the program's headers"),
    ):
        with pytest.raises(Problem, match=text):
            read_main_image(FakeProcess(process.memory, auxv))


def test_a_static_pie_has_no_pt_phdr() -> None:
    data = bytearray(crafted.make_elf(values=[(21, 0x7000)]))
    struct.pack_into("<I", data, 64, 0x6474E551)  # PT_GNU_STACK in place of PT_PHDR
    memory = crafted.spread({0x500000: bytes(data)})
    image = read_main_image(FakeProcess(memory, {3: 0x500040, 5: 3}))
    assert (image.bias, image.value(21)) == (0x500000, 0x7000)


def static_program(noise: bytes = b"") -> FakeProcess:
    """One whose r_debug nothing names: its link_map's l_real is itself, r_map points to it."""
    heap, data, code = 0x600000, 0x700000, 0x401000
    link_map = words(0, 0, 0, 0, 0, heap + 0x80) + bytes(64)
    r_debug = words(1, heap + 0x80, code + 5, 0, 0)
    false = words(1, heap + 0x80, 0x999999, 0, 0)  # r_brk is in no code
    runs = {
        heap: (bytes(0x80) + link_map).ljust(4096, b"\0"),
        data: (noise.ljust(64, b"\0") + false + bytes(24) + r_debug).ljust(4096, b"\0"),
        code: bytes(4096),
    }
    regions = [
        Region(start, start + 4096, 5 if start == code else 6, 0, None, None)
        for start in sorted(runs)
    ]
    return FakeProcess(crafted.spread(runs), {}, areas=regions)


def test_a_stripped_static_program_is_searched() -> None:
    assert find_r_debug(static_program(), None) == 0x700000 + 64 + 40 + 24
    loner = words(*[0x700000 + 8 * n - 40 for n in range(8)])  # words that look like l_real
    assert find_r_debug(static_program(loner), None) == 0x700000 + 64 + 40 + 24


def test_a_static_program_without_libraries() -> None:
    with pytest.raises(Problem, match="static and has loaded no library"):
        find_r_debug(FakeProcess(crafted.spread({0x1000: bytes(4096)})), None)


def test_a_symbol_of_the_main_file_leads_there_too() -> None:
    made = glibc.make("2.36-x86-64", [Object("", type=0), Object("/lib/a.so", "a.so")])
    process = made.process()
    process.symbols = {"_r_debug": made.r_debug}
    assert find_r_debug(process, None) == made.r_debug


def test_arm64_too() -> None:
    process = glibc.make("2.41-aarch64").process()
    assert process.arch is AARCH64
    assert len(read_linker(process).modules) == 5
