"""glibc's private link_map fields in made-up link_maps of every layout that is known."""

from __future__ import annotations

import dataclasses
import random

import pytest

from gdbext.elf.image import read_image
from gdbext.elf.reader import BytesMemory
from gdbext.linker.loaded.layout import locate
from gdbext.linker.loaded.private import (
    LT_EXECUTABLE,
    LT_LIBRARY,
    LT_LOADED,
    Private,
    read_names,
    read_private,
    read_scopes,
    read_searchlist,
)
from tests.unit import crafted, glibc
from tests.unit.crafted import words
from tests.unit.glibc import RELEASES, Glibc, Object


@pytest.mark.parametrize("name", RELEASES)
def test_every_known_layout_is_located(name: str) -> None:
    made = glibc.make(name)
    layout = locate(crafted.spread(made.runs), made.pairs())
    assert layout == glibc.expected_layout(made.release)


@pytest.mark.parametrize("name", RELEASES)
def test_fields(name: str) -> None:
    made = glibc.make(name)
    memory = crafted.spread(made.runs)
    layout = locate(memory, made.pairs())
    assert layout is not None
    main, liba, libc, plug, dep = made.objects
    found = {o.soname: read(made, o) for o in made.objects}
    types = {o: p.type for o, p in found.items()}
    assert types == {
        "": LT_EXECUTABLE, "liba.so": LT_LIBRARY, "libc.so.6": LT_LIBRARY,
        "plug.so": LT_LOADED, "libdep.so": LT_LOADED,
    }  # fmt: skip
    for each in made.objects:
        private = found[each.soname]
        assert private.real == each.address
        assert (private.relocated, private.init_called) == (True, True)
        assert private.is_global is each.is_global
        assert private.open_count == each.opened
        assert private.loader == (plug.address if each is dep else 0)
        assert private.phdr == each.base + 64
        assert (private.map_start, private.map_end) == (each.base, each.base + len(each.data))
        assert (private.tls_modid, private.tls_offset) == (each.tls_modid, each.tls_offset)
        assert private.nodelete is (each.nodelete if made.release.nodelete else None)
        assert private.file_id == (0x801, 4711 + made.objects.index(each))
        assert read_names(memory, private) == ((each.soname or each.name).encode(),)
        own = each.address + made.release.phdr + 24
        assert private.local_scope == own
        assert read_scopes(memory, private) == (main.address + made.release.phdr + 24, own)
    assert read_searchlist(memory, found[""]) == (main.address, liba.address, libc.address)
    assert read_searchlist(memory, found["plug.so"]) == (plug.address,)


def read(made: Glibc, each: Object) -> Private:
    memory = crafted.spread(made.runs)
    layout = locate(memory, made.pairs())
    assert layout is not None
    private = read_private(memory, layout, each.address)
    assert private is not None
    return private


@pytest.mark.parametrize("name", ["2.31-x86-64", "deb12-aarch64"])
def test_a_minority_of_damaged_link_maps_is_outvoted(name: str) -> None:
    made = glibc.make(name)
    noise = random.Random(7)
    for each in (made.objects[1], made.objects[4]):
        made.write(each, 64, noise.randbytes(made.release.size - 64))
    layout = locate(crafted.spread(made.runs), made.pairs())
    assert layout == glibc.expected_layout(made.release)


def test_a_majority_of_damaged_link_maps_makes_the_layout_unknown() -> None:
    made = glibc.make("deb12-x86-64")
    noise = random.Random(8)
    for each in made.objects[:3]:
        made.write(each, 64, noise.randbytes(made.release.size - 64))
    assert locate(crafted.spread(made.runs), made.pairs()) is None


def test_field_groups_that_nothing_confirms_stay_unknown() -> None:
    plain = [Object("", type=0, relro=False), Object("/lib/x.so", relro=False)]
    made = glibc.make("2.41-x86-64", plain)
    layout = locate(crafted.spread(made.runs), made.pairs())
    whole = glibc.expected_layout(made.release)
    assert layout == dataclasses.replace(whole, tls=None, relro=None)
    private = read(made, plain[1])
    assert (private.tls_modid, private.tls_offset) == (None, None)
    # without its scope
    for each in plain:
        made.write(each, made.release.scope, words(8))
    layout = locate(crafted.spread(made.runs), made.pairs())
    expected = dataclasses.replace(
        whole, tls=None, relro=None, scope=None, map_start=None, nodelete=None
    )
    assert layout == expected
    private = read(made, plain[1])
    assert (private.scopes, private.map_start, private.initfini) == (None, None, None)
    assert private.file_id is None
    assert read_scopes(crafted.spread(made.runs), private) is None


@pytest.mark.parametrize("name", RELEASES)
def test_without_program_headers(name: str) -> None:
    made = glibc.make(name)  # as in qemu's own cores: AT_PHDR is all that tells
    main, count = made.objects[0], len(made.pairs()[0][1].segments)
    maps = [(each.address, None) for each in made.objects]
    memory = crafted.spread(made.runs)
    expected = dataclasses.replace(glibc.expected_layout(made.release), tls=None, relro=None)
    assert locate(memory, maps, (main.base + 64, count)) == expected
    assert locate(memory, maps, (main.base + 64, count + 1)) is None
    assert locate(memory, maps) is None


def test_main_without_flags_leaves_them_unknown() -> None:
    made = glibc.make("2.36-x86-64")
    made.write(made.objects[0], made.release.phdr + 116, bytes(4))
    private = read(made, made.objects[3])
    assert (private.relocated, private.init_called, private.is_global) == (None, None, None)
    assert private.open_count == 3


def test_what_is_not_glibc() -> None:
    made = glibc.make("2.36-x86-64")
    memory = crafted.spread(made.runs)
    pairs = made.pairs()
    assert locate(memory, []) is None
    assert locate(BytesMemory({}), pairs) is None
    # musl's struct dso has other things where l_real would be
    made.write(made.objects[1], 40, words(made.objects[1].base))
    assert locate(crafted.spread(made.runs), made.pairs()) is None


@pytest.mark.parametrize("seed", range(20))
def test_garbage_is_no_layout(seed: int) -> None:
    made = glibc.make("2.36-x86-64")
    noise = random.Random(seed)
    for each in made.objects:
        start = made.runs[each.address][:64]
        made.runs[each.address] = start + noise.randbytes(1600)
    assert locate(crafted.spread(made.runs), made.pairs()) is None


def test_only_the_first_objects_vote() -> None:
    many = [Object("", type=0, tls=(8, 8, 8))] + [
        Object(f"/lib/{n}.so", f"{n}.so", relro=n % 2 == 0) for n in range(200)
    ]
    made = glibc.make("2.36-x86-64", many)
    pairs = made.pairs()
    for each in many[64:]:
        made.runs[each.address] = made.runs[each.address][:64] + bytes(1600)
    assert locate(crafted.spread(made.runs), pairs) == glibc.expected_layout(made.release)


def test_a_link_map_at_the_end_of_its_mapping() -> None:
    made = glibc.make("2.17-aarch64")
    last = made.objects[-1]
    data = made.runs.pop(last.address)[: made.release.size]
    short = BytesMemory({**made.runs, last.address: data})  # nothing is mapped behind it
    pairs = [(each.address, read_image(short, each.base)) for each in made.objects]
    # it decides: without it the TLS fields of main alone are no majority
    made.write(made.objects[2], made.release.tls, words(1))
    assert locate(short, pairs) == glibc.expected_layout(made.release)


def test_lists_that_are_damaged() -> None:
    made = glibc.make("2.36-x86-64")
    private = read(made, made.objects[0])
    page = bytearray(4096)
    page[:16] = words(0x1100, 0x1010)
    page[16:32] = words(0x1200, 0x1000)  # back to the first
    page[0x100:0x102], page[0x200:0x202] = b"a\0", b"b\0"
    memory = BytesMemory({0x1000: bytes(page)})
    assert read_names(memory, private._replace(libname=0x1000)) == (b"a", b"b")
    page[24:32] = words(0xDEAD0)
    memory = BytesMemory({0x1000: bytes(page)})
    assert read_names(memory, private._replace(libname=0x1000)) == (b"a", b"b")
    assert read_names(memory, private._replace(libname=0)) == ()
    for searchlist in ((0, 3), (0xDEAD0, 3), (0x1000, 1 << 31)):
        assert read_searchlist(memory, private._replace(searchlist=searchlist)) == ()
    endless = BytesMemory({0x1000: words(*[8] * 512)})
    for scopes in (0x1000, 0xDEAD0):
        assert read_scopes(endless, private._replace(scopes=scopes)) is None
    assert read_private(BytesMemory({}), glibc.expected_layout(made.release), 0x1000) is None
