"""plug-tls, against dl_iterate_phdr, the program's own pointers, dlopen itself and DWARF."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gdbext.linker.tls.statictls import StaticTls
from tests import harness, oracles
from tests.cores import Core
from tests.harness import Gdb
from tests.places import value, where
from tests.programs import Program, expectations, marker

EACH_SET = pytest.mark.parametrize(
    "cpu",
    ["x86_64", pytest.param("aarch64", marks=pytest.mark.arm64), "musl"],
    indirect=True,
)
ON_X86_64 = pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
STEPS = ("opened", "used", "closed", "reused", "both")


def called(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (m for m in document["modules"] if Path(m["path"]).name == name)
    module: dict[str, Any] = found
    return module


def spoken(output: str, step: str) -> tuple[dict[tuple[int, int], int], dict[int, str]]:
    """What the threads of tlsids/host said at STEP: {(thread, module id): block}, {id: file}.

    The program counts threads from 0 and GDB from 1. A thread that touched a block afterwards
    said so as well."""
    blocks: dict[tuple[int, int], int] = {}
    names: dict[int, str] = {}
    for line in output.splitlines():
        found = re.fullmatch(rf"{step} (\d) (\d+) (0x[0-9a-f]+|0) (\S+)", line)
        if found:
            thread, number, address, name = found.groups()
            names[int(number)] = Path(name).name
            if int(address, 16):
                blocks[int(thread) + 1, int(number)] = int(address, 16)
    return blocks, names


@EACH_SET
def test_blocks_are_those_of_dl_iterate_phdr(live: Callable[..., Gdb], cpu: str) -> None:
    """Also while an id belongs to another library than when the thread got its block."""
    gdb = live("tlsids/host", until="opened")
    for step in STEPS:
        if step != "opened":
            gdb.until(marker("tlsids", step))
        blocks, names = spoken(gdb.output(), step)
        document = gdb.json("plug-tls -threads")
        assert {m["id"]: Path(m["path"]).name for m in document["modules"] if m["id"]} == {
            n: "host" if name == "-" else name for n, name in names.items()
        }
        found = {
            (thread["thread"], block["id"]): int(block["start"], 16)
            for thread in document["threads"]
            for block in thread["blocks"]
        }
        assert found == blocks
        assert len(blocks) >= 3 * len(names) - 3
        touched = re.findall(rf"^{step} (\d) touched (\S+)$", gdb.output(), re.MULTILINE)
        for thread, address in touched:
            assert (int(thread) + 1, int(address, 16)) in {(t, b) for (t, _), b in found.items()}
    if cpu != "musl":  # musl never unloads
        reused, _ = spoken(gdb.output(), "reused")
        used, _ = spoken(gdb.output(), "used")
        (stale,) = used.keys() - reused.keys()
        gdb.cmd(f"thread {stale[0]}")
        module = called(gdb.json("plug-tls libtwo.so"), "libtwo.so")
        assert (module["id"], module["block"]) == (stale[1], None)
        assert "not allocated in this thread" in module["block_reason"]
        assert "not allocated in this thread" in gdb.cmd("plug-tls libtwo")
        assert where(gdb, hex(used[stale]))["kind"] != "tls"


def area_of(document: dict[str, Any], gdb: Gdb) -> StaticTls:
    static = document["static_tls"]
    assert static is not None, document["static_tls_reason"]
    return StaticTls(
        static["size"],
        static["align"],
        static["used"],
        static["control_block"],
        static["surplus"],
        static["optional_left"],
        not gdb.arm64,
    )


def tls_address(library: Path) -> int:
    """The p_vaddr of PT_TLS, by readelf."""
    said = oracles.said_by("readelf", "-lW", str(library))
    row = re.search(r"^ +TLS +0x\S+ (0x\S+) ", said, re.MULTILINE)
    assert row, library
    return int(row[1], 16)


def test_left_says_what_still_loads(
    live: Callable[..., Gdb], program: Callable[[str], Program], tmp_path: Path
) -> None:
    """dlopen itself is the judge: of each segment it must be known before whether it fits."""
    vaddr = tls_address(program("tlsroom/host").folder / "libprobe.so")
    gdb = live("tlsroom/host", until="ready")
    document = gdb.json("plug-tls")
    area = area_of(document, gdb)
    left = area.left
    assert 512 <= left <= 4096
    assert document["static_tls"]["used"] == document["static_tls"]["used_at_start"]
    sizes = [
        (left + 1, 1),  # one byte too many
        (9, 1),
        (32, area.align * 2),  # never: an alignment that no thread's area has
        (100, 8),
        (33, 16),
        (64, area.align),
        (7, 4),
        (left, 1),
    ]
    lines = [*sizes, *((size, 1) for size in range(left - 150, left - 600, -1))]
    (tmp_path / "sizes").write_text("".join(f"{size} {align}\n" for size, align in lines))
    for size, align in sizes:
        expected = area.fits(size, align, vaddr % align)
        gdb.until(marker("tlsroom", "probed"))
        said = gdb.cmd('printf "%s\\n", said')
        assert said == "fits" if expected else "cannot allocate memory in static TLS block" in said
        document = gdb.json("plug-tls")
        if not expected:
            assert area_of(document, gdb) == area
        area = area_of(document, gdb)
    assert area.left < left
    # The rest at full speed: of sizes that go down one by one the first that fits is `left`.
    gdb.until(marker("tlsroom", "done"))
    fitting = [int(s) for s in re.findall(r"^(\d+) 1 fits$", gdb.output(), re.MULTILINE)]
    assert fitting[:2] == [9, area.left]
    assert area_of(gdb.json("plug-tls"), gdb).left == 0
    assert "left 0" in gdb.cmd("plug-tls")


@ON_X86_64
@pytest.mark.parametrize(
    ("name", "stop"),
    [("tls", "loaded"), ("tlsroom", "ready"), ("tlsids", "both"), ("namespaces", "loaded")],
)
def test_static_tls_by_dwarf(live: Callable[..., Gdb], name: str, stop: str) -> None:
    """The answer key: ld.so's variables by the debug information of libc6-dbg."""
    gdb = live(f"{name}/host", until=stop)
    document = gdb.json("plug-tls")
    static = document["static_tls"]
    ro, rw = "_rtld_global_ro._dl_tls_static_", "_rtld_global._dl_tls_"
    assert static["size"] == value(gdb, ro + "size")
    assert static["align"] == value(gdb, ro + "align")
    assert static["surplus"] == value(gdb, ro + "surplus")
    assert static["used"] == value(gdb, rw + "static_used")
    assert static["optional_left"] == min(value(gdb, rw + "static_optional"), static["left"])
    assert static["control_block"] == value(gdb, "sizeof(struct pthread)")
    assert document["generation"] == value(gdb, rw + "generation")
    for module in document["modules"]:
        private = f"((struct link_map*){link_map(gdb, module)})->"
        assert module["id"] == value(gdb, private + "l_tls_modid")
        assert module["size"] == value(gdb, private + "l_tls_blocksize")
        offset = value(gdb, private + "l_tls_offset")
        kinds = {0: "undecided", (1 << 64) - 1: "dynamic"}
        assert module["storage"] == kinds.get(offset, "static")
        assert module["storage"] != "static" or module["tp_offset"] == f"-{offset:#x}"


def link_map(gdb: Gdb, module: dict[str, Any]) -> str:
    (found,) = (
        m["link_map"]
        for n in gdb.json("plug-links")["namespaces"]
        if n["index"] == module["namespace"]
        for m in n["modules"]
        if m["path"] == module["path"]
    )
    return str(found)


@EACH_SET
def test_who_asks_for_static_tls(live: Callable[..., Gdb], cpu: str) -> None:
    """By readelf: DF_STATIC_TLS, TPOFF relocations with their symbols."""
    gdb = live("tls/host", until="loaded")
    document = gdb.json("plug-tls")
    folder = Path(called(document, "libtlsie.so")["path"]).parent
    for name in ("host", "libtlsie.so", "libtlsgd.so", "libtlsdesc.so", "libtlsld.so"):
        module = called(document, name)
        flags = oracles.said_by("readelf", "-dW", str(folder / name))
        assert module["flag"] == ("STATIC_TLS" in flags)
        wanted = [
            s for s in oracles.readelf_slots(folder / name) if re.search("_TPOFF|_TPREL", s.type)
        ]
        needs = [n for n in module["needs"] if n["kind"] == "tpoff"]
        assert sum(n["count"] for n in needs) == len(wanted)
        assert {n["symbol"] for n in needs} == {s.symbol for s in wanted if s.symbol}
        assert all(Path(n["owner"]).name == "libtlsie.so" for n in needs)
    descriptors = expectations("tls", cpu)["relocations"][cpu]["libtlsdesc.so"]
    assert descriptors
    module = called(document, "libtlsdesc.so")
    if cpu == "musl":
        assert (module["storage"], module["dynamic_descriptors"]) == ("dynamic", 2)
        assert "musl keeps no room" in document["static_tls_reason"]
    else:
        assert (module["storage"], module["at_start"]) == ("static", False)
        assert {n["symbol"] for n in module["needs"]} == {"zeroed_desc", "initialised_desc"}
        assert "asked for by itself (TLSDESC)" in gdb.cmd("plug-tls libtlsdesc")


def test_text_fits_and_completes(live: Callable[..., Gdb]) -> None:
    gdb = live("tls/host", until="loaded")
    for width in (80, 160):
        gdb.cmd(f"set width {width}")
        gdb.cmd("set height 0")
        for line in ("plug-tls", "plug-tls libtlsie", "plug-tls -threads"):
            said = gdb.cmd(line).splitlines()
            assert max(map(len, said)) <= (width if width == 80 else 1000), said
            assert any(text.startswith("Static TLS: ") for text in said)
    gdb.cmd("set width 0")
    assert "  6   " in gdb.cmd("plug-tls")
    offered = gdb.cmd("complete plug-tls libtlsg")
    assert "libtlsgd.so" in offered
    assert "-threads" in gdb.cmd("complete plug-tls -t")
    assert "no loaded module" in gdb.cmd("plug-tls nonsense")
    assert "DF_STATIC_TLS" in gdb.cmd("help plug-tls")


@pytest.mark.parametrize("name", ["static_pie", "static_fixed", "static_stripped"])
def test_static_programs(live: Callable[..., Gdb], name: str) -> None:
    """There is no ld.so: its variables are the program's own, if it has a symbol table."""
    gdb = live(f"static/{name}", "crash", until="SIGSEGV")
    document = gdb.json("plug-tls")
    (module,) = document["modules"]
    assert (module["id"], module["storage"], module["at_start"]) == (1, "static", True)
    if name == "static_stripped":
        assert document["static_tls"] is None
        assert "not found" in document["static_tls_reason"]
    else:
        static = document["static_tls"]
        for key in ("size", "used", "align", "surplus"):
            assert static[key] == value(gdb, f"*(long*)&_dl_tls_static_{key}")
        # libc.a and libc.so.6 have the same struct pthread
        dynamic = live("dlopens/host").json("plug-tls")["static_tls"]
        assert static["control_block"] == dynamic["control_block"]


def test_first_instruction(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until=None)
    said = gdb.cmd("plug-tls")
    assert "plug-tls: the dynamic linker has not run yet" in said


@pytest.mark.parametrize("with_program", [True, False])
def test_core(core: Callable[..., Core], open_core: Callable[..., Gdb], with_program: bool) -> None:
    """The core's threads come in another order: each is known by its block of the program."""
    made = core("tlsids/host", "abort")
    blocks, _ = spoken((made.path.parent / "program.out").read_text(), "both")
    gdb = open_core(made, with_program=with_program)
    # Of a core that GDB made itself it says that a section is too small.
    document = harness.validated(json.loads(gdb.cmd("plug-tls -threads -json").splitlines()[-1]))
    wanted = {
        frozenset((number, address) for (t, number), address in blocks.items() if t == thread)
        for thread, _ in blocks
    }
    found = {
        frozenset((block["id"], int(block["start"], 16)) for block in thread["blocks"])
        for thread in document["threads"]
    }
    if made.kind == "qemu":  # its cores have no NT_ARM_TLS
        assert found == {frozenset()}
        assert "Blocks: unknown: this target does not tell the thread pointer" in gdb.cmd(
            "plug-tls"
        )
    else:
        assert found == wanted
        assert len(found) == 3
    assert document["static_tls"]["used"] == document["static_tls"]["used_at_start"]


def test_gdbserver(gdbserver: Callable[..., Gdb]) -> None:
    gdb = gdbserver("tls/host")
    document = gdb.json("plug-tls -threads")
    assert len(document["threads"]) == 4
    assert all(len(t["blocks"]) == 6 for t in document["threads"])
