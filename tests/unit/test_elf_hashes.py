"""Hash tables: hand-made ones, real ones against pyelftools, and damaged ones."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.hash import ELFHashTable, GNUHashTable
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbext.elf.file import ElfFile, open_elf
from gdbext.elf.hashes import GnuHash, SysvHash, gnu_hash, probe, read_hash_table, sysv_hash
from gdbext.elf.image import DT_GNU_HASH, DT_HASH, DT_STRTAB, DT_SYMTAB, Image
from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory
from gdbext.elf.symbols import read_dynamic_symbols
from tests import programs
from tests.unit import crafted, samples
from tests.unit.hashtables import (
    gnu_order,
    gnu_table,
    reference_gnu_hash,
    reference_sysv_hash,
    sysv_table,
)

NAMES = (b"one", b"two", b"three", b"four", b"five", b"six", b"seven", b"\xff\xfe")


# ---------------------------------------------------------------------------- the functions


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"", 0x1505), (b"printf", 0x156B2BB8), (b"exit", 0x7C967E3F), (b"syscall", 0xBAC212A0)],
)
def test_gnu_hash_of_known_names(name: bytes, value: int) -> None:
    assert gnu_hash(name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"", 0), (b"printf", 0x077905A6), (b"exit", 0x0006CF04), (b"syscall", 0x0B09985C)],
)
def test_sysv_hash_of_known_names(name: bytes, value: int) -> None:
    assert sysv_hash(name) == value


@given(st.binary(max_size=40) | st.binary(min_size=500, max_size=1100))
def test_hashes_are_those_of_the_plain_definitions(name: bytes) -> None:
    assert gnu_hash(name) == reference_gnu_hash(name)
    assert sysv_hash(name) == reference_sysv_hash(name)


# ----------------------------------------------------------------------------- made by hand


def image_with(tag: int, table: bytes, names: Sequence[bytes]) -> tuple[Memory, Image]:
    """An image whose symbols are `names`, from number 1 on."""
    strings, symbols = b"\0", bytes(24)
    for name in names:
        symbols += crafted.symbol(len(strings), 0x40)
        strings += name + b"\0"
    parts = {tag: table, DT_SYMTAB: symbols, DT_STRTAB: strings}
    return crafted.load(crafted.make_elf(parts, [(10, len(strings))]))


def either(name: bytes) -> set[int]:
    """The hash of a name as it can be in a table: the lowest bit ends a chain."""
    return {gnu_hash(name), gnu_hash(name) ^ 1}


SHAPES = [(1, 1, 5), (3, 2, 6), (7, 1, 0), (4, 4, 63)]  # buckets, bloom words, shift


@pytest.mark.parametrize(("nbuckets", "bloom_size", "shift"), SHAPES)
def test_a_gnu_table_leads_to_each_of_its_names(nbuckets: int, bloom_size: int, shift: int) -> None:
    names = gnu_order(NAMES, nbuckets)
    table = gnu_table(names, nbuckets, 1, bloom_size, shift)
    memory, image = image_with(DT_GNU_HASH, table, names)
    hashes = read_hash_table(memory, image)
    assert isinstance(hashes, GnuHash)
    assert (hashes.first, len(hashes.buckets), len(hashes.chains)) == (1, nbuckets, len(names))
    for index, name in enumerate(names, 1):
        value = gnu_hash(name)
        assert hashes.leads_to(value, index)
        assert [(h | 1, i) for h, i in hashes.among(either(name))] == [(value | 1, index)]
        assert probe(memory, image, name) == [index]
        others = [i for i in range(1, len(names) + 1) if i != index]
        # what stands behind the bucket's start is met on the way, what stands before is not
        reached = [i for i in others if hashes.leads_to(value, i)]
        bucket = [i for i, n in enumerate(names, 1) if gnu_hash(n) % nbuckets == value % nbuckets]
        assert set(reached) == set(bucket) - {index}
    assert probe(memory, image, b"nobody") == []
    assert hashes.among(either(b"nobody")) == []
    assert hashes.among(set()) == []


def test_two_versions_of_a_name_are_met_in_the_order_of_the_table() -> None:
    names = gnu_order([b"twin", b"other", b"twin"], 2)
    memory, image = image_with(DT_GNU_HASH, gnu_table(names, 2), names)
    where = [index for index, name in enumerate(names, 1) if name == b"twin"]
    assert probe(memory, image, b"twin") == where
    hashes = read_hash_table(memory, image)
    assert isinstance(hashes, GnuHash)
    assert [index for _, index in hashes.among(either(b"twin"))] == where


def test_a_name_that_no_bucket_leads_to_is_invisible() -> None:
    names = gnu_order(NAMES, 3)
    table = bytearray(gnu_table(names, 3, 1, 1, 6))
    gone = gnu_hash(names[0]) % 3
    struct.pack_into("<I", table, 16 + 8 + 4 * gone, 0)
    memory, image = image_with(DT_GNU_HASH, bytes(table), names)
    hashes = read_hash_table(memory, image)
    assert isinstance(hashes, GnuHash)
    assert hashes.among(either(names[0])), "its hash is still in the table"
    assert not hashes.leads_to(gnu_hash(names[0]), 1)
    assert probe(memory, image, names[0]) == []


def test_a_name_that_the_bloom_filter_excludes_is_invisible() -> None:
    names = gnu_order(NAMES, 3)
    table = bytearray(gnu_table(names, 3, 1, 1, 6))
    struct.pack_into("<Q", table, 16, 0)
    memory, image = image_with(DT_GNU_HASH, bytes(table), names)
    hashes = read_hash_table(memory, image)
    assert isinstance(hashes, GnuHash)
    for index, name in enumerate(names, 1):
        assert not hashes.leads_to(gnu_hash(name), index)
        assert probe(memory, image, name) == []


@pytest.mark.parametrize("nbuckets", [1, 2, 5])
def test_a_sysv_table_leads_to_each_of_its_names(nbuckets: int) -> None:
    names = [*NAMES, b"one"]
    memory, image = image_with(DT_HASH, sysv_table(names, nbuckets), names)
    hashes = read_hash_table(memory, image)
    assert isinstance(hashes, SysvHash)
    assert sorted(hashes.indices()) == list(range(1, len(names) + 1))
    for index, name in enumerate(names, 1):
        met = list(hashes.bucket(name))
        assert index in met
        assert probe(memory, image, name) == met
        assert met == sorted(met, reverse=True)  # as sysv_table() chains them


@pytest.mark.parametrize(
    ("tag", "table"),
    [
        (DT_GNU_HASH, struct.pack("<IIIIQ", 0, 1, 1, 6, 0)),  # no bucket: glibc skips it
        (DT_GNU_HASH, struct.pack("<IIIIQI", 1, 1, 1, 6, 0, 0)),  # GNU ld: nothing hashed
        (DT_HASH, struct.pack("<II", 0, 0)),
        (DT_HASH, struct.pack("<III", 1, 0, 0)),
    ],
)
def test_an_empty_table_has_nothing(tag: int, table: bytes) -> None:
    memory, image = image_with(tag, table, [b"one"])
    hashes = read_hash_table(memory, image)
    assert probe(memory, image, b"one") == []
    if isinstance(hashes, GnuHash):
        assert hashes.among(either(b"one")) == []
    else:
        assert isinstance(hashes, SysvHash)
        assert list(hashes.indices()) == []


def test_without_a_table_there_is_none() -> None:
    memory, image = crafted.load(crafted.make_elf({DT_STRTAB: b"\0"}))
    assert read_hash_table(memory, image) is None
    assert probe(memory, image, b"one") == []


def test_the_gnu_table_goes_first() -> None:
    """As in glibc's _dl_setup_hash: a DT_HASH beside it is not looked at."""
    names = gnu_order([b"one"], 1)
    parts = {DT_GNU_HASH: gnu_table(names, 1, 1, 1), DT_HASH: sysv_table([], 1)}
    memory, image = crafted.load(crafted.make_elf(parts))
    assert isinstance(read_hash_table(memory, image), GnuHash)
    assert probe(memory, image, b"one") == [1]


# --------------------------------------------------------------------------------- damaged


@pytest.mark.parametrize(
    ("tag", "table"),
    [
        (DT_GNU_HASH, struct.pack("<IIII", 1 << 31, 1, 1, 6)),
        (DT_GNU_HASH, struct.pack("<IIII", 1, 1, 1 << 31, 6)),
        (DT_GNU_HASH, struct.pack("<IIIIQI", 1, 1, 1, 6, 0, 1 << 31)),
        (DT_HASH, struct.pack("<II", 1 << 31, 1)),
        (DT_HASH, struct.pack("<II", 1, 0xFFFFFFFF)),
    ],
)
def test_a_table_past_its_segment_is_a_problem(tag: int, table: bytes) -> None:
    memory, image = crafted.load(crafted.make_elf({tag: table}))
    with pytest.raises(Problem, match=r"damaged|cannot be read"):
        read_hash_table(memory, image)


def test_a_chain_without_an_end_is_a_problem() -> None:
    table = struct.pack("<IIIIQI", 1, 1, 1, 6, (1 << 64) - 1, 1) + bytes(5000 * 4)
    end = len(crafted.make_elf(values=[(DT_GNU_HASH, 0)]))
    data = crafted.make_elf(values=[(DT_GNU_HASH, end)], tail=len(table))
    memory, image = crafted.load(data + table)
    with pytest.raises(Problem, match="its last chain has no end"):
        read_hash_table(memory, image)
    with pytest.raises(Problem, match="a chain has no end"):
        probe(memory, image, b"one")


def test_a_loop_in_a_sysv_chain_ends() -> None:
    table = struct.pack("<IIIIII", 1, 4, 1, 0, 2, 1) + struct.pack("<I", 3)
    memory, image = image_with(DT_HASH, table, [b"a", b"b", b"c"])
    assert set(probe(memory, image, b"one")) <= {1, 2}
    assert len(probe(memory, image, b"one")) <= 4
    hashes = read_hash_table(memory, image)
    assert isinstance(hashes, SysvHash)
    assert len(list(hashes.indices())) <= 4


@given(st.sampled_from([DT_GNU_HASH, DT_HASH]), st.binary(min_size=16, max_size=120))
@settings(max_examples=500, deadline=None)
def test_random_bytes_as_a_table(tag: int, table: bytes) -> None:
    memory, image = crafted.load(crafted.make_elf({tag: table}))
    for read in (lambda: read_hash_table(memory, image), lambda: probe(memory, image, b"one")):
        try:
            found = read()
        except Problem:
            continue
        if isinstance(found, list):
            assert len(found) <= 1 << 16
        elif isinstance(found, SysvHash):
            assert len(list(found.indices())) <= len(found.buckets) * len(found.chains)
        else:
            assert isinstance(found, GnuHash)
            for index in range(len(found.chains)):
                if found.buckets:
                    found.leads_to(gnu_hash(b"one"), index)
            found.among(set(found.chains))


# ------------------------------------------------------------------------------ real files


@cache
def real(path: Path) -> tuple[ElfFile, dict[bytes, list[int]]]:
    """A file and its dynamic symbols by name."""
    file = open_elf(str(path))
    table = read_dynamic_symbols(file.memory, file.image)
    names: dict[bytes, list[int]] = {}
    for index in range(1, table.count):
        names.setdefault(table.raw_name(index), []).append(index)
    return file, names


def theirs(path: Path) -> dict[str, int | None]:
    """What pyelftools' hash table says to each name of .dynsym: the symbol's value or None."""
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        symbols: Any = elf.get_section_by_name(".dynsym")
        gnu: Any = elf.get_section_by_name(".gnu.hash")
        sysv: Any = elf.get_section_by_name(".hash")
        table: Any = (
            GNUHashTable(elf, gnu["sh_offset"], symbols)
            if gnu
            else ELFHashTable(elf, sysv["sh_offset"], sysv["sh_size"], symbols)
        )
        found: dict[str, int | None] = {}
        for symbol in symbols.iter_symbols():
            if symbol.name and symbol.name not in found:
                one = table.get_symbol(symbol.name)
                found[symbol.name] = one["st_value"] if one is not None else None
        return found


def files() -> list[Path]:
    libraries = [samples.LIBRARIES / n for n in ("libc.so.6", "libstdc++.so.6", "libz.so.1")]
    arm64 = programs.ARM64_ROOT / "lib" / "libc.so.6"
    return [*libraries, arm64, *samples.built()[::9], *samples.system()[::9]]


@pytest.mark.usefixtures("built")
def test_real_tables_lead_where_pyelftools_says() -> None:
    compared = 0
    for path in files():
        file, names = real(path)
        hashes = read_hash_table(file.memory, file.image)
        if hashes is None:
            continue
        table = read_dynamic_symbols(file.memory, file.image)
        wanted = theirs(samples.judge(path))
        by_hash: dict[int, list[int]] = {}
        if isinstance(hashes, GnuHash):
            for value, index in hashes.among(set().union(*map(either, names))):
                by_hash.setdefault(value | 1, []).append(index)
        for name, indices in names.items():
            met = [i for i in probe(file.memory, file.image, name) if table.is_named(i, name)]
            text = name.decode("utf-8", "replace")
            if name and text.encode() == name:  # pyelftools looks up no other bytes
                first = table.entry(met[0]).value if met else None
                assert first == wanted[text], (path, name)
            if isinstance(hashes, GnuHash):
                led = [
                    i
                    for i in by_hash.get(gnu_hash(name) | 1, ())
                    if table.is_named(i, name) and hashes.leads_to(gnu_hash(name), i)
                ]
                assert led == met, (path, name)
            assert set(met) <= set(indices)
            compared += 1
    assert compared > 10_000
