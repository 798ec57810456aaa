"""plug-links: private fields, other ways to start a program, static programs, documents."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests import judges, oracles
from tests.files import look
from tests.harness import Gdb
from tests.programs import Program
from tests.sessions import Sessions


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_private_fields_are_where_dwarf_says(live: Callable[..., Gdb]) -> None:
    gdb = live("tls/host")
    script = (
        "from gdbext.inferior import Inferior; from gdbext.linker.loaded.modules import read_linker"
    )
    gdb.cmd(f"python {script}")
    gdb.cmd("python linker = read_linker(Inferior())")
    found = eval(gdb.python("vars(linker.layout)"))
    member = judges.layout()
    offsets = {name: where.offset for name, where in member.items()}
    assert found["phdr"] == offsets["l_phdr"]
    assert found["scope"] == offsets["l_scope"]
    assert found["map_start"] == offsets["l_map_start"]
    assert found["tls"] == offsets["l_tls_initimage"]
    assert found["relro"] == offsets["l_relro_addr"]
    assert found["nodelete"] == offsets["l_nodelete_active"]
    assert found["global_bit"] == member["l_global"].bit
    assert member["l_relocated"].bit == found["global_bit"] - 2
    assert member["l_init_called"].bit == found["global_bit"] - 1
    # and what is read of each module is what stands there
    rows = eval(gdb.python("[(m.map.address, m.private._asdict()) for m in linker.modules]"))
    assert len(rows) == 8
    for address, private in rows:
        data = judges.read(gdb, address, offsets["sizeof"] or member["sizeof"].size)

        def field(name: str, at: int = 0, size: int = 8, data: bytes = data) -> int:
            start = offsets[name] + at
            return int.from_bytes(data[start : start + size], "little")

        assert private["libname"] == field("l_libname")
        assert private["loader"] == field("l_loader")
        assert private["phdr"] == field("l_phdr")
        assert private["scopes"] == field("l_scope")
        assert private["searchlist"] == (field("l_searchlist"), field("l_searchlist", 8, 4))
        assert private["local_scope"] == address + offsets["l_searchlist"]
        assert private["initfini"] == field("l_initfini")
        assert private["map_start"] == field("l_map_start")
        assert private["map_end"] == field("l_map_end")
        assert private["open_count"] == field("l_direct_opencount", 0, 4)
        assert private["tls_modid"] == field("l_tls_modid")
        assert private["tls_offset"] & (1 << 64) - 1 == field("l_tls_offset")
        assert private["nodelete"] == bool(field("l_nodelete_active", 0, 1))
        assert private["type"] == field("l_type", 0, 4) & 3
        assert private["file_id"] == (field("l_file_id"), field("l_file_id", 8))


# --------------------------------------------------------------- other ways to start a program


def test_preloaded(sessions: Sessions, program: Callable[[str], Program], tmp_path: Path) -> None:
    chosen = program("dlopens/host")
    output = tmp_path / "ld"
    env = {
        "LD_PRELOAD": str(program("loader/host").folder / "libone.so"),
        "LD_DEBUG": "files",
        "LD_DEBUG_OUTPUT": str(output),
    }
    gdb = sessions.live(chosen, until="loaded", env=env)
    links = gdb.json("plug-links")
    loaded = oracles.read_ld_debug_files(output)
    # LD_DEBUG has the program need it, by the name of LD_PRELOAD and before all else.
    assert (loaded[0].name, loaded[0].how) == (env["LD_PRELOAD"], "needed")
    loaded[0] = replace(loaded[0], how="preloaded")
    judges.judge_links(gdb, chosen, links, loaded)


def test_run_by_the_dynamic_linker(
    sessions: Sessions, native: Callable[[str], Program], tmp_path: Path
) -> None:
    chosen = native("dlopens/host")
    linker = Program("dlopens", oracles.interpreter(chosen.path), "x86_64")
    output = tmp_path / "ld"
    env = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(output)}
    gdb = sessions.live(linker, str(chosen.path), until=None, env=env)
    gdb.until("_Exit")
    links = gdb.json("plug-links")
    loaded = oracles.read_ld_debug_files(output)
    # ld.so maps the program itself here, as it maps a library
    assert loaded[0].name == str(chosen.path)
    chain = links["namespaces"][0]["modules"]
    gone = {"libgone.so"}
    assert [(m["path"], int(m["base"], 16)) for m in chain if m["kind"] == "main"] == [
        (str(chosen.path), loaded[0].base)
    ]
    assert [
        (Path(m["path"]).name, int(m["base"], 16))
        for m in chain
        if m["kind"] in ("needed", "dlopened", "preloaded")
    ] == [(Path(one.name).name, one.base) for one in loaded[1:] if one.name not in gone]
    assert judges.called(links, linker.path.name)["kind"] == "linker"
    assert gdb.json("plug-got")["modules"][0]["path"] == str(chosen.path)


def test_musl_run_by_its_linker(sessions: Sessions, native: Callable[[str], Program]) -> None:
    chosen = Program(
        "dlopens", native("dlopens/host").path.parents[2] / "musl/dlopens/host", "musl"
    )
    linker = Program("dlopens", oracles.interpreter(chosen.path), "musl")
    gdb = sessions.live(linker, str(chosen.path), until=None)
    gdb.until("_Exit")
    links = gdb.json("plug-links")
    main = links["namespaces"][0]["modules"][0]
    assert (main["kind"], main["path"]) == ("main", str(chosen.path))
    assert judges.called(links, "libdeep.so")["kind"] == "dlopened"


STATIC = ["static_pie", "static_fixed", "static_stripped"]


@pytest.mark.parametrize("name", STATIC)
def test_static(name: str, sessions: Sessions, program: Callable[[str], Program]) -> None:
    chosen = program(f"static/{name}")
    gdb = sessions.live(chosen, until=None)
    before = gdb.cmd("plug-links")
    if name == "static_stripped":
        gdb.until(f"*{main_of_twin(chosen.path)}")
    else:
        gdb.until("main")
    links = gdb.json("plug-links")
    listed = [m for m in judges.modules(links) if m["kind"] != "vdso"]
    assert [(m["kind"], Path(m["path"]).name) for m in listed] == [("main", name)]
    file = look(chosen.path)
    base = judges.auxv(gdb)[oracles.AT_ENTRY] - file.entry
    assert int(listed[0]["base"], 16) == base
    assert int(listed[0]["start"], 16) == base + file.start
    assert before.count("\n") == 0
    slots = gdb.json("plug-got")["modules"][0]["slots"]
    assert len(slots) == len(judges.wanted_slots(judges.Object(listed[0], file, base)))
    assert (slots != []) == (file.dynamic is not None)


def main_of_twin(path: Path) -> int:
    """The address of main in the program that was linked alike, without -s."""
    symbols = oracles.nm_symbols(path.with_name("static_fixed"), dynamic=False)
    (value,) = (symbol.value for symbol in symbols if symbol.name == "main")
    assert value
    return value


# ------------------------------------------------------------------------------ ways to connect


@pytest.mark.parametrize("way", ["attach", "gdbserver"])
def test_attached_and_by_gdbserver(
    way: str,
    attach: Callable[..., Gdb],
    gdbserver: Callable[..., Gdb],
    native: Callable[[str], Program],
    tmp_path: Path,
) -> None:
    chosen = native("loader/host")
    output = tmp_path / "ld"
    env = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(output)}
    if way == "attach":
        gdb = attach("loader/host", "global:libtwo.so", "wait", env=env)
    else:
        gdb = gdbserver("loader/host", "global:libtwo.so", until="loaded", env=env)
    links = gdb.json("plug-links")
    # gdbserver has the same environment and writes a file of its own
    told = output.with_name(f"ld.{gdb.pid}").read_text()
    objects = judges.judge_links(gdb, chosen, links, oracles.parse_ld_debug_files(told))
    assert judges.judge_got(gdb, gdb.json("plug-got -all"), objects) > 100
    assert {m["file"] for m in judges.modules(links)} == {"same", "memory"}


# ----------------------------------------------------------------------------------- documents


def test_module_in_full(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host")
    (module,) = gdb.json("plug-links libdeep.so")["namespaces"][0]["modules"]
    every = gdb.json("plug-links")["namespaces"][0]["modules"]
    assert [m for m in every if m["path"] == module["path"]] == [module]
    rows = dict(
        re.findall(r"^  (\S.*?) {2,}(\S.*)$", gdb.cmd("plug-links libdeep.so"), re.MULTILINE)
    )
    assert rows["kind"] == "dlopened"
    assert rows["scope"] == "local, deepbind"
    assert rows["range"] == f"{module['start']} - {module['end']}"
    assert rows["build-id"] == module["build_id"]
    assert rows["opened by"].startswith("unknown: ")


def test_unknown_is_null_with_a_reason(
    sessions: Sessions, native: Callable[[str], Program]
) -> None:
    """musl's linker keeps no private fields where they can be found."""
    path = native("dlopens/host").path.parents[2] / "musl" / "dlopens" / "host"
    gdb = sessions.live(Program("dlopens", path, "musl"), until="loaded")
    for module in judges.modules(gdb.json("plug-links")):
        for key in ("global", "open_count", "deepbind"):
            assert module[key] is None
            assert "could not be located" in module[f"{key}_reason"]
