"""Symbol tables: readelf judges the real ones, hand-made ones have every hash table there is."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from gdbext.elf.file import open_elf
from gdbext.elf.image import DT_GNU_HASH, DT_HASH, DT_STRSZ, DT_STRTAB, DT_SYMTAB, DT_VERSYM
from gdbext.elf.problem import Problem
from gdbext.elf.symbols import (
    SHN_ABS,
    STT_TLS,
    SymbolTable,
    count_dynamic_symbols,
    read_dynamic_strings,
    read_dynamic_symbols,
    sound_strings,
    string_at,
)
from gdbext.elf.versions import read_versions
from tests.oracles import said_by
from tests.unit import crafted, samples
from tests.unit.crafted import symbol

ROW = re.compile(
    r"^ *\d+: (?P<value>[0-9a-f]{16}) +(?P<size>\w+) (?P<type>\w+|<unknown>: \d+) +"
    r"(?P<binding>\w+) +\w+ +(?:\[.*?\] +)?"
    r"(?P<index>\w+) ?(?P<name>.*?)(?: \(\d+\))?(?: +\[.*\])?$",
    re.MULTILINE,
)
Row = tuple[int, int, int, str, str]


def readelf_symbols(path: Path, option: str) -> list[Row]:
    """(value, size, section index, name, version) of each symbol that readelf lists."""
    rows = []
    for row in ROW.finditer(said_by("readelf", option, "-W", str(path))):
        index = {"UND": 0, "ABS": SHN_ABS}.get(row["index"])
        # readelf gives section symbols without a name their section's
        nameless = row["type"] == "SECTION" and row["binding"] == "LOCAL"
        name, _, version = ("" if nameless else row["name"]).partition("@")
        number = int(row["index"]) if index is None else index
        size = int(row["size"], 0)
        rows.append((int(row["value"], 16), size, number, name, version.lstrip("@")))
    return rows


def own_symbols(path: Path) -> list[Row]:
    """The same as gdbext reads it, through the dynamic section alone."""
    file = open_elf(str(path))
    table = read_dynamic_symbols(file.memory, file.image)
    versions = read_versions(file.memory, file.image, table.count, table.strings)
    rows = []
    for index in range(table.count):
        entry = table.entry(index)
        version = versions.of(index) or ""
        name = table.name(index)
        if entry.shndx == SHN_ABS and name == version:
            version = ""  # the symbol that stands for a version itself; readelf adds none
        rows.append((entry.value, entry.size, entry.shndx, name, version))
    return rows


@pytest.mark.usefixtures("built")
def test_dynamic_symbols_and_versions_are_those_of_readelf() -> None:
    symbols = 0
    for path in samples.all_files():
        theirs = readelf_symbols(samples.judge(path), "--dyn-syms")
        theirs = [(*row[:4], "" if row[3] == row[4] else row[4]) for row in theirs]
        assert own_symbols(path) == theirs, path
        symbols += len(theirs)
    assert symbols > 20_000


@pytest.mark.usefixtures("built")
def test_full_symbol_tables_are_those_of_readelf() -> None:
    tables = 0
    for path in samples.built():
        table = open_elf(str(path)).symbols()
        text = said_by("readelf", "-sW", str(path))
        start = text.find("Symbol table '.symtab'")
        assert (table is None) == (start < 0), path
        if table is None:
            continue
        values = [
            (int(row["value"], 16), int(row["size"], 0)) for row in ROW.finditer(text[start:])
        ]
        own = [table.entry(index)[4:] for index in range(table.count)]
        assert own == values, path
        tables += 1
    assert tables > 100


@pytest.mark.usefixtures("built")
def test_a_symbol_is_named_for_each_address_that_one_covers() -> None:
    for path in samples.system()[::8]:
        file = open_elf(str(path))
        table = read_dynamic_symbols(file.memory, file.image)
        entries = [table.entry(index) for index in range(table.count)]
        spans = [
            (e.value, max(e.size, 1))
            for e in entries
            if e.shndx not in (0, SHN_ABS) and e.value and e.info & 15 in (0, 1, 2, 10)
        ]
        for value, size in spans[::7]:
            for address in (value, value + size - 1, value + size):
                covered = any(start <= address < start + length for start, length in spans)
                found = table.at(address)
                assert (found is not None) == covered, (path, hex(address))
                if found is not None:
                    entry = entries[found[0]]
                    assert entry.value + found[1] == address
                    assert found[1] < max(entry.size, 1)


def gnu_hash(first: int, buckets: list[int], chains: list[int], bloom: int = 1) -> bytes:
    head = struct.pack("<IIII", len(buckets), first, bloom, 6) + bytes(8 * bloom)
    return head + struct.pack(f"<{len(buckets) + len(chains)}I", *buckets, *chains)


SYMBOLS = b"".join(symbol(n, 0x100 * n) for n in range(5))
STRINGS = b"\0abcdef\0"
ALL = {DT_SYMTAB: SYMBOLS, DT_STRTAB: STRINGS}


@pytest.mark.parametrize(
    ("tables", "count"),
    [
        ({DT_HASH: struct.pack("<II", 1, 5), **ALL}, 5),
        ({DT_GNU_HASH: gnu_hash(2, [2], [2, 4, 7]), **ALL}, 5),
        ({DT_GNU_HASH: gnu_hash(2, [3, 0, 2], [5, 8, 9]), **ALL}, 5),
        ({DT_GNU_HASH: gnu_hash(4, [4], [1], bloom=4), **ALL}, 5),
        # nothing hashed: GNU ld writes 1 for the first hashed symbol, gold and lld the count
        ({DT_GNU_HASH: gnu_hash(1, [0], [0]), **ALL}, 5),
        ({DT_GNU_HASH: gnu_hash(5, [0], []), **ALL}, 5),
        (ALL, 5),  # no hash table at all
        ({DT_SYMTAB: SYMBOLS, DT_VERSYM: bytes(10), DT_STRTAB: STRINGS}, 5),  # as lld puts them
        ({DT_STRTAB: STRINGS}, 0),
        ({}, 0),
    ],
)
def test_count_of_symbols(tables: dict[int, bytes], count: int) -> None:
    memory, image = crafted.load(crafted.make_elf(tables))
    assert count_dynamic_symbols(memory, image) == count


def test_a_chain_that_crosses_many_blocks() -> None:
    many = gnu_hash(1, [1], [2] * 5000 + [3])
    memory, image = crafted.load(crafted.make_elf({DT_GNU_HASH: many}))
    assert count_dynamic_symbols(memory, image) == 5002


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({DT_HASH: struct.pack("<II", 1, 0xFFFFFFFF), **ALL}, "runs past its segment"),
        (
            {DT_GNU_HASH: gnu_hash(1, [1 << 20], [2] * 5), **ALL},
            "runs past its segment|last chain has no end",
        ),
        ({DT_GNU_HASH: struct.pack("<IIII", 0xFFFFFFFF, 1, 1, 6), **ALL}, "runs past its segment"),
        ({DT_GNU_HASH: struct.pack("<IIII", 1, 1, 0xFFFFFFFF, 6), **ALL}, "runs past its segment"),
    ],
)
def test_damaged_hash_tables(tables: dict[int, bytes], words: str) -> None:
    memory, image = crafted.load(crafted.make_elf(tables))
    with pytest.raises(Problem, match=words):
        read_dynamic_symbols(memory, image)


def test_tables_that_only_bss_could_hold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    absurd = {DT_HASH: struct.pack("<II", 1, 1 << 31), **ALL}
    path.write_bytes(crafted.make_elf(absurd, [(DT_STRSZ, 9)], tail=1 << 45))
    file = open_elf(str(path))
    with pytest.raises(Problem):
        read_dynamic_symbols(file.memory, file.image)


def test_strings_need_their_size() -> None:
    memory, image = crafted.load(crafted.make_elf({DT_STRTAB: b"\0abc\0"}))
    assert read_dynamic_strings(memory, image) == b""
    memory, image = crafted.load(crafted.make_elf({DT_STRTAB: b"\0abc\0"}, [(DT_STRSZ, 5)]))
    assert read_dynamic_strings(memory, image) == b"\0abc\0"
    memory, image = crafted.load(crafted.make_elf({DT_STRTAB: b"\0abc\0"}, [(DT_STRSZ, 1 << 40)]))
    with pytest.raises(Problem, match="DT_STRSZ"):
        read_dynamic_strings(memory, image)


@pytest.mark.parametrize(
    ("strings", "offset", "name"),
    [
        (b"\0abc\0", 1, "abc"),
        (b"\0abc\0", 3, "c"),
        (b"\0abc\0", 4, ""),
        (b"\0abc\0", 5, ""),
        (b"\0abc\0", 1 << 40, ""),
        (b"\0abc", 1, "abc"),
        (b"\0a\xff\xc3b\0", 1, "a\\xff\\xc3b"),
        ("\0ünï\0".encode(), 1, "ünï"),
    ],
)
def test_strings(strings: bytes, offset: int, name: str) -> None:
    assert string_at(strings, offset) == name
    table = SymbolTable(symbol(min(offset, 99)), sound_strings(strings))
    assert table.name(0) == name
    assert table.names([0, 1]) == {0: name}
    assert list(table.indices_by_name) == [name.encode() if name.isascii() else strings[1:-1]] or (
        "\\" in name
    )


def test_sound_string_tables() -> None:
    good = b"\0" + b"x" * 8000 + b"\0" + b"y" * 8000 + b"\0"
    assert sound_strings(good) is good
    assert sound_strings(b"") == b""
    assert sound_strings(b"\0end") == b"\0end\0"
    for end in (b"", b"\0"):
        endless = sound_strings(b"\0" + b"x" * 10_000_000 + end)
        assert len(endless) == 10_000_002 + len(end)
        assert max(map(len, endless.split(b"\0"))) < 16384


def test_names_out_of_the_table_are_empty() -> None:
    table = SymbolTable(SYMBOLS, STRINGS)
    assert [table.name(index) for index in (1, -1, 5, 1 << 40)] == ["abcdef", "", "", ""]
    assert SymbolTable(SYMBOLS[:-1], STRINGS).count == 4


def test_of_several_names_for_an_address_the_best_is_shown() -> None:
    strings = b"\0local\0_weak\0plain\0_main\0nosize\0$x\0after\0"
    offset = {name: strings.index(name) for name in strings.split(b"\0") if name}
    at = [
        symbol(offset[b"local"], 0x100, info=0x02, size=16),
        symbol(offset[b"_weak"], 0x100, info=0x22, size=16),
        symbol(offset[b"_main"], 0x100, info=0x12, size=16),
        symbol(offset[b"plain"], 0x100, info=0x12, size=16),
        symbol(offset[b"nosize"], 0x100, info=0x12),
        symbol(offset[b"$x"], 0x108, info=0x00),
        symbol(offset[b"after"], 0x200, info=0x12),
        symbol(offset[b"nosize"], 0x10C, info=0x10),  # a label in the function
        symbol(offset[b"nosize"], 0x110, info=0x10),  # one behind it
    ]
    table = SymbolTable(b"".join(at), strings)
    places = (0xFF, 0x100, 0x108, 0x10C, 0x10F, 0x110, 0x111, 0x200, 0x201)
    assert {place: table.at(place) for place in places} == {
        0xFF: None, 0x100: (3, 0), 0x108: (3, 8), 0x10C: (3, 12), 0x10F: (3, 15), 0x110: (8, 0),
        0x111: None, 0x200: (6, 0), 0x201: None,
    }  # fmt: skip


def test_exports_are_what_is_defined_and_no_tls_variable() -> None:
    entries = [
        symbol(1, 0x10),
        symbol(1, 0x20, shndx=0),
        symbol(1, 0x30, info=0x10 | STT_TLS),
        symbol(1, 0),
        symbol(2, 0x10),
    ]
    assert SymbolTable(b"".join(entries), STRINGS).exports == {0x10: 4}
