"""Conflicts and runtime families among made-up modules."""

from __future__ import annotations

from typing import Any

import pytest

from gdbext.elf.arch import X86_64
from gdbext.findings.conflicts.conflicts import (
    Conflict,
    Conflicts,
    count_duplicates,
    find_conflicts,
)
from gdbext.findings.conflicts.families import FAMILIES, find_families, several_have
from tests.unit.crafted import rela
from tests.unit.lookups import (
    HIDDEN,
    LOCAL_BINDING,
    OBJECT,
    PROTECTED,
    UND,
    UNIQUE,
    WEAK,
    Lib,
    Sym,
    World,
    reference,
    world,
)

JUMP_SLOT, GLOB_DAT, ABS64, COPY, RELATIVE = 7, 6, 1, 5, 8


def calls(number: int, kind: int = JUMP_SLOT, times: int = 1) -> bytes:
    """Relocations against symbol `number`."""
    return b"".join(rela(0x40 + 8 * n, kind, number) for n in range(times))


def owner(name: str, *symbols: Sym, relocations: bytes = b"", **options: Any) -> Lib:  # noqa: ANN401
    """A library that defines `symbols` (twin by default) and refers to the first of them."""
    return Lib(name, symbols or (Sym("twin"),), relocations=relocations or calls(1), **options)


MAIN = Lib("main", [reference("twin")], relocations=calls(1))


def found(made: World) -> Conflicts:
    return find_conflicts(made.modules["main"].memory, X86_64, made.lookup)


def rows(made: World) -> list[tuple[str, str, str, int, str | None]]:
    return [(c.symbol, c.loser.name, c.winner.name, c.bindings, c.kind) for c in found(made).found]


def test_a_definition_that_lost() -> None:
    made = world(MAIN, Lib("one", [Sym("twin")]), owner("two", relocations=calls(1, times=3)))
    assert rows(made) == [("twin", "two", "one", 3, None)]
    (conflict,) = found(made).found
    assert conflict.reason == "it comes first in the global scope: place 2, before 3"
    assert found(made).duplicates == 1


def test_a_duplicate_that_each_uses_itself_is_none() -> None:
    scopes = {"one": [["main", "one"]], "two": [["main", "two"]], "*": [["main"]]}
    made = world(MAIN, owner("one"), owner("two"), scopes=scopes)
    assert rows(made) == []
    assert found(made).duplicates == 1


def test_a_loser_without_a_reference_of_its_own_is_none() -> None:
    made = world(MAIN, Lib("one", [Sym("twin")]), Lib("two", [Sym("twin")]))
    assert rows(made) == []
    assert found(made).duplicates == 1


def test_a_reference_without_a_definition_is_none() -> None:
    made = world(MAIN, Lib("one", [Sym("twin")]), Lib("two", [reference("twin")]))
    assert rows(made) == []
    assert found(made).duplicates == 0


@pytest.mark.parametrize("own", [
    Sym("twin", visibility=PROTECTED), Sym("twin", visibility=HIDDEN),
    Sym("twin", bind=LOCAL_BINDING),
])  # fmt: skip
def test_what_is_bound_locally_is_none(own: Sym) -> None:
    assert rows(world(MAIN, Lib("one", [Sym("twin")]), owner("two", own))) == []


@pytest.mark.parametrize("kind", [COPY, RELATIVE, 0, 99])
def test_relocations_that_bind_nothing_do_not_count(kind: int) -> None:
    made = world(MAIN, Lib("one", [Sym("twin")]), owner("two", relocations=calls(1, kind)))
    assert rows(made) == []


def test_calls_and_data_may_have_different_winners() -> None:
    main = Lib("main", [Sym("twin", 0x500, shndx=UND)])
    both = calls(1) + calls(1, GLOB_DAT, 2)
    made = world(main, Lib("one", [Sym("twin")]), owner("two", relocations=both))
    assert sorted(rows(made)) == [
        ("twin", "two", "main", 2, "canonical_plt"),
        ("twin", "two", "one", 1, None),
    ]


# -------------------------------------------------------------------------- the benign kinds


def test_copy() -> None:
    main = Lib("main", [Sym("twin", type=OBJECT)], relocations=calls(1, COPY))
    made = world(main, owner("one", Sym("twin", type=OBJECT), relocations=calls(1, GLOB_DAT)))
    assert rows(made) == [("twin", "one", "main", 1, "copy")]
    plain = Lib("main", [Sym("twin", type=OBJECT)])
    made = world(plain, owner("one", Sym("twin", type=OBJECT), relocations=calls(1, GLOB_DAT)))
    assert rows(made) == [("twin", "one", "main", 1, None)]


def test_every_name_of_a_copied_variable_is_a_copy() -> None:
    """ld makes one COPY relocation for a variable, whatever names it has in the library."""
    pair = [Sym("twin", type=OBJECT), Sym("alias", bind=WEAK, type=OBJECT)]
    both = calls(1, GLOB_DAT) + calls(2, GLOB_DAT)
    main = Lib("main", [*pair, Sym("own", 0x80, type=OBJECT)], relocations=calls(1, COPY))
    lib = owner("one", *pair, Sym("own", type=OBJECT), relocations=both + calls(3, GLOB_DAT))
    assert [(name, kind) for name, *_, kind in rows(world(main, lib))] == [
        ("twin", "copy"), ("alias", "copy"), ("own", None),
    ]  # fmt: skip


ALLOCATOR = [Sym(name) for name in ("malloc", "free", "calloc", "realloc")]
OPERATORS = [Sym("_Znwm"), Sym("_ZdlPv")]


@pytest.mark.parametrize(
    ("first", "winner", "loser", "kind"),
    [
        (Sym("malloc"), ALLOCATOR, {"soname": "libc.so.6"}, "allocator"),
        (Sym("memalign"), [Sym("memalign"), *ALLOCATOR], {"soname": "libc.so.6"}, "allocator"),
        (Sym("malloc"), ALLOCATOR[:-1], {"soname": "libc.so.6"}, None),  # a part of one
        (Sym("malloc"), [*ALLOCATOR[:-1], reference("realloc")], {"soname": "libc.so.6"}, None),
        (Sym("malloc"), ALLOCATOR, {"soname": "libother.so"}, None),  # nobody may replace that
        (Sym("qsort"), [Sym("qsort"), *ALLOCATOR], {"soname": "libc.so.6"}, None),
        (Sym("_Znwm"), OPERATORS, {"and": "__cxa_throw"}, "allocator"),
        (Sym("_ZdaPv"), [Sym("_ZdaPv"), *OPERATORS], {"and": "__cxa_throw"}, "allocator"),
        (Sym("_Znwm"), OPERATORS[:1], {"and": "__cxa_throw"}, None),
        (Sym("_Znwm"), OPERATORS, {}, None),
    ],
)
def test_allocator(first: Sym, winner: list[Sym], loser: dict[str, str], kind: str | None) -> None:
    more = [Sym(loser["and"])] if "and" in loser else []
    lib = owner("two", first, *more, soname=loser.get("soname", ""))
    made = world(MAIN, Lib("one", winner, sysv=True), lib)
    assert rows(made) == [(first.name, "two", "one", 1, kind)]


def test_linker() -> None:
    """Told by DT_SONAME and AT_BASE, not by the path."""
    libc = Lib("c", [Sym("malloc")], soname="libc.so.6")
    ld = owner("ld.so", Sym("malloc"), kind="linker")
    assert rows(world(MAIN, libc, ld)) == [("malloc", "ld.so", "c", 1, "linker")]
    other = Lib("c", [Sym("malloc")], soname="libjemalloc.so.2")
    assert rows(world(MAIN, other, ld)) == [("malloc", "ld.so", "c", 1, None)]


def test_unique() -> None:
    one, two = Lib("one", [Sym("twin", bind=UNIQUE)]), owner("two", Sym("twin", bind=UNIQUE))
    assert rows(world(MAIN, one, two)) == [("twin", "two", "one", 1, "unique")]


@pytest.mark.parametrize(
    ("name", "loser", "winner", "kind"),
    [
        ("_ZN1A1fEv", WEAK, WEAK, "inline"),
        ("_ZN1A1fEv", 1, WEAK, None),  # a strong definition lost
        ("_ZN1A1fEv", WEAK, 1, None),
        ("f", WEAK, WEAK, None),  # no C++ name
        ("_ZTI1A", 1, 1, "typeinfo"),
        ("_ZTS1A", 1, WEAK, "typeinfo"),
        ("_ZTV1A", 1, 1, None),  # a vtable decides which code runs
    ],
)
def test_cxx(name: str, loser: int, winner: int, kind: str | None) -> None:
    made = world(MAIN, Lib("one", [Sym(name, bind=winner)]), owner("two", Sym(name, bind=loser)))
    assert rows(made) == [(name, "two", "one", 1, kind)]


# ------------------------------------------------------------------------- what is not known


def test_a_module_that_cannot_be_read_makes_others_unknown() -> None:
    made = world(MAIN, Lib("one", []), owner("two"), unknown=["one"])
    told = found(made)
    assert told.found == []
    assert [(module.path, reason) for module, reason in told.unknown] == [
        ("/lib/one", "its headers are not there"),
        ("/lib/two", "the symbols of /lib/one cannot be read: its headers are not there"),
    ]


def test_conflicts_of_other_modules_are_still_found() -> None:
    scopes = {"two": [["one", "two"]], "three": [["bad", "three"]], "*": [["main"]]}
    made = world(MAIN, Lib("one", [Sym("twin")]), owner("two"), Lib("bad", []), owner("three"),
                 scopes=scopes, unknown=["bad"])  # fmt: skip
    assert [(c.loser.name, c.winner.name) for c in found(made).found] == [("two", "one")]
    assert [m.path for m, _ in found(made).unknown] == ["/lib/bad", "/lib/three"]


def test_one_reference_that_is_unknown_does_not_hide_the_others() -> None:
    """`twin` wins before the unknown module is reached, `other` is decided behind it."""
    two = owner("two", Sym("twin"), Sym("other"), relocations=calls(1) + rela(0x40, JUMP_SLOT, 2))
    made = world(MAIN, Lib("one", [Sym("twin")]), Lib("bad", []), two, unknown=["bad"])
    assert rows(made) == [("twin", "two", "one", 1, None)]
    assert ("/lib/two", "the symbols of /lib/bad cannot be read: its headers are not there") in [
        (module.path, reason) for module, reason in found(made).unknown
    ]


def test_without_the_programs_image_nothing_is_guessed() -> None:
    made = world(Lib("main", []), Lib("one", [Sym("twin")]), owner("two"), unknown=["main"])
    assert rows(made) == []
    assert len(found(made).unknown) == 2


# ------------------------------------------------------------------------------- duplicates


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        (Sym("a"), Sym("a"), 1),
        (Sym("a"), Sym("b"), 0),
        (Sym("a"), Sym("a", bind=WEAK), 0),
        (Sym("a"), Sym("a", visibility=HIDDEN), 0),
        (Sym("a"), Sym("a", visibility=PROTECTED), 0),
        (Sym("a"), Sym("a", bind=UNIQUE), 0),
        (Sym("a"), Sym("a", 0, shndx=UND), 0),
        (Sym("a", version="V1"), Sym("a", version="V1"), 1),
        (Sym("a", version="V1"), Sym("a", version="V2"), 0),
    ],
)
def test_duplicates(first: Sym, second: Sym, count: int) -> None:
    versioned = first.version is not None
    libs = [Lib(n, [s], versioned=versioned) for n, s in (("one", first), ("two", second))]
    assert count_duplicates(world(MAIN, *libs).lookup) == count


def test_three_definers_are_one_duplicate_and_namespaces_are_apart() -> None:
    libs = [Lib(n, [Sym("a"), Sym("b")]) for n in ("one", "two", "three")]
    assert count_duplicates(world(MAIN, *libs).lookup) == 2
    apart = [Lib("one", [Sym("a")]), Lib("two", [Sym("a")], namespace=1)]
    assert count_duplicates(world(MAIN, *apart).lookup) == 0


# --------------------------------------------------------------------------------- families


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_told_by_any_of_its_exports(family: str) -> None:
    for export in FAMILIES[family]:
        one, two = (Lib(name, [Sym("x"), Sym(export)]) for name in ("one", "two"))
        lookup = world(MAIN, one, two, Lib("user", [reference(export)])).lookup
        (told,) = find_families(lookup)
        copies, user = lookup.linker.modules[1:3], lookup.linker.modules[3]
        assert several_have(lookup, copies)
        assert not several_have(lookup, [copies[0], user])
        assert (told.name, told.namespace) == (family, 0)
        assert [(c.module.name, c.exports) for c in told.copies] == [
            ("one", (export,)), ("two", (export,)),
        ]  # fmt: skip
        assert find_families(world(MAIN, one).lookup) == []


def test_copies_in_two_namespaces_are_apart() -> None:
    one = Lib("one", [Sym("omp_get_max_threads")])
    two = Lib("two", [Sym("omp_get_max_threads")], namespace=1)
    assert find_families(world(MAIN, one, two).lookup) == []


def test_the_linkers_own_malloc_is_no_copy() -> None:
    ld = Lib("ld.so", [Sym("malloc")], kind="linker")
    assert find_families(world(MAIN, ld, Lib("libc", [Sym("malloc")])).lookup) == []
    assert len(find_families(world(MAIN, Lib("libc", [Sym("malloc")]),
                                   Lib("jemalloc", [Sym("malloc")])).lookup)) == 1  # fmt: skip


def test_every_conflict_says_what_brought_the_winner_in() -> None:
    made = world(Lib("main", [Sym("twin")]), owner("one"))
    (conflict,) = found(made).found
    assert isinstance(conflict, Conflict)
    assert conflict.brought == "it is the program"
    made = world(MAIN, Lib("pre", [Sym("twin")], kind="preloaded"), owner("one"))
    assert found(made).found[0].brought == "LD_PRELOAD or /etc/ld.so.preload"
    made = world(MAIN, Lib("open", [Sym("twin")], kind="dlopened"), owner("one"))
    assert found(made).found[0].brought == "dlopen"
