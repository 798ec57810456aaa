"""plug-where: every kind of place, against nm, readelf, addr2line, /proc and GDB itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import oracles
from tests.harness import Gdb
from tests.places import value, where
from tests.programs import Program

LWP = "next(t.ptid[1] for t in gdb.selected_inferior().threads() if t.num == {})"


EACH_SET = pytest.mark.parametrize(
    "cpu",
    ["x86_64", pytest.param("aarch64", marks=pytest.mark.arm64), "musl"],
    indirect=True,
)


@pytest.fixture
def places(live: Callable[..., Gdb], program: Callable[[str], Program]) -> Gdb:
    own = str(program("places/host").path)
    return live("places/host", own, until="loaded")


@EACH_SET
def test_module_section_symbol(places: Gdb, program: Callable[[str], Program]) -> None:
    path = program("places/host").path
    table = {s.name: s for s in oracles.nm_symbols(path, dynamic=False)}
    for name, section, access in (("main", ".text", "r-x"), ("data", ".data", "rw-")):
        for distance in (0, 1, 3):
            found = where(places, f"(char*)&{name}+{distance}")
            assert found["kind"] == "module"
            assert found["module"] == str(path)
            assert int(found["offset"], 16) == (table[name].value or 0) + distance
            assert (found["symbol"], found["symbol_offset"]) == (name, distance)
            assert (found["section"], found["segment"]) == (section, access)
            plus = f"+{distance:#x}" if distance else ""
            text = f"host+{int(found['offset'], 16):#x} {name}{plus} ({section})"
            assert found["text"] == text
    said = places.cmd("plug-where main+1")
    assert re.search(r"^0x[0-9a-f]+: host\+0x[0-9a-f]+ main\+0x1 \(.text\)$", said, re.MULTILINE)
    assert f"  module   {path}" in said


def test_line_by_addr2line(live: Callable[..., Gdb], program: Callable[[str], Program]) -> None:
    gdb = live("nullcall/host", until="crash")
    found = where(gdb, "$pc")
    library = program("nullcall/host").folder / "libplugin.so"
    tool = "aarch64-linux-gnu-addr2line" if gdb.arm64 else "addr2line"
    said = oracles.said_by(tool, "-fe", str(library), found["offset"]).splitlines()
    assert said[0] == found["symbol"] == "plugin_run"
    assert "nullcall/plugin.c:" in said[1]


@EACH_SET
def test_memory_kinds(places: Gdb) -> None:
    lists_mappings = not places.arm64
    assert where(places, "stack")["kind"] == "stack"
    assert where(places, "stack")["thread"] == 1
    assert where(places, "thread_stack")["kind"] == "stack"
    assert where(places, "thread_stack")["thread"] == 2
    assert where(places, "anonymous")["kind"] == ("anonymous" if lists_mappings else "unknown")
    assert where(places, "file")["kind"] == ("file" if lists_mappings else "unknown")
    assert where(places, "gone")["kind"] == "unmapped"
    assert where(places, "0")["text"] == "null"
    assert where(places, "0x18")["text"] == "null+0x18"
    assert where(places, "-1")["kind"] == "unmapped"


def test_heap_and_arena(native: Callable[[str], Program], sessions: Any) -> None:  # noqa: ANN401
    program = native("places/host")
    gdb = sessions.live(program, str(program.path), until="loaded")
    assert gdb.pid
    heap = where(gdb, "heap")
    mapping = next(m for m in oracles.proc_maps(gdb.pid) if m.path == "[heap]")
    assert heap["kind"] == "heap"
    assert int(heap["region"]["start"], 16) == mapping.start
    assert where(gdb, "arena")["kind"] == "heap"
    file = where(gdb, "file+5")
    assert file["region"]["path"] == str(program.path)
    assert file["text"].startswith(f"mapped file {program.path}+0x5 (r--)")
    core = sessions.folder / "places.core"
    gdb.cmd(f"generate-core-file {core}")
    values = {name: value(gdb, name) for name in ("heap", "arena", "stack", "thread_stack", "gone")}
    dead = sessions.gdb(str(program.path), f"--core={core}")
    for name, kind in (("heap", "heap"), ("arena", "heap"), ("gone", "unmapped")):
        assert where(dead, hex(values[name]))["kind"] == kind
    for name, number in (("stack", "1"), ("thread_stack", "2")):
        live_thread = where(gdb, name)["thread"]
        assert str(live_thread) == number
        place = where(dead, hex(values[name]))
        assert place["kind"] == "stack"
        lwp = gdb.python(LWP.format(number))
        dead_lwp = dead.python(LWP.format(place["thread"])).splitlines()[-1]
        assert lwp == dead_lwp


def test_qemu_heap(live: Callable[..., Gdb], program: Callable[[str], Program]) -> None:
    gdb = live("places/host", str(program("places/host").path), until="loaded")
    assert where(gdb, "heap")["kind"] == "heap"


@pytest.mark.parametrize(
    ("name", "library", "symbol", "section"),
    [
        ("nullcall/host", "libplugin.so", "optional_feature", ".plt"),
        ("cet/host", "libplugin.so", "rand", ".plt.sec"),
        ("places/host", "libpltgot.so", "getppid", ".plt.got"),
    ],
)
def test_plt_entries(
    live: Callable[..., Gdb],
    program: Callable[[str], Program],
    name: str,
    library: str,
    symbol: str,
    section: str,
) -> None:
    """Each byte of the entry that objdump names SYMBOL@plt, and its slot as readelf has it."""
    arguments = [str(program(name).path)] if name == "places/host" else []
    gdb = live(name, *arguments, until="loaded")
    if gdb.arm64:
        section = ".plt"
    path = program(name).folder / library
    tool = "aarch64-linux-gnu-objdump" if gdb.arm64 else "objdump"
    code = oracles.said_by(tool, "-d", "-j", section, str(path))
    entry = re.search(rf"^([0-9a-f]+) <{symbol}@[\w.@]+>:", code, re.MULTILINE)
    assert entry, code
    offset = int(entry[1], 16)
    base = int(gdb.json("plug-links")["namespaces"][0]["modules"][-1]["base"], 16)
    slots = [s for s in oracles.readelf_slots(path) if s.symbol == symbol]
    size = 8 if section == ".plt.got" else 16
    for distance in (0, 4, size - 2):
        found = where(gdb, hex(base + offset + distance))
        assert found["module"] == str(path)
        assert found["plt_slot"]["symbol"] == symbol, (distance, found)
        assert int(found["plt_slot"]["address"], 16) - base in {s.offset for s in slots}
        assert found["section"] == section
        assert f"PLT entry of {symbol}" in found["text"]


def test_got_slot(live: Callable[..., Gdb], program: Callable[[str], Program]) -> None:
    gdb = live("relro/host", until="loaded")
    for module in gdb.json("plug-links")["namespaces"][0]["modules"]:
        if not module["path"].endswith("/libpartial.so"):
            continue
        base = int(module["base"], 16)
        for slot in oracles.readelf_slots(program("relro/host").folder / "libpartial.so"):
            if not slot.symbol or ("GLOB_DAT" not in slot.type and "JUMP_SLOT" not in slot.type):
                continue
            if not re.search("GLOB_DAT|JUMP_SLO", slot.type):
                continue
            for distance in (0, 7):
                found = where(gdb, hex(base + slot.offset + distance))
                assert found["slot"]["symbol"] == slot.symbol
                assert int(found["slot"]["address"], 16) == base + slot.offset
                held = value(gdb, f"*(long*){base + slot.offset:#x}") if distance == 0 else None
                assert held is None or int(found["slot"]["value"], 16) == held
                assert "GOT slot of " + slot.symbol in found["text"]
        return
    raise AssertionError("libpartial.so is not loaded")


def test_tls_blocks_of_each_thread(live: Callable[..., Gdb]) -> None:
    """The addresses come from the program: touch_*() return what lies at them."""
    gdb = live("tls/host", until="loaded")
    seen: set[tuple[str, int]] = set()
    for number in range(1, 5):
        gdb.cmd(f"thread {number}")
        thread = int(gdb.python("gdb.selected_thread().num"))
        pointer = "$fs_base" if not gdb.arm64 else "$TPIDR_EL0"
        control = where(gdb, pointer)
        assert (control["kind"], control["thread"]) == ("tcb", thread)
        assert f"thread control block of thread {thread}" in control["text"]
        near = value(gdb, pointer)
        for distance in range(16, 512, 8) if gdb.arm64 else range(-512, 0, 8):
            found = where(gdb, hex(near + distance))
            if found["kind"] == "tls":
                assert found["thread"] == thread
                seen.add((Path(found["module"]).name, thread))
    assert {(name, n) for name, n in seen if name == "libtlsie.so"} == {
        ("libtlsie.so", n) for n in range(1, 5)
    }


def test_tls_addresses_by_gdb(native: Callable[[str], Program], sessions: Any) -> None:  # noqa: ANN401
    gdb = sessions.live(native("tls/host"), until="loaded")
    for number in range(1, 5):
        gdb.cmd(f"thread {number}")
        for name, library in (
            ("initialised_ie", "libtlsie.so"),
            ("initialised_gd", "libtlsgd.so"),
            ("initialised_desc", "libtlsdesc.so"),
            ("own", "host"),
        ):
            address = value(gdb, f"&{name}")
            found = where(gdb, hex(address))
            assert (found["kind"], found["thread"]) == ("tls", number), (name, found)
            assert Path(found["module"]).name == library


def test_vtable(live: Callable[..., Gdb]) -> None:
    gdb = live("cxx/host", until="loaded")
    found = where(gdb, "*(long*)plain")
    assert found["symbol"] == "_ZTVN5media5PlainE"
    assert " vtable for media::Plain+0x10, pointer to media::Plain::~Plain()" in found["text"]
    assert where(gdb, "*(long*)strict")["symbol"] == "_ZTVN5media6StrictE"


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_vdso(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host")
    assert gdb.pid
    start = oracles.proc_auxv(gdb.pid)[oracles.AT_SYSINFO_EHDR]
    place = where(gdb, "__vdso_time")
    assert place["kind"] == "module"
    assert "vdso" in place["module"]
    assert place["symbol"] in ("time", "__vdso_time")
    assert where(gdb, hex(start))["module"] == place["module"]


def test_namespaces_are_told_apart(live: Callable[..., Gdb]) -> None:
    gdb = live("namespaces/host", until="loaded")
    modules = [
        (n["index"], m["base"])
        for n in gdb.json("plug-links")["namespaces"]
        for m in n["modules"]
        if m["path"].endswith("/libns.so")
    ]
    assert len(modules) == 3
    for index, base in modules:
        assert where(gdb, base)["namespace"] == index
        assert ("\n  namespace" in gdb.cmd(f"plug-where {base}")) == (index > 0)


@pytest.mark.parametrize("name", ["static_pie", "static_fixed", "static_stripped"])
def test_static_programs(live: Callable[..., Gdb], name: str) -> None:
    gdb = live(f"static/{name}", "crash", until="SIGSEGV")
    found = where(gdb, "$pc")
    assert (found["kind"], Path(found["module"]).name) == ("module", name)
    assert found.get("symbol") == (None if name == "static_stripped" else "main")
    assert where(gdb, "$sp")["kind"] == "stack"


def test_first_instruction(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until=None)
    assert "ld-linux" in where(gdb, "$pc")["module"]
    assert where(gdb, "$sp")["kind"] == "stack"
    assert Path(where(gdb, "&main")["module"]).name == "host"


def test_core(open_core: Callable[..., Gdb]) -> None:
    gdb = open_core("rodatawrite/host")
    assert where(gdb, "$pc")["symbol"] == "plugin_run"
    assert where(gdb, "$sp")["kind"] == "stack"
    assert where(gdb, "0x3fffffffff000")["kind"] == "unmapped"
