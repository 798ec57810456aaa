"""Damaged link_maps and ELF tables in a live process: as much as can be read, no traceback."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.bad_input import BUG, survives
from tests.harness import Gdb


def link_maps(gdb: Gdb) -> list[int]:
    modules = gdb.json("plug-links")["namespaces"][0]["modules"]
    return [int(module["link_map"], 16) for module in modules]


# What to write where; l_addr is at 0 of a link_map, l_name at 8, l_ld, l_next and l_prev follow.
CHAINS = {
    "loop": ("{last} + 24", "{first}"),
    "self": ("{middle} + 24", "{middle}"),
    "wild-next": ("{middle} + 24", "0x4141414141414141"),
    "odd-next": ("{middle} + 24", "{middle} + 1"),
    "null-name": ("{middle} + 8", "0"),
    "wild-name": ("{middle} + 8", "0xdeadbeef000"),
    "wild-prev": ("{middle} + 32", "0x10"),
    "wild-dynamic": ("{middle} + 16", "0xdeadbeef000"),
    "wild-base": ("{middle}", "0x7fffffffffff1000"),
    "kernel-base": ("{middle}", "0xffffffffffff0000"),
    "stack-next": ("{middle} + 24", "$sp"),
}


@pytest.mark.parametrize("damage", CHAINS)
def test_damaged_chain(live: Callable[..., Gdb], damage: str) -> None:
    gdb = live("dlopens/host", until="loaded")
    maps = link_maps(gdb)
    names = {"first": maps[0], "middle": maps[len(maps) // 2], "last": maps[-1]}
    place, value = (text.format(**names) for text in CHAINS[damage])
    gdb.cmd(f"set {{unsigned long}}({place}) = {value}")
    said = dict(survives(gdb))
    assert "host+0x" in said["plug-where $pc"]
    if damage in ("loop", "self"):
        assert "loops back" in said["plug-links"]
    elif damage in ("wild-next", "odd-next", "stack-next", "wild-prev", "wild-name"):
        assert re.search("cannot be read|damaged", said["plug-links"])


def test_damaged_r_debug(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until="loaded")
    r_debug = int(gdb.json("plug-links")["namespaces"][0]["r_debug"], 16)
    for offset, value in ((8, "0x4141414141414141"), (0, "0xffffffffffffffff"), (40, "0x123")):
        gdb.cmd(f"set {{unsigned long}}({r_debug} + {offset}) = {value}")
        list(survives(gdb))


def test_stop_reports_survive_a_damaged_chain(live: Callable[..., Gdb]) -> None:
    gdb = live("nullcall/host", until="crash")
    maps = link_maps(gdb)
    gdb.cmd("set plug stop-on-dlopen on")
    gdb.cmd(f"set {{unsigned long}}({maps[-1]} + 24) = {maps[0]}")
    said = gdb.until_signal("SIGSEGV")
    assert "[gdbext] SIGSEGV" in said
    assert not BUG.search(said)


# DT_* numbers of the gABI: each entry's value is overwritten.
TAGS = {
    "DT_STRSZ": 10,
    "DT_STRTAB": 5,
    "DT_SYMTAB": 6,
    "DT_RELA": 7,
    "DT_RELASZ": 8,
    "DT_PLTRELSZ": 2,
    "DT_JMPREL": 23,
    "DT_GNU_HASH": 0x6FFFFEF5,
    "DT_VERSYM": 0x6FFFFFF0,
    "DT_VERNEED": 0x6FFFFFFE,
    "DT_VERNEEDNUM": 0x6FFFFFFF,
    "DT_PLTGOT": 3,
    "DT_SONAME": 14,
}


VALUES = ("0xffffffffffffffff", "0x7fffffff", "1 << 44", "$sp", "1")


def library(gdb: Gdb) -> tuple[int, dict[int, int]]:
    """Base of libplugin.so and the address of each of its dynamic entries, by tag."""
    module = next(
        m
        for m in gdb.json("plug-links")["namespaces"][0]["modules"]
        if m["path"].endswith("/libplugin.so")
    )
    dynamic = int(module["dynamic"], 16)
    entries = {}
    for index in range(64):
        said = gdb.cmd(f"output/x {{unsigned long}}({dynamic} + {16 * index})")
        tag = int(said, 16)
        if tag == 0:
            break
        entries[tag] = dynamic + 16 * index
    return int(module["base"], 16), entries


@pytest.mark.parametrize("tag", TAGS)
def test_absurd_dynamic_entries(live: Callable[..., Gdb], tag: str) -> None:
    # Neither library has all of them on both CPUs.
    name = "nullcall/host" if tag.startswith("DT_RELA") else "cet/host"
    gdb = live(name, until="loaded")
    entry = library(gdb)[1][TAGS[tag]]
    before = gdb.cmd(f"output/x {{unsigned long}}({entry} + 8)")
    for value in VALUES:
        gdb.cmd(f"set {{unsigned long}}({entry} + 8) = {value}")
        for command, said in survives(gdb):
            assert said, command
        assert "libplugin.so" in gdb.cmd("plug-links")
    gdb.cmd(f"set {{unsigned long}}({entry} + 8) = {before}")


@pytest.mark.parametrize(
    ("offset", "size", "value"),
    [
        (0, "int", "0"),  # no ELF magic
        (32, "long", "1 << 60"),  # e_phoff
        (54, "short", "0"),  # e_phentsize
        (56, "short", "0xffff"),  # e_phnum
        (56, "short", "0"),
        (64 + 40, "long", "1 << 62"),  # the first segment's p_memsz
        (64 + 16, "long", "-4096"),  # its p_vaddr
    ],
)
def test_absurd_elf_header(live: Callable[..., Gdb], offset: int, size: str, value: str) -> None:
    gdb = live("cet/host", until="loaded")
    base, _ = library(gdb)
    gdb.cmd(f"set {{{size}}}({base} + {offset}) = {value}")
    for command, said in survives(gdb):
        assert said, command


@pytest.mark.parametrize("value", ["0x7fffffff", "0"])
@pytest.mark.parametrize("field", [0, 4, 8])  # nbuckets, symoffset, bloom_size
def test_absurd_hash_table(live: Callable[..., Gdb], field: int, value: str) -> None:
    gdb = live("cet/host", until="loaded")
    entry = library(gdb)[1][TAGS["DT_GNU_HASH"]]
    gdb.cmd(f"set $table = {{unsigned long}}({entry} + 8)")
    gdb.cmd(f"set {{int}}($table + {field}) = {value}")
    for command, said in survives(gdb):
        assert said, command


def test_versions_that_loop(live: Callable[..., Gdb]) -> None:
    gdb = live("cet/host", until="loaded")
    entry = library(gdb)[1][TAGS["DT_VERNEED"]]
    gdb.cmd(f"set $table = {{unsigned long}}({entry} + 8)")
    gdb.cmd("set {int}($table + 8) = 0")  # vn_aux: its own first entry
    gdb.cmd("set {int}($table + 12) = -16")  # vn_next: back
    gdb.cmd("set {short}($table + 2) = 0xffff")  # vn_cnt
    list(survives(gdb))


@pytest.mark.parametrize("name", [b"\xff\xfe/lib", b"a\x1b[31m\n\t\x7f", b"\xe2\x80\xae.so"])
def test_odd_module_names(live: Callable[..., Gdb], name: bytes) -> None:
    gdb = live("nullcall/host", until="loaded")
    last = link_maps(gdb)[-1]
    gdb.cmd(f"set $name = {{unsigned long}}({last} + 8)")
    for index, byte in enumerate(name + b"\0"):
        gdb.cmd(f"set {{char}}($name + {index}) = {byte}")
    for _, said in survives(gdb):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", said.replace("\t", "")), repr(said)
    report = gdb.until_signal("SIGSEGV")
    assert not BUG.search(report)
    assert "\x1b" not in report
