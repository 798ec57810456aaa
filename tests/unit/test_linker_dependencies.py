"""DT_NEEDED, relocation dependencies, roots and versions of made-up processes."""

from __future__ import annotations

import pytest

from gdbext.linker.loaded.modules import Linker, Module, read_linker
from gdbext.linker.needs.dependencies import Dependencies, read_dependencies
from gdbext.linker.needs.reldeps import read_relocation_needs
from gdbext.linker.needs.versions import NOT_LOADED, UNVERSIONED, read_module_versions
from tests.unit import crafted, glibc
from tests.unit.crafted import words
from tests.unit.glibc import RELEASES, Glibc, Object
from tests.unit.test_elf_requirements import DT_VERNEED, DT_VERNEEDNUM, STRINGS, needs


def state(made: Glibc) -> tuple[Linker, Dependencies]:
    linker = read_linker(made.process())
    return linker, read_dependencies(linker.modules[0].memory, linker)


def plugins(**changes: object) -> list[Object]:
    """main -> libc, liba; plug (opened) -> libdep -> libc; two more plugins."""
    found = [
        *glibc.program(),
        Object("/opt/left.so", "left.so", (), 2, True, 1),
        Object("/opt/right.so", "right.so", (), 2, True, 1),
    ]
    for name, value in changes.items():
        number, _, field = name[1:].partition("_")
        setattr(found[int(number)], field, value)
    return found


@pytest.mark.parametrize("name", RELEASES)
def test_every_release(name: str) -> None:
    made = glibc.make(name, plugins(_5_reldeps=(6,), _6_reldeps=(3, 5)))
    linker, dependencies = state(made)
    at = linker.modules
    assert [
        [(n.name, n.target) for n in dependencies.needs[m.map.address] or ()] for m in at[:5]
    ] == [
        [("libc.so.6", at[2]), ("liba.so", at[1])],
        [("libc.so.6", at[2])],
        [],
        [("libdep.so", at[4])],
        [("libc.so.6", at[2])],
    ]
    assert [dependencies.bound(m) for m in at[2:]] == [(), (), (), (at[6],), (at[3], at[5])]
    assert [(r.module, r.why) for r in dependencies.roots] == [
        (at[0], "program"),
        (at[3], "dlopened"),
        (at[5], "dlopened"),
        (at[6], "dlopened"),
    ]
    (cycle,) = dependencies.cycles
    assert (cycle.kind, cycle.modules) == ("relocation", (at[5], at[6]))
    assert (cycle.way, cycle.edges) == ((at[5], at[6], at[5]), ("relocation", "relocation"))
    ways = [(w.root.module, [m for _, m in w.steps]) for w in dependencies.ways_to(at[4])]
    assert ways == [
        (at[3], [at[4]]),
        (at[5], [at[6], at[3], at[4]]),
        (at[6], [at[3], at[4]]),
    ]


@pytest.mark.parametrize("name", RELEASES)
def test_no_relocation_dependency_at_all(name: str) -> None:
    linker, dependencies = state(glibc.make(name, plugins()))
    assert dependencies.relocations == {m.map.address: () for m in linker.modules}
    assert dependencies.cycles == ()


def test_the_word_in_between_is_no_relocation_dependency() -> None:
    made = glibc.make("deb12-x86-64", plugins())
    for each in made.objects[1:]:
        made.write(each, made.release.scope + 64, words(made.objects[0].address))
    linker, dependencies = state(made)
    assert dependencies.relocations == {m.map.address: () for m in linker.modules}


def test_damaged_relocation_lists() -> None:
    made = glibc.make("2.36-x86-64", plugins(_5_reldeps=(6,), _6_reldeps=(5,)))
    left = made.objects[5]
    at = int.from_bytes(made.runs[left.address][1008:1016], "little")
    for bad in (words(11, *range(11)), words(1, 0x1234), words(1 << 31)):
        made.runs[at] = bad
        linker, dependencies = state(made)
        assert left.address not in (dependencies.relocations or {})
        assert dependencies.bound(linker.modules[6]) == (linker.modules[5],)
    made.write(made.objects[5], 1008, words(0x10))
    made.write(made.objects[6], 1008, words(0x10))
    linker = read_linker(made.process())
    assert read_relocation_needs(linker.modules[0].memory, linker) is None


def test_what_keeps_a_module_that_is_not_open() -> None:
    changes = {"_3_nodelete": True, "_3_opened": 0, "_5_opened": 0, "_6_reldeps": (5,)}
    made = glibc.make("2.36-x86-64", plugins(**changes))
    for number in (3, 5):  # it was opened once: it has no loader
        made.write(made.objects[number], made.release.phdr + 56, words(0))
    linker, dependencies = state(made)
    whys = {r.module.path: r.why for r in dependencies.roots}
    assert whys == {
        "/bin/main": "program",
        "/opt/plug.so": "nodelete",
        "/opt/left.so": "relocation",
        "/opt/right.so": "dlopened",
    }
    made.write(made.objects[6], 1008, words(0))
    linker, dependencies = state(made)
    assert {r.module.path: r.why for r in dependencies.roots}["/opt/left.so"] == "unknown"
    assert linker.modules[5] not in dependencies.bound(linker.modules[6])


def test_a_ring_and_a_name_that_nothing_has() -> None:
    changes = {"_5_needed": ("right.so", "none.so"), "_6_needed": ("left.so",)}
    linker, dependencies = state(glibc.make("2.41-x86-64", plugins(**changes)))
    (cycle,) = dependencies.cycles
    assert (cycle.kind, cycle.edges) == ("needed", ("needed", "needed"))
    left = linker.modules[5]
    assert [n.target for n in dependencies.needs[left.map.address] or ()] == [
        linker.modules[6],
        None,
    ]


def test_of_two_with_one_name_the_one_in_l_initfini() -> None:
    first = Object("/a/libx.so", "libx.so", (), 2, opened=1)
    second = Object("/b/libx.so", "libx.so", (), 2, opened=1)
    user = Object("/b/user.so", "user.so", ("libx.so",), 2, opened=1)
    made = glibc.make("2.36-x86-64", [*glibc.program()[:3], first, second, user])
    linker, dependencies = state(made)
    assert [n.target for n in dependencies.needs[user.address] or ()] == [linker.modules[3]]
    at = int.from_bytes(made.runs[user.address][1000:1008], "little")
    made.runs[at] = words(user.address, second.address, 0)
    linker, dependencies = state(made)
    assert [n.target for n in dependencies.needs[user.address] or ()] == [linker.modules[4]]


def test_versions() -> None:
    library = Object("/x/libx.so", "libx.so", (), 2)
    user = Object("/x/user.so", "", ("libx.so", "liby.so"), 2, opened=1)
    plain = Object("/x/plain.so", "", (), 2, opened=1)
    user.values = ((DT_VERNEEDNUM, 2),)
    made = glibc.make("2.36-x86-64", [*glibc.program()[:3], library, user, plain])
    # the string table of an object is its names; here it is the one of the records
    user_data = crafted.make_elf(
        {crafted.DT_STRTAB: STRINGS, DT_VERNEED: needs()}, [(DT_VERNEEDNUM, 2), (1, 1), (1, 17)]
    )
    made.runs[user.base] = user_data.ljust(len(made.runs[user.base]), b"\0")
    memory, image = crafted.load(user_data, user.base)
    del memory
    made.write(user, 16, words(image.dynamic_address or 0))
    linker, dependencies = state(made)
    versions = read_module_versions(linker.modules[0].memory, linker, dependencies)
    required = versions[user.address].required
    assert required is not None
    assert [(r.requirement.version, r.requirement.weak, r.state) for r in required] == [
        ("X_1", False, UNVERSIONED),
        ("X_2", True, UNVERSIONED),
        ("Y_1", False, NOT_LOADED),
    ]
    assert versions[user.address].wrong == required
    assert (versions[plain.address].required, versions[plain.address].defined) == ((), ())


def test_musl_has_names_alone() -> None:
    module: Module
    made = glibc.make("2.36-x86-64")
    for each in made.objects:
        made.write(each, 40, words(0))  # no l_real: no layout
    linker, dependencies = state(made)
    assert linker.layout is None
    assert dependencies.relocations is None
    for module in linker.modules:
        assert all(need.target for need in dependencies.needs[module.map.address] or ())
