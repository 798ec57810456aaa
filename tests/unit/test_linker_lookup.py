"""ld.so's lookup among made-up modules: each rule where two of them give different winners."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbext.elf.problem import Problem
from gdbext.linker.lookup.choice import BEHIND
from gdbext.linker.lookup.lookup import AGAIN, COPIED, LATER
from gdbext.linker.lookup.matching import COPY, DATA, PLT, Wanted
from tests.unit.lookups import (
    ABS,
    HIDDEN,
    LOCAL_BINDING,
    MAPS,
    PROTECTED,
    TLS,
    UND,
    UNIQUE,
    WEAK,
    Lib,
    Sym,
    World,
    reference,
    world,
)

USER = Lib("user", [reference("twin")])


def outcomes(made: World, version: str | None = None, type_class: int = DATA) -> list[str]:
    """NAME:NUMBER and why it is skipped, of every candidate that `user` meets for twin."""
    lookup = made.lookup
    scopes = lookup.scopes.of(made.modules["user"])
    found = lookup.candidates(scopes, Wanted(b"twin", version, type_class=type_class))
    return [f"{one.module.name}:{one.number} {one.skipped or 'wins'}" for one in found]


# ----------------------------------------------------------------------- the order of a scope


def test_the_first_match_wins() -> None:
    made = world(USER, Lib("one", [Sym("other"), Sym("twin")]), Lib("two", [Sym("twin")]))
    assert made.resolve("user", 1) == "one:2"
    assert outcomes(made) == ["user:1 it only refers to the symbol", "one:2 wins", f"two:1 {LATER}"]


def test_a_weak_definition_is_as_good() -> None:
    made = world(USER, Lib("one", [Sym("twin", bind=WEAK)]), Lib("two", [Sym("twin")]))
    assert made.resolve("user", 1) == "one:1"


def test_with_ld_dynamic_weak_it_gives_way() -> None:
    weak = Lib("one", [Sym("twin", bind=WEAK)])
    made = world(USER, weak, Lib("two", [Sym("twin")]), dynamic_weak=True)
    assert made.resolve("user", 1) == "two:1"
    made = world(USER, weak, Lib("two", [Sym("twin", bind=WEAK)]), dynamic_weak=True)
    assert made.resolve("user", 1) == "one:1", "the first of nothing but weak ones"


def test_with_ld_dynamic_weak_a_later_scope_can_win() -> None:
    weak = Lib("one", [Sym("twin", bind=WEAK)])
    scopes = {"*": [["user", "one"], ["two"]]}
    assert world(USER, weak, Lib("two", [Sym("twin")]), scopes=scopes).resolve("user", 1) == "one:1"
    made = world(USER, weak, Lib("two", [Sym("twin")]), scopes=scopes, dynamic_weak=True)
    assert made.resolve("user", 1) == "two:1"


def test_scopes_are_searched_in_their_order() -> None:
    one, two = Lib("one", [Sym("twin")]), Lib("two", [Sym("twin")])
    made = world(USER, one, two, scopes={"*": [["user"], ["two"], ["one"]]})
    assert made.resolve("user", 1) == "two:1"


def test_a_module_that_is_met_again_is_said_to_be() -> None:
    one = Lib("one", [Sym("twin")])
    made = world(USER, one, scopes={"*": [["one"], ["user", "one"]]})
    assert outcomes(made)[0] == "one:1 wins"
    assert outcomes(made)[-1] == f"one:1 {AGAIN}"


def test_nobody_defines_it() -> None:
    made = world(USER, Lib("one", [Sym("other")]))
    assert made.resolve("user", 1) is None


def test_a_module_without_the_name_in_its_scopes_does_not_count() -> None:
    made = world(USER, Lib("one", [Sym("twin")]), scopes={"*": [["user"]]})
    assert made.resolve("user", 1) is None


@pytest.mark.parametrize("sysv", [False, True])
def test_each_hash_table_is_looked_into(sysv: bool) -> None:
    filler = [Sym(f"filler{n}") for n in range(20)]
    one = Lib("one", [*filler[:7], Sym("twin", 0x88), *filler[7:]], sysv=sysv)
    made = world(USER, one)
    assert made.resolve("user", 1) == "one:8"
    found = made.lookup.resolve(made.modules["user"], 1, PLT)
    assert found is not None
    assert found.address == made.modules["one"].bias + 0x88
    # in bulk, as for all slots of a process
    made = world(USER, one)
    made.lookup.definers.prepare([b"twin", *(f"filler{n}".encode() for n in range(20))])
    assert made.resolve("user", 1) == "one:8"


# ----------------------------------------------------------------- what is passed over


@pytest.mark.parametrize(
    "passed",
    [
        Sym("twin", visibility=HIDDEN),
        Sym("twin", bind=LOCAL_BINDING),
        Sym("twin", 0),
        Sym("twin", type=3),
        Sym("twin", 0, shndx=UND),
    ],
)
def test_what_is_no_definition_for_others_is_passed_over(passed: Sym) -> None:
    made = world(USER, Lib("one", [passed]), Lib("two", [Sym("twin")]))
    assert made.resolve("user", 1) == "two:1"
    assert not outcomes(made)[1].endswith("wins")


def test_a_hidden_symbol_ends_the_search_in_its_module() -> None:
    """do_lookup_x goes to the next module behind a local or hidden match."""
    one = Lib("one", [Sym("twin", visibility=HIDDEN), Sym("twin")])
    made = world(USER, one, Lib("two", [Sym("twin")]))
    assert made.resolve("user", 1) == "two:1"
    assert outcomes(made)[1:] == [
        "one:1 its visibility is hidden", f"one:2 {BEHIND}", "two:1 wins"
    ]  # fmt: skip


def test_of_two_symbols_of_one_module_one_wins() -> None:
    made = world(USER, Lib("one", [Sym("twin"), Sym("twin")]))
    assert outcomes(made)[1:] == ["one:1 wins", f"one:2 {BEHIND}"]


def test_a_module_that_is_being_unloaded_is_passed_over() -> None:
    made = world(USER, Lib("one", [Sym("twin")], removed=True), Lib("two", [Sym("twin")]))
    assert made.resolve("user", 1) == "two:1"
    assert outcomes(made)[1] == "one:1 it is being unloaded"


def test_a_copy_relocation_passes_the_program_over() -> None:
    main = Lib("user", [reference("twin"), Sym("twin")])
    made = world(main, Lib("one", [Sym("twin")]))
    assert made.resolve("user", 1, DATA) == "user:2"
    assert made.resolve("user", 1, COPY) == "one:1"
    assert outcomes(made, type_class=COPY)[-1] == "one:1 wins"
    assert outcomes(made, type_class=COPY)[1] == f"user:2 {COPIED}"


def test_an_absolute_symbol_does_not_move() -> None:
    made = world(USER, Lib("one", [Sym("twin", 0x1234, shndx=ABS)]))
    found = made.lookup.resolve(made.modules["user"], 1, DATA)
    assert found is not None
    assert found.address == 0x1234
    made = world(USER, Lib("one", [Sym("twin", 0x1234, shndx=ABS)]), musl=True)
    found = made.lookup.resolve(made.modules["user"], 1, DATA)
    assert found is not None
    assert found.address == made.modules["one"].bias + 0x1234


def test_a_canonical_plt_address_is_for_data_alone() -> None:
    main = Lib("main", [Sym("twin", 0x500, shndx=UND)])
    made = world(main, Lib("one", [Sym("twin")]), USER)
    assert made.resolve("user", 1, DATA) == "main:1"
    assert made.resolve("user", 1, PLT) == "one:1"


# -------------------------------------------------------------------------- versions


def versioned(name: str, *symbols: Sym) -> Lib:
    return Lib(name, symbols, versioned=True)


def asking(version: str | None) -> Lib:
    return versioned("user", reference("twin", version))


OLD, NEW = Sym("twin", 0x40, version="V1", hidden=True), Sym("twin", 0x48, version="V2")


@pytest.mark.parametrize(
    ("version", "winner"), [("V1", "one:1"), ("V2", "one:2"), ("V3", None), (None, "one:1")]
)
def test_a_version_chooses_among_symbols(version: str | None, winner: str | None) -> None:
    assert world(asking(version), versioned("one", OLD, NEW)).resolve("user", 1) == winner


def test_a_definer_with_another_version_is_passed_over() -> None:
    other = versioned("one", Sym("twin", version="OTHER"))
    assert world(asking("V1"), other, versioned("two", OLD)).resolve("user", 1) == "two:1"


def test_a_definer_without_versions_wins_if_it_comes_first() -> None:
    made = world(asking("V1"), Lib("one", [Sym("twin")]), versioned("two", OLD))
    assert made.resolve("user", 1) == "one:1"


BASE_FIRST = versioned("one", Sym("twin", 0x40), Sym("twin", 0x48, version="V1"))


@pytest.mark.parametrize(("at_once", "winner"), [(True, "one:1"), (False, "one:2")])
def test_a_base_definition_before_the_exact_one(at_once: bool, winner: str) -> None:
    made = world(asking("V1"), BASE_FIRST, base_at_once=at_once)
    assert made.resolve("user", 1) == winner


def test_where_the_release_decides_and_is_not_known_there_is_no_answer() -> None:
    made = world(asking("V1"), BASE_FIRST, base_at_once=None)
    with pytest.raises(Problem, match="depends on the version of glibc"):
        made.resolve("user", 1)
    alone = world(asking("V1"), versioned("one", Sym("twin", 0x40)), base_at_once=None)
    assert alone.resolve("user", 1) == "one:1", "both releases take the only one"


def test_without_a_version_several_new_ones_match_none() -> None:
    rows = [Sym("twin", version=f"V{n}") for n in (2, 3)]
    made = world(asking(None), versioned("one", Sym("x", version="V1"), *rows))
    assert made.resolve("user", 1) is None, "neither of two defaults is the sole one"
    made = world(asking(None), versioned("one", Sym("x", version="V1"), rows[0]))
    assert made.resolve("user", 1) == "one:2"


# ------------------------------------------------------------------ protected and local


def own(visibility: int, bind: int = 1) -> Lib:
    return Lib("user", [Sym("twin", visibility=visibility, bind=bind)])


def test_a_protected_definition_stays_its_modules_own() -> None:
    first = Lib("one", [Sym("twin")])
    made = world(first, own(PROTECTED))
    assert made.resolve("user", 1, PLT) == "user:1"
    assert made.resolve("user", 1, DATA) == "user:1"
    found = made.lookup.resolve(made.modules["user"], 1, PLT)
    assert found is not None
    assert found.scope is None


def test_a_copy_of_protected_data_wins_before_2_36() -> None:
    main = Lib("main", [Sym("twin")])
    made = world(main, own(PROTECTED), copied_protected=True)
    assert made.resolve("user", 1, DATA) == "main:1"
    assert made.resolve("user", 1, PLT) == "user:1"


def test_a_canonical_plt_address_wins_over_a_protected_function() -> None:
    """The end of _dl_lookup_symbol_x: the second search finds the module itself."""
    main = Lib("main", [Sym("twin", 0x500, shndx=UND)])
    made = world(main, own(PROTECTED))
    assert made.resolve("user", 1, DATA) == "main:1"
    assert made.resolve("user", 1, PLT) == "user:1"


def test_hidden_and_local_symbols_are_not_looked_up() -> None:
    first = Lib("one", [Sym("twin")])
    assert world(first, own(HIDDEN)).resolve("user", 1) == "user:1"
    assert world(first, own(0, LOCAL_BINDING)).resolve("user", 1) == "user:1"


# ------------------------------------------------------------------------------ unique


def test_a_unique_symbol_is_the_one_that_was_looked_up_first() -> None:
    one, two = (Lib(name, [Sym("twin", bind=UNIQUE)]) for name in ("one", "two"))
    scopes = {"user": [["user", "two"]], "*": [["one"]]}
    made = world(USER, one, two, scopes=scopes)
    assert made.resolve("user", 1) == "two:1", "nobody has looked it up"
    image = made.modules["one"].image
    assert image is not None
    entry = (image.pointer(6) or 0) + 24
    known = {(0, b"twin"): (MAPS + 0x1000, entry)}
    made = world(USER, one, two, scopes=scopes, unique=known)
    assert made.resolve("user", 1) == "one:1"
    assert made.resolve("user", 1, COPY) == "two:1", "a COPY takes the definition it finds"
    made = world(USER, one, two, scopes=scopes, unique={(1, b"twin"): (MAPS + 0x1000, entry)})
    assert made.resolve("user", 1) == "two:1", "that is another namespace's"
    plain = Lib("two", [Sym("twin")])
    made = world(USER, one, plain, scopes=scopes, unique=known)
    assert made.resolve("user", 1) == "two:1", "what is found is not unique"


def test_a_table_of_unique_symbols_that_names_nobody_is_a_problem() -> None:
    one = Lib("one", [Sym("twin", bind=UNIQUE)])
    made = world(USER, one, unique={(0, b"twin"): (0xDEAD0000, 0)})
    with pytest.raises(Problem, match="in no chain"):
        made.resolve("user", 1)
    made = world(USER, one, unique={(0, b"twin"): (MAPS + 0x1000, 0x1234)})
    with pytest.raises(Problem, match="no symbol"):
        made.resolve("user", 1)


# -------------------------------------------------------------------------------- musl


def test_musl_knows_neither_versions_nor_visibility_of_the_referrer() -> None:
    made = world(asking("V1"), versioned("one", Sym("twin", version="V2")), musl=True)
    assert made.resolve("user", 1) == "one:1"
    made = world(Lib("one", [Sym("twin")]), own(PROTECTED), musl=True)
    assert made.resolve("user", 1) == "one:1"
    made = world(USER, Lib("one", [Sym("twin", visibility=HIDDEN)]), musl=True)
    assert made.resolve("user", 1) == "one:1"
    made = world(USER, *(Lib(n, [Sym("twin", bind=UNIQUE)]) for n in ("one", "two")), musl=True)
    assert made.resolve("user", 1) == "one:1"


def test_musl_skips_undefined_tls_symbols() -> None:
    first = Lib("one", [Sym("twin", 0, shndx=UND, type=TLS)])
    made = world(USER, first, Lib("two", [Sym("twin", 0, type=TLS)]), musl=True)
    assert made.resolve("user", 1) == "two:1"


# ---------------------------------------------------------------------- never a guess


def test_an_unknown_module_before_the_winner_is_a_problem() -> None:
    libs = (USER, Lib("unknown", []), Lib("two", [Sym("twin")]))
    made = world(*libs, unknown=["unknown"])
    with pytest.raises(Problem, match="symbols of /lib/unknown cannot be read"):
        made.resolve("user", 1)
    scopes = {"*": [["user", "two", "unknown"]]}
    assert world(*libs, scopes=scopes, unknown=["unknown"]).resolve("user", 1) == "two:1"


def test_an_unknown_module_is_a_problem_where_nobody_defines_it() -> None:
    made = world(USER, Lib("unknown", []), unknown=["unknown"])
    with pytest.raises(Problem, match="cannot be read"):
        made.resolve("user", 1)


def test_an_unknown_module_in_an_earlier_scope_is_a_problem() -> None:
    libs = (USER, Lib("unknown", []), Lib("two", [Sym("twin")]))
    made = world(*libs, scopes={"*": [["user", "unknown"], ["two"]]}, unknown=["unknown"])
    with pytest.raises(Problem, match="cannot be read"):
        made.resolve("user", 1)


def absurd_buckets(data: bytes) -> bytes:
    """The bucket count of the first DT_GNU_HASH, made absurd."""
    head = struct.pack("<IIII", 1, 1, 2, 6)
    assert head in data
    return data.replace(head, struct.pack("<IIII", 1 << 30, 1, 2, 6))


@pytest.mark.parametrize("names", [1, 20])  # looked up one by one, and in bulk
def test_a_damaged_table_before_the_winner_is_a_problem(names: int) -> None:
    broken = Lib("broken", [Sym("twin")], damage=absurd_buckets)
    made = world(USER, broken, Lib("two", [Sym("twin")]))
    made.lookup.definers.prepare([b"twin", *(b"x%d" % n for n in range(names - 1))])
    with pytest.raises(Problem, match="symbols of /lib/broken cannot be read"):
        made.resolve("user", 1)


def test_a_reference_to_no_symbol_is_a_problem() -> None:
    with pytest.raises(Problem, match="no symbol 99"):
        world(USER).resolve("user", 99)


def test_a_module_without_tables_has_no_references() -> None:
    made = world(Lib("user", []), unknown=["user"])
    with pytest.raises(Problem, match="its headers are not there"):
        made.resolve("user", 1)


# --------------------------------------------------------------- by a slow, plain reference

SYMBOLS = st.builds(
    Sym,
    st.sampled_from(["twin", "twin", "other"]),
    st.sampled_from([0, 0x40]),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([0, 1, 2, 3, 6]),
    st.sampled_from([0, 0, 2, 3]),
    st.sampled_from([UND, 1, 1, 1, ABS]),
    size=st.just(8),
)


def plainly(libs: list[Lib], type_class: int, dynamic_weak: bool) -> str | None:
    """do_lookup_x of elf/dl-lookup.c, for libraries without versions."""
    weak = None
    for lib in libs:
        for number, one in enumerate(lib.symbols, 1):
            if one.name != "twin":
                continue
            if not one.value and one.shndx != ABS and one.type != TLS:
                continue
            if type_class == PLT and one.shndx == UND:
                continue
            if one.type not in (0, 1, 2, 5, 6, 10):
                continue
            if one.visibility == HIDDEN or one.bind == LOCAL_BINDING:
                break
            if one.bind == WEAK and dynamic_weak:
                weak = weak or f"{lib.name}:{number}"
                break
            return f"{lib.name}:{number}"
    return weak


@given(
    st.lists(st.lists(SYMBOLS, max_size=3), min_size=1, max_size=4),
    st.sampled_from([DATA, PLT]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_random_libraries(
    rows: list[list[Sym]], type_class: int, dynamic_weak: bool, bulk: bool
) -> None:
    libs = [Lib(f"lib{n}", symbols) for n, symbols in enumerate(rows)]
    made = world(USER, *libs, dynamic_weak=dynamic_weak)
    if bulk:
        made.lookup.definers.prepare([b"twin", *(b"x%d" % n for n in range(20))])
    winner = plainly([USER, *libs], type_class, dynamic_weak)
    assert made.resolve("user", 1, type_class) == winner
    if not dynamic_weak:
        said = [line for line in outcomes(made, type_class=type_class) if line.endswith("wins")]
        assert said == ([f"{winner} wins"] if winner else [])
