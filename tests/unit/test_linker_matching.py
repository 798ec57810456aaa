"""Each rule by which a dynamic linker takes or refuses one symbol."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from gdbext.elf.symbols import Symbol
from gdbext.linker.lookup import matching
from gdbext.linker.lookup.matching import (
    BASE,
    CANONICAL,
    COPY,
    DATA,
    MATCH,
    NO_VALUE,
    PLT,
    SOLE,
    UNDEFINED,
    Wanted,
    glibc_local,
    glibc_match,
    musl_match,
)

HIDDEN = 0x8000
UND, HERE, ABS, COMMON = 0, 7, 0xFFF1, 0xFFF2
FUNC, OBJECT, TLS, NOTYPE, IFUNC = 2, 1, 6, 0, 10


def sym(**changes: Any) -> Symbol:  # noqa: ANN401
    """A global function with a value, unless told otherwise."""
    given = {"type": FUNC, "bind": 1, "visibility": 0, "shndx": HERE, "value": 0x40, **changes}
    info = given["bind"] << 4 | given["type"]
    return Symbol(1, info, given["visibility"], given["shndx"], given["value"], 8)


def wanted(version: str | None = None, **changes: Any) -> Wanted:  # noqa: ANN401
    return Wanted(b"name", version, **changes)


# ------------------------------------------------------------------------------------- glibc


def test_a_definition_matches() -> None:
    for kind in (NOTYPE, OBJECT, FUNC, 5, TLS, IFUNC):
        assert glibc_match(sym(type=kind), None, None, wanted()) == MATCH


@pytest.mark.parametrize("kind", [3, 4, 7, 11, 15])  # section, file, unknown
def test_what_is_neither_code_nor_data_does_not(kind: int) -> None:
    assert f"type {kind}" in glibc_match(sym(type=kind), None, None, wanted())
    assert musl_match(sym(type=kind), None, None, wanted())


def test_zero_is_a_value_of_tls_and_absolute_symbols_alone() -> None:
    assert glibc_match(sym(value=0), None, None, wanted()) == NO_VALUE
    assert glibc_match(sym(value=0, shndx=UND), None, None, wanted()) == UNDEFINED
    assert glibc_match(sym(value=0, shndx=ABS), None, None, wanted()) == MATCH
    assert glibc_match(sym(value=0, type=TLS), None, None, wanted()) == MATCH


def test_a_canonical_plt_address_is_for_data_alone() -> None:
    canonical = sym(shndx=UND, value=0x401040)
    assert glibc_match(canonical, None, None, wanted(type_class=DATA)) == MATCH
    assert glibc_match(canonical, None, None, wanted(type_class=COPY)) == MATCH
    assert glibc_match(canonical, None, None, wanted(type_class=PLT)) == CANONICAL
    assert musl_match(canonical, None, None, wanted(type_class=DATA)) == MATCH
    assert musl_match(canonical, None, None, wanted(type_class=PLT)) == CANONICAL


def test_an_undefined_tls_symbol_is_no_definition() -> None:
    there = sym(shndx=UND, value=0, type=TLS)
    assert glibc_match(there, None, None, wanted(type_class=PLT)) == UNDEFINED
    assert musl_match(there, None, None, wanted(type_class=DATA)) == UNDEFINED


@pytest.mark.parametrize(
    ("versym", "version", "asked", "result"),
    [
        (2, "V1", "V1", MATCH),
        (2 | HIDDEN, "V1", "V1", MATCH),  # the exact version, hidden or not
        (3, "V2", "V1", "it has the version V2"),
        (3 | HIDDEN, "V2", "V1", "it has the version V2"),
        (1, None, "V1", BASE),
        (0, None, "V1", BASE),
        (1 | HIDDEN, None, "V1", "it has no version, and may not stand in for one"),
        (0, None, None, MATCH),  # local and global
        (1, None, None, MATCH),
        (2, "V1", None, MATCH),  # the first version
        (2 | HIDDEN, "V1", None, MATCH),  # which wins over a newer default one
        (3, "V2", None, SOLE),
        (3 | HIDDEN, "V2", None, matching.HIDDEN_VERSION),
    ],
)
def test_versions(versym: int, version: str | None, asked: str | None, result: str) -> None:
    assert glibc_match(sym(), versym, version, wanted(asked)) == result


def test_a_definer_without_versions_satisfies_any() -> None:
    for asked in (None, "V1"):
        assert glibc_match(sym(), None, None, wanted(asked)) == MATCH
    assert glibc_match(sym(), None, None, wanted("V1", exact=True)) == MATCH


def test_an_exact_reference_takes_no_base_definition() -> None:
    assert glibc_match(sym(), 1, None, wanted("V1", exact=True)) not in (MATCH, BASE, SOLE)
    assert glibc_match(sym(), 2, "V1", wanted("V1", exact=True)) == MATCH


def test_dlsym_takes_the_default_version_and_not_the_first() -> None:
    ask = wanted(by_dlsym=True)
    assert glibc_match(sym(), 1, None, ask) == MATCH
    assert glibc_match(sym(), 2 | HIDDEN, "V1", ask) == matching.HIDDEN_VERSION
    assert glibc_match(sym(), 2, "V1", ask) == SOLE
    assert glibc_match(sym(), 3, "V2", ask) == SOLE


@pytest.mark.parametrize(
    ("changes", "local"),
    [
        ({}, False),
        ({"bind": 2}, False),
        ({"bind": 10}, False),
        ({"visibility": 3}, False),  # protected: for others as any
        ({"bind": 0}, True),
        ({"bind": 13}, True),
        ({"visibility": 1}, True),
        ({"visibility": 2}, True),
    ],
)
def test_what_is_not_for_others(changes: dict[str, int], local: bool) -> None:
    assert bool(glibc_local(sym(**changes))) == local


# -------------------------------------------------------------------------------------- musl


def test_musl_knows_of_hidden_versions_alone() -> None:
    assert musl_match(sym(), 2, "V1", wanted()) == MATCH
    assert musl_match(sym(), 2, "V1", wanted("V2")) == MATCH
    assert musl_match(sym(), 2 | HIDDEN, "V1", wanted("V1")) == "its version is hidden"


@pytest.mark.parametrize(("bind", "result"), [(0, False), (1, True), (2, True), (10, True)])
def test_musl_skips_local_symbols(bind: int, result: bool) -> None:
    assert (musl_match(sym(bind=bind), None, None, wanted()) == MATCH) == result


def test_musl_has_no_ifuncs_and_no_absolute_zero() -> None:
    assert "type 10" in musl_match(sym(type=IFUNC), None, None, wanted())
    assert musl_match(sym(value=0, shndx=ABS), None, None, wanted()) == NO_VALUE
    assert musl_match(sym(value=0, type=TLS), None, None, wanted()) == MATCH


# -------------------------------------------------------------------- against the C, restated


def check_match(symbol: Symbol, versym: int, version: str | None, ask: Wanted) -> bool | str:
    """elf/dl-lookup.c, check_match of glibc 2.36, in its own order; "num" where it counts."""
    kind = symbol.info & 15
    if (symbol.value == 0 and symbol.shndx != ABS and kind != TLS) or (
        bool(ask.type_class & PLT) and symbol.shndx == UND
    ):
        return False
    if not (1 << NOTYPE | 1 << OBJECT | 1 << FUNC | 1 << 5 | 1 << TLS | 1 << IFUNC) >> kind & 1:
        return False
    if ask.version is not None:
        if version == ask.version:
            return True
        return not (ask.exact or version is not None or versym & HIDDEN)
    if (versym & 0x7FFF) >= (2 if ask.by_dlsym else 3):
        return "num" if not versym & HIDDEN else False
    return True


def test_every_combination_is_what_check_match_says() -> None:
    count = 0
    for kind, shndx, value, number, hidden, asked, exact, dlsym, type_class in itertools.product(
        (NOTYPE, FUNC, 3, TLS, IFUNC), (UND, HERE, ABS, COMMON), (0, 0x40), (0, 1, 2, 3),
        (0, HIDDEN), (None, "V2", "V3"), (False, True), (False, True), (DATA, PLT, COPY),
    ):  # fmt: skip
        symbol = sym(type=kind, shndx=shndx, value=value)
        version = {2: "V2", 3: "V3"}.get(number)
        ask = wanted(asked, exact=exact, by_dlsym=dlsym, type_class=type_class)
        said = glibc_match(symbol, number | hidden, version, ask)
        theirs = check_match(symbol, number | hidden, version, ask)
        ours = "num" if said == SOLE else said in (MATCH, BASE)
        assert ours == theirs, (symbol, number, hidden, ask)
        count += 1
    assert count == 5 * 4 * 2 * 4 * 2 * 3 * 2 * 2 * 3
