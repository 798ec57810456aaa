"""plug-got: TLS and IFUNC slots, GOT[0..2], lazy slots before and after a call, options, text."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import judges
from tests.files import local, look, section, word
from tests.harness import Gdb
from tests.programs import Program

Document = dict[str, Any]
LIBC = Path("/lib/x86_64-linux-gnu/libc.so.6")


def slots_of(gdb: Gdb, module: str) -> list[Document]:
    """The slots of the one module that is called MODULE."""
    (found,) = gdb.json(f"plug-got {module}")["modules"]
    slots: list[Document] = found["slots"]
    return slots


def slot_of(gdb: Gdb, module: str, symbol: str, kind: str = "") -> Document:
    """The one slot of MODULE for SYMBOL."""
    (found,) = (
        s for s in slots_of(gdb, module) if s["symbol"] == symbol and s["type"].endswith(kind)
    )
    return found


# ------------------------------------------------------------------------------------ kinds


def test_tls_slots_lead_to_who_has_the_variable(live: Callable[..., Gdb]) -> None:
    gdb = live("tls/host")
    links = gdb.json("plug-links")
    numbers = {m["path"]: m["tls_module_id"] for m in judges.modules(links)}
    files = {
        m["path"]: local(m["path"], gdb.arm64) for m in judges.modules(links) if m["kind"] != "vdso"
    }
    definers: dict[str, set[str]] = {}
    for path, file in files.items():
        for names in judges.exported(file).values():
            for name in names:
                definers.setdefault(name, set()).add(path)
    seen: dict[str, set[str]] = {}
    for module in gdb.json("plug-got -all")["modules"]:
        for slot in module["slots"]:
            if not judges.TLS.search(slot["type"]):
                continue
            seen.setdefault(os.path.basename(module["path"]), set()).add(slot["type"])
            assert slot["state"] == "bound", slot
            assert slot["definition"] == slot["symbol"]
            if slot["symbol"] is None:
                assert slot["provider"] == module["path"], slot
            else:
                assert slot["provider"] in definers[slot["symbol"]], slot
            if "DTPMOD" in slot["type"]:
                assert int(slot["value"], 16) == numbers[slot["provider"]] > 0
    assert {name for name in seen if name.startswith("libtls")} == {
        "libtlsgd.so", "libtlsie.so", "libtlsdesc.so", "libtlsld.so",
    }  # fmt: skip
    assert any("TLSDESC" in kind for kind in seen["libtlsdesc.so"])


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_static_tls_offsets_are_those_of_the_variables(live: Callable[..., Gdb]) -> None:
    gdb = live("tls/host")
    for name in ("initialised_ie", "zeroed_ie"):
        value = int(slot_of(gdb, "libtlsie.so", name)["value"], 16)
        asked = f"int(gdb.parse_and_eval('(long)&{name}')) - int(gdb.parse_and_eval('$fs_base'))"
        assert value - (1 << 64) == int(gdb.python(asked))


def test_tls_slots_as_text(live: Callable[..., Gdb]) -> None:
    gdb = live("tls/host")
    rows = gdb.cmd("plug-got -all").splitlines()
    ends = {
        r"(TPOFF64|TLS_TPREL) .* libtlsie\.so TLS zeroed_ie",
        r"(TLS_)?DTPMOD(64)? .* libtlsld\.so TLS",
        r"TLSDESC .* libtlsdesc\.so TLS zeroed_desc",
    }
    assert all(any(re.search(f"{end}$", row) for row in rows) for end in ends), rows
    offsets = [m[1] for row in rows if (m := re.search(r"libc\.so\.6 TLS\+(0x[0-9a-f]+)$", row))]
    block = look(local("/lib/libc.so.6", gdb.arm64) if gdb.arm64 else LIBC).tls
    assert block
    assert len(offsets) > 5
    assert all(int(offset, 16) < block[1] for offset in offsets)


def test_irelative_slots_that_share_a_resolver(live: Callable[..., Gdb]) -> None:
    gdb = live("ifunc/host")
    found = [s for s in slots_of(gdb, "libifunc.so") if s["type"].endswith("_IRELATIVE")]
    assert len(found) == 2
    assert len({slot["address"] for slot in found}) == 2
    two = int(gdb.python("int(gdb.parse_and_eval('(long)&two'))"))
    for slot in found:
        assert (slot["symbol"], slot["state"]) == (None, "bound")
        assert int(slot["value"], 16) == two
        assert slot["provider"].endswith("/libifunc.so")
        assert slot["definition"] == "two"


# ------------------------------------------------------------------------------------ header


@pytest.mark.parametrize("name", ["dlopens/host", "relro/host", "cet/host"])
def test_got_header(name: str, live: Callable[..., Gdb]) -> None:
    gdb = live(name)
    links = gdb.json("plug-links")
    link_maps = {m["path"]: m["link_map"] for m in judges.modules(links)}
    resolvers = set()
    for module in gdb.json("plug-got -all")["modules"]:
        if module["path"] not in link_maps or "vdso" in module["path"]:
            continue
        shown = judges.called(links, os.path.basename(module["path"]))
        file = look(local(module["path"], gdb.arm64))
        header = module["got_header"]
        assert (header is None) == (file.pltgot is None)
        assert file.dynamic is not None
        address = int(shown["base"], 16) + (file.pltgot or 0)
        assert int(header["address"], 16) == address
        words = [int(value, 16) for value in header["values"]]
        memory = judges.read(gdb, address, 24)
        assert words == [word(memory, at) for at in (0, 8, 16)]
        assert words[0] == (0 if gdb.arm64 else file.dynamic)
        lazy = shown["binding"] == "lazy"
        assert (words[1] == int(link_maps[module["path"]], 16)) == lazy
        assert (words[2] != 0) == lazy
        resolvers |= {words[2]} - {0}
    linker = next(m for m in judges.modules(links) if m["kind"] == "linker")
    (resolver,) = resolvers
    assert int(linker["start"], 16) <= resolver < int(linker["end"], 16)


# ------------------------------------------------------------------------------------- lazy


LAZY = [
    ("relro/host", "libpartial.so", "abs"),
    ("cet/host", "libplugin.so", "rand"),
    ("highbase/host", "libplugin.so", "abs"),
]


@pytest.mark.parametrize(("name", "library", "symbol"), LAZY)
def test_lazy_before_the_first_call_and_bound_after(
    name: str, library: str, symbol: str, live: Callable[..., Gdb]
) -> None:
    gdb = live(name, until=None)
    gdb.cmd("set stop-on-solib-events 1")
    while not re.search(rf"\b{re.escape(library)}\b", said := gdb.cmd("plug-links")):
        assert "exited" not in gdb.cmd("continue"), said
    gdb.cmd("set stop-on-solib-events 0")
    gdb.until("plugin_run" if library == "libplugin.so" else "dlsym")
    slot = slot_of(gdb, library, symbol, "_JUMP_SLOT")
    assert (slot["state"], slot["provider"], slot["definition"]) == ("lazy", None, None)
    module = judges.called(gdb.json("plug-links"), library)
    file = local(module["path"], gdb.arm64)
    plt = section(file, ".plt")
    assert plt
    place = int(slot["value"], 16) - int(module["base"], 16)
    assert plt[0] <= place < plt[1]
    if gdb.arm64:
        assert place == plt[0], "every lazy slot leads to PLT0"
    elif section(file, ".plt.sec"):
        assert (place - plt[0]) % 16 == 0, "an IBT PLT: the start of the entry"
    else:
        assert (place - plt[0]) % 16 == 6, "behind the jump of the entry"
    gdb.until("_Exit")
    slot = slot_of(gdb, library, symbol, "_JUMP_SLOT")
    assert (slot["state"], slot["definition"]) == ("bound", symbol)
    assert slot["provider"].endswith("/libc.so.6")


def test_nothing_dangles_while_ld_so_is_at_work(live: Callable[..., Gdb]) -> None:
    gdb = live("relro/host", until=None)
    gdb.cmd("set stop-on-solib-events 1")
    states = set()
    while "exited" not in gdb.cmd("continue"):
        said = gdb.cmd("plug-got -all -json")
        if said.startswith("{"):
            found = [s for m in json.loads(said)["modules"] for s in m["slots"]]
            states |= {slot["state"] for slot in found}
            unread = [s for s in found if s["state"] is None]
            why = ("not relocated", "the dynamic linker is at work")
            assert all(any(text in slot["reason"] for text in why) for slot in unread)
    assert "dangling" not in states
    assert {"bound", "lazy", "null", None} == states


# ---------------------------------------------------------------------------------- options


def test_symbol_option(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host")
    every = [
        (module["path"], slot)
        for module in gdb.json("plug-got -all")["modules"]
        for slot in module["slots"]
    ]
    for asked in ("dep_value", "__cxa_finalize"):
        found = gdb.json(f"plug-got -symbol {asked}")["modules"]
        shown = [(m["path"], slot) for m in found for slot in m["slots"]]
        assert shown == [(path, slot) for path, slot in every if slot["symbol"] == asked]
        assert len(shown) > 1
    version = next(slot["version"] for _, slot in every if slot["symbol"] == "malloc")
    same = gdb.json(f"plug-got -symbol malloc@{version} -all")["modules"]
    assert [slot for m in same for slot in m["slots"]] == [
        slot for _, slot in every if (slot["symbol"], slot["version"]) == ("malloc", version)
    ]
    assert gdb.cmd("plug-got -symbol malloc@NONE_1") == (
        "plug-got: no slot for the symbol 'malloc@NONE_1'"
    )
    assert gdb.cmd("plug-got -symbol nobody") == "plug-got: no slot for the symbol 'nobody'"


def test_verdict_option(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host")
    every = gdb.json("plug-got -all")
    slots = [slot for m in every["modules"] for slot in m["slots"]]
    assert {slot["verdict"] for slot in slots} == {"ok"}
    found = gdb.json("plug-got -all -verdict ok")["modules"]
    assert [slot for module in found for slot in module["slots"]] == slots
    for verdict in ("redirected", "stale", "dangling", "unverified"):
        found = gdb.json(f"plug-got -all -verdict {verdict}")["modules"]
        assert [slot for module in found for slot in module["slots"]] == []
    assert gdb.cmd("plug-got -verdict wrong").startswith("plug-got: 'wrong' is no verdict")


def test_module_selection(live: Callable[..., Gdb], program: Callable[[str], Program]) -> None:
    gdb = live("dlopens/host")
    host = str(program("dlopens/host").path)
    library = str(program("dlopens/host").folder / "liblazy.so")

    def shown(arguments: str) -> list[str]:
        return [module["path"] for module in gdb.json(f"plug-got {arguments}")["modules"]]

    assert shown("") == [host]
    assert shown("liblazy.so") == shown("liblazy") == shown(library) == [library]
    assert len(shown("dlopens/lib")) == 7
    listed = judges.modules(gdb.json("plug-links"))
    assert shown("-all") == [module["path"] for module in listed]
    assert gdb.cmd("plug-got nothing") == (
        "plug-got: no loaded module has 'nothing' in its path; plug-links lists them"
    )
    assert "usage" not in gdb.cmd("plug-got -wrong")
    assert gdb.cmd("plug-got a b").startswith("plug-got: ")


def test_out_option(live: Callable[..., Gdb], tmp_path: Path) -> None:
    gdb = live("dlopens/host")
    for command in ("plug-got -all", "plug-links -search"):
        file = tmp_path / "out put"
        assert gdb.cmd(f"{command} -json -out '{file}'") == ""
        assert json.loads(file.read_text()) == gdb.json(command)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert gdb.cmd(f"{command} --out '{file}'") == ""
        assert file.read_text().rstrip("\n") == gdb.cmd(command)
        file.unlink()
    before = sorted(tmp_path.iterdir())
    assert gdb.cmd(f"plug-got -out {tmp_path}/no/file").startswith("plug-got: cannot write")
    assert gdb.cmd(f"plug-got -symbol nobody -out {tmp_path}/none").startswith("plug-got: no slot")
    assert sorted(tmp_path.iterdir()) == before


def test_grammar_and_columns(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host")
    one = gdb.cmd("plug-got liblazy.so -symbol dep_value")
    assert ": 1 slot (1 bound)" in one
    assert "\n1 slot in 1 module: all ok" in one
    for width, columns in (("80", False), ("160", True)):
        gdb.cmd(f"set width {width}")
        gdb.cmd("set height 0")
        text = gdb.cmd("plug-links")
        assert ("build-id" in text) == columns
        assert all(len(line) <= int(width) for line in text.splitlines()), text
        assert ("value" in gdb.cmd("plug-got liblazy.so").splitlines()[2].split()) == columns
