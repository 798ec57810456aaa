"""Damaged symbol, hash and version tables: a lookup gives an answer or a Problem, soon."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from gdbext.elf.arch import X86_64
from gdbext.elf.problem import Problem
from gdbext.findings.conflicts.conflicts import find_conflicts
from gdbext.findings.conflicts.families import find_families
from gdbext.linker.loaded.modules import Module
from gdbext.linker.lookup.lookup import Lookup
from gdbext.linker.lookup.matching import COPY, DATA, PLT, Wanted
from gdbext.linker.lookup.references import names_with, referring
from tests.unit.crafted import rela
from tests.unit.lookups import MAPS, UNIQUE, WEAK, Lib, Sym, World, reference, world
from tests.unit.test_damage import WORDS, Damage, bounded

SYMBOLS = [
    Sym("twin", version="V1", hidden=True), Sym("twin", version="V2"), reference("other", "V1"),
    Sym("weak", bind=WEAK), Sym("unique", bind=UNIQUE), Sym("omp_get_max_threads"),
]  # fmt: skip
RELOCATIONS = b"".join(rela(0x40 + 8 * n, kind, n) for n, kind in enumerate((7, 6, 1, 5, 16), 1))


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Damage behind the program headers: in the tables and in the dynamic section."""
    edits = draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12))
    absurd = draw(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([2, 4, 8]), WORDS),
                           max_size=6))  # fmt: skip
    first = 64 + 56 * 3

    def apply(data: bytes) -> bytes:
        body = bytearray(data)
        room = len(body) - first - 8
        for where, byte in edits:
            body[first + int(where * room)] = byte
        for where, size, word in absurd:
            at = first + int(where * room) // size * size
            body[at : at + size] = word.to_bytes(8, "little")[:size]
        return bytes(body)

    return apply


def ask(lookup: Lookup, module: Module) -> None:
    """Every kind of question about one module; each may end in a Problem of its own."""
    for number in range(8):
        for type_class in (DATA, PLT, COPY):
            try:
                lookup.resolve(module, number, type_class)
            except Problem:
                continue
    for name in (b"twin", b"other", b"", b"\xff"):
        for version in (None, "V1"):
            try:
                for one in lookup.candidates(lookup.scopes.of(module), Wanted(name, version)):
                    assert one.module in lookup.linker.modules
            except Problem:
                continue


def examine(made: World) -> None:
    lookup = made.lookup
    for module in lookup.linker.modules:
        ask(lookup, module)
        tables = lookup.tables.of(module)
        if tables is not None:
            try:
                assert len(list(names_with(tables.symbols, b"t"))) <= tables.symbols.count
            except Problem:
                continue
    referring(lookup.linker, lookup.tables, b"twin")
    with suppress(Problem):
        find_conflicts(made.modules["one"].memory, X86_64, lookup)
    find_families(lookup)


@given(st.lists(damages(), min_size=2, max_size=2), st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_damaged_tables(damage: list[Damage], sysv: bool, musl: bool, bulk: bool) -> None:
    with bounded():
        try:
            libs = [
                Lib(name, SYMBOLS, versioned=True, sysv=sysv, relocations=RELOCATIONS, damage=d)
                for name, d in zip(("one", "two"), damage)
            ]
            made = world(*libs, musl=musl, base_at_once=None,
                         unique={(0, b"unique"): (MAPS, 0x1234)})  # fmt: skip
        except Problem:
            return  # its headers or its dynamic section are damaged
        if bulk:
            made.lookup.definers.prepare([b"twin", *(b"x%d" % n for n in range(30))])
        examine(made)


def test_sound_tables_pass_the_same_way() -> None:
    libs = [Lib(n, SYMBOLS, versioned=True, relocations=RELOCATIONS) for n in ("one", "two")]
    made = world(*libs)
    examine(made)
    assert made.resolve("two", 1) == "one:1"
    assert made.resolve("two", 2) == "one:2"
