"""The scopes of a made-up process of glibc's, and the rules that its ld.so goes by."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbext.elf.problem import Problem
from gdbext.linker.loaded.linkmaps import STATES
from gdbext.linker.loaded.modules import Linker, read_linker
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.lookup.rules import glibc_release, read_rules
from gdbext.linker.lookup.scopes import GLOBAL, LOCAL, SYMBOLIC, Scopes, busy
from tests.unit import crafted, glibc
from tests.unit.crafted import FakeProcess, words
from tests.unit.glibc import Glibc
from tests.unit.lookups import Lib, Sym, world

EVERY = sorted(glibc.RELEASES)


def scopes_of(made: Glibc) -> tuple[Scopes, Linker]:
    process = made.process()
    linker = read_linker(process)
    return Scopes(process.memory, linker), linker


@pytest.mark.parametrize("release", EVERY)
def test_the_global_scope_and_the_modules_own(release: str) -> None:
    made = glibc.make(release)
    scopes, linker = scopes_of(made)
    for place, module in enumerate(linker.modules):
        rows = [(s.kind, s.owner, [m.path for m in s.modules]) for s in scopes.of(module)]
        everything = [m.path for m in linker.modules[:3]]
        own = (LOCAL, module, [module.path]) if place else (GLOBAL, module, everything)
        assert rows == [(GLOBAL, linker.modules[0], everything), own]


def test_a_list_is_read_once_and_shared() -> None:
    scopes, linker = scopes_of(glibc.make("2.41-x86-64"))
    firsts = {id(scopes.of(module)[0]) for module in linker.modules}
    assert len(firsts) == 1
    assert scopes.of(linker.modules[1]) is scopes.of(linker.modules[1])


def test_a_symbolic_list_and_one_that_is_nobodys() -> None:
    made = glibc.make("2.36-x86-64")
    plug, release = made.objects[3], made.release
    own = made._room(4096)
    made.runs[own] = words(plug.address)
    made.write(plug, release.phdr + 40, words(own, 1))  # l_symbolic_searchlist
    other = made._room(4096)
    made.runs[other] = words(other + 16, 2, made.objects[1].address, plug.address)
    lists = [plug.address + release.phdr + 40, made.objects[0].address + release.phdr + 24, other]
    made.write(plug, release.scope - 40, words(*lists, 0))
    scopes, linker = scopes_of(made)
    found = scopes.of(linker.modules[3])
    assert [s.kind for s in found] == [SYMBOLIC, GLOBAL, "other"]
    assert [m.path for m in found[0].modules] == ["/opt/plug.so"]
    assert [m.path for m in found[2].modules] == ["/lib/liba.so", "/opt/plug.so"]


def test_positions_are_those_of_the_first_mention() -> None:
    made = world(Lib("one", []), Lib("two", []), scopes={"*": [["one", "two", "one"]]})
    (scope,) = made.lookup.scopes.of(made.modules["one"])
    assert list(scope.positions.values()) in ([0, 1], [1, 0])
    assert scope.positions[made.modules["one"].map.address] == 0


def test_a_scope_that_lists_a_stranger_is_a_problem() -> None:
    made = glibc.make("2.36-x86-64")
    plug, release = made.objects[3], made.release
    other = made._room(4096)
    made.runs[other] = words(other + 16, 1, 0xDEAD0000)
    made.write(plug, release.scope - 32, words(other))
    scopes, linker = scopes_of(made)
    with pytest.raises(Problem, match="lists 0xdead0000, which is in no chain"):
        scopes.of(linker.modules[3])
    assert scopes.of(linker.modules[1])


def test_a_scope_that_cannot_be_read_is_a_problem() -> None:
    made = glibc.make("2.36-x86-64")
    made.write(made.objects[3], made.release.scope - 32, words(0xDEAD0000))
    scopes, linker = scopes_of(made)
    with pytest.raises(Problem, match="the scope at 0xdead0000 cannot be read"):
        scopes.of(linker.modules[3])
    made.write(made.objects[3], made.release.scope, words(0xBEEF0000))
    scopes, linker = scopes_of(made)
    with pytest.raises(Problem, match=r"the scopes of /opt/plug\.so cannot be read"):
        scopes.of(linker.modules[3])


@given(st.lists(st.tuples(st.integers(-5, 3), st.sampled_from(
    [0, 1, 0xDEAD0000, 1 << 63, (1 << 64) - 1, 0x555500001000])), max_size=4))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_damaged_scope_fields(damage: list[tuple[int, int]]) -> None:
    made = glibc.make("2.36-x86-64")
    for word, value in damage:
        made.write(made.objects[3], made.release.scope + 8 * word, words(value))
    scopes, linker = scopes_of(made)
    for module in linker.modules:
        try:
            found = scopes.of(module)
        except Problem:
            continue
        assert all(m in linker.modules for s in found for m in s.modules)


def test_at_work() -> None:
    made = glibc.make("2.36-x86-64")
    assert busy(scopes_of(made)[1], 0, STATES) is None
    body = bytearray(made.runs[made.r_debug])
    body[24:32] = words(1)
    made.runs[made.r_debug] = bytes(body)
    assert "adding" in (busy(scopes_of(made)[1], 0, STATES) or "")
    assert busy(scopes_of(made)[1], 1, STATES) is None
    body[24:32] = words(2)
    made.runs[made.r_debug] = bytes(body)
    assert "deleting" in (busy(scopes_of(made)[1], 0, STATES) or "")


# --------------------------------------------------------------------------------- the rules


def libc(*versions: str) -> Lib:
    """A libc that defines these versions."""
    symbols = [Sym(f"f{n}", version=v) for n, v in enumerate(versions)]
    return Lib("c", symbols, versioned=True, soname="libc.so.6")


@pytest.mark.parametrize(
    ("versions", "release"),
    [
        (("GLIBC_2.2.5", "GLIBC_2.36", "GLIBC_2.9"), 36),
        (("GLIBC_2.17", "GLIBC_PRIVATE"), 17),
        (("OTHER_2.40",), None),
        ((), None),
    ],
)
def test_the_release_is_the_newest_version_of_libc(
    versions: tuple[str, ...], release: int | None
) -> None:
    made = world(Lib("main", []), libc(*versions))
    assert glibc_release(made.lookup.linker, made.lookup.tables) == release
    other = world(Lib("main", []), Lib("c", [Sym("f", version="GLIBC_2.99")], versioned=True))
    assert glibc_release(other.lookup.linker, other.lookup.tables) is None


def stack(*variables: bytes) -> tuple[dict[int, bytes], dict[int, int]]:
    """The initial stack with these variables: its memory and its auxiliary vector."""
    top = 0x7FFF00001000
    texts = b"".join(v + b"\0" for v in variables)
    at = top - 0x200
    body = bytearray(0x1000)
    body[0xE00 : 0xE00 + len(texts)] = texts
    pointers, place = [], at
    for variable in variables:
        pointers.append(place)
        place += len(variable) + 1
    random = top - 0x20
    vector = words(1, 0, *pointers, 0, 6, 4096, 25, random, 0, 0)
    body[0x100 : 0x100 + len(vector)] = vector
    return {top - 0x1000: bytes(body)}, {6: 4096, 25: random}


@pytest.mark.parametrize(
    ("variables", "secure", "weak"),
    [
        ((b"A=1",), 0, False),
        ((b"A=1", b"LD_DYNAMIC_WEAK=1"), 0, True),
        ((b"LD_DYNAMIC_WEAK=",), 0, True),  # its presence counts (elf/rtld.c)
        ((b"LD_DYNAMIC_WEAK=1",), 1, False),  # AT_SECURE
    ],
)
def test_ld_dynamic_weak(variables: tuple[bytes, ...], secure: int, weak: bool) -> None:
    made = glibc.make("2.36-x86-64")
    runs, auxv = stack(*variables)
    plain = made.process()
    memory = crafted.spread({**made.runs, **runs})
    process = FakeProcess(memory, {**plain.auxv, **auxv, 23: secure}, areas=plain.areas)
    tables = TableSet(memory, lambda _: None, lambda _: None)
    rules = read_rules(process, read_linker(process), tables)
    assert rules.dynamic_weak == weak
    assert not rules.musl
    assert rules.base_at_once is None, "this libc has no versions"


def test_musl_goes_by_its_own_rules() -> None:
    made = glibc.make("2.36-x86-64")
    for each in made.objects:
        made.write(each, 40, words(each.base) + bytes(600))
    process = made.process()
    tables = TableSet(process.memory, lambda _: None, lambda _: None)
    rules = read_rules(process, read_linker(process), tables)
    assert rules.musl
    assert rules.unique(0, b"x") is None
