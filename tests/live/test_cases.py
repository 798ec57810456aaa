"""The cases where every peer is wrong: changed files, odd names, reused pids, memfds, copies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import cores, judges, oracles
from tests.cores import Core
from tests.files import local, look
from tests.harness import Gdb
from tests.programs import BUILDS, Program
from tests.sessions import Sessions

Document = dict[str, Any]


@pytest.fixture
def copied(program: Callable[[str], Program], tmp_path: Path) -> Callable[..., Program]:
    """copied("loader/host"): that program in a copy of its folder, which a test may change."""

    def copy(name: str, folder: str = "copy") -> Program:
        chosen = program(name)
        shutil.copytree(chosen.folder, tmp_path / folder)
        return Program(chosen.scenario, tmp_path / folder / chosen.path.name, chosen.set)

    return copy


def wanted(module: Document, file: Path) -> list[tuple[int, str, str, str]]:
    """The slots that readelf lists for FILE, where MODULE has them."""
    base = int(module["start"], 16) - look(file).start
    return judges.wanted_slots(judges.Object(module, look(file), base))


def shown(gdb: Gdb, name: str) -> list[tuple[int, str, str, str]]:
    """The slots that plug-got shows for the module NAME."""
    (module,) = gdb.json(f"plug-got {name}")["modules"]
    assert module["problem"] is None
    return [
        (int(s["address"], 16), s["type"], s["symbol"] or "", s["version"] or "")
        for s in module["slots"]
    ]


# ------------------------------------------------------------------- files that have changed


def test_replaced_after_it_was_loaded(sessions: Sessions, copied: Callable[..., Program]) -> None:
    chosen = copied("loader/host")
    library = chosen.path.parent / "libone.so"
    original = shutil.copy(library, library.with_name("kept.so"))
    gdb = sessions.live(chosen, "now:libtwo.so", until="loaded")
    before = shown(gdb, "libone.so")
    other = BUILDS / chosen.set / "replaced" / "libv2.so"
    os.replace(shutil.copy(other, library.with_name("new.so")), library)
    links = gdb.json("plug-links")
    module = judges.called(links, "libone.so")
    assert module["file"] == "replaced"
    assert module["build_id"] == look(Path(original)).build_id != look(other).build_id
    assert shown(gdb, "libone.so") == before == wanted(module, Path(original))
    assert [m["file"] for m in judges.modules(links) if m["path"].endswith("libtwo.so")] == ["same"]
    (slot,) = gdb.json("plug-got libtwo.so -symbol one")["modules"][0]["slots"]
    assert (slot["state"], slot["definition"]) == ("bound", "one")
    assert slot["provider"] == str(library)
    text = gdb.cmd("plug-links")
    assert f"{library}: REPLACED on disk since it was loaded; shown from memory" in text
    assert text.count("REPLACED") == 1


def test_deleted_after_it_was_loaded(sessions: Sessions, copied: Callable[..., Program]) -> None:
    chosen = copied("loader/host")
    library = chosen.path.parent / "libone.so"
    gdb = sessions.live(chosen, "now:libtwo.so", until="loaded")
    original = library.rename(library.with_name("kept.so"))
    module = judges.called(gdb.json("plug-links"), "libone.so")
    if gdb.pid:
        assert module["file"] == "deleted"
        assert f"{library}: DELETED since it was loaded" in gdb.cmd("plug-links")
    else:  # nobody tells of what another machine's kernel has mapped
        assert (module["file"], module["file_reason"]) == (None, "its file is not on this machine")
    assert shown(gdb, "libone.so") == wanted(module, original)
    (slot,) = gdb.json("plug-got libtwo.so -symbol one")["modules"][0]["slots"]
    assert (slot["provider"], slot["definition"]) == (str(library), "one")


@pytest.mark.parametrize("change", ["replaced", "deleted"])
def test_core_of_a_library_that_changed(
    change: str, sessions: Sessions, copied: Callable[..., Program], tmp_path: Path
) -> None:
    chosen = copied("replaced/host")
    library = chosen.path.parent / "libv.so"
    core = cores.make_core(tmp_path, chosen, str(library), "crash", stdin="go\n")
    original = library.rename(library.with_name("kept.so"))
    if change == "replaced":
        library.with_name("libv2.so").rename(library)
    gdb = sessions.core(core)
    links = gdb.json("plug-links")
    module = next(m for m in judges.modules(links) if m["path"] == str(library))
    assert module["file"] == ("replaced" if change == "replaced" else None)
    assert ("REPLACED" in gdb.cmd("plug-links")) == (change == "replaced")
    if core.arm64:
        # qemu's cores hold no read-only page: without its file the library is a name and a place.
        (shown_module,) = gdb.json("plug-got libv.so")["modules"]
        assert shown_module["slots"] == []
        assert shown_module["problem"] == module["binding_reason"] != ""
        assert int(module["end"], 16) - int(module["start"], 16) == look(original).end
        return
    if change == "deleted":
        assert module["file_reason"] == "its file is not on this machine"
    assert module["build_id"] == look(original).build_id
    assert shown(gdb, "libv.so") == wanted(module, original)
    (slot,) = gdb.json("plug-got libv.so -symbol abs")["modules"][0]["slots"]
    assert slot["state"] == "bound"
    assert slot["provider"].endswith("/libc.so.6")


# -------------------------------------------------------------------------------- namespaces


def test_one_library_in_three_namespaces(live: Callable[..., Gdb]) -> None:
    gdb = live("namespaces/host")
    links = gdb.json("plug-links")
    found = gdb.json("plug-got libns.so")["modules"]
    assert [module["namespace"] for module in found] == [0, 1, 2]
    places = [{slot["address"] for slot in module["slots"]} for module in found]
    assert len(set.union(*places)) == sum(map(len, places)) > 0
    for module in found:
        own = links["namespaces"][module["namespace"]]["modules"]
        (libc,) = (m for m in own if m["path"].endswith("/libc.so.6"))
        (slot,) = (s for s in module["slots"] if s["symbol"] == "abs")
        if module["namespace"] == 2:  # not called yet
            assert slot["state"] == "lazy"
            continue
        assert (slot["state"], slot["definition"]) == ("bound", "abs")
        assert int(libc["start"], 16) <= int(slot["value"], 16) < int(libc["end"], 16)
    assert gdb.cmd("plug-links").count("Namespace ") == 3


# ----------------------------------------------------------------------------------- names


ODD = [b"a b\"c[d]'e (f)", b"new\nline \x1b[31mred", b"\xff\xfe latin", "größe→".encode()]


@pytest.mark.parametrize("name", ODD, ids=["quotes", "control", "bytes", "utf8"])
def test_odd_names(
    name: bytes, sessions: Sessions, program: Callable[[str], Program], tmp_path: Path
) -> None:
    chosen = program("loader/host")
    folder = tmp_path / "odd"
    folder.mkdir()
    library = folder / os.fsdecode(name + b".so")
    shutil.copy(chosen.folder / "libone.so", library)
    if chosen.arm64:
        gdb = sessions.live(chosen, f"now:{library}", until="loaded")
    else:  # GDB hands the arguments to a shell, and pexpect knows no other bytes than UTF-8
        octal = "".join(f"\\{byte:03o}" for byte in f"now:{folder}/".encode() + name + b".so")
        gdb = sessions.live(chosen, until="loaded", before=[f"set args \"$(printf '{octal}')\""])
    document = gdb.json("plug-links -search")
    module = document["namespaces"][0]["modules"][-1]
    wanted_path = os.fsencode(library).decode("utf-8", "backslashreplace")
    assert (module["path"], module["name"]) == (wanted_path, wanted_path)
    assert (module["kind"], module["file"], module["search"]) == ("dlopened", "same", "path")
    (slots,) = gdb.json("plug-got odd/")["modules"]
    assert slots["path"] == wanted_path
    file = look(chosen.folder / "libone.so")
    one = judges.Object(module, file, int(module["start"], 16))
    judges.judge_module_slots(gdb, one, slots, judged_objects(gdb, document, one))
    for command in ("plug-links", "plug-links odd/", "plug-got odd/", "plug-got -all"):
        text = gdb.cmd(command)
        assert text.isprintable() or not set(text) - set("\n") & set(map(chr, range(32)))
        escaped = wanted_path.replace("\n", "\\n").replace("\x1b", "\\x1b")
        assert escaped in text


def judged_objects(gdb: Gdb, links: Document, odd: judges.Object) -> list[judges.Object]:
    """The modules of the base namespace with their files; ODD stands for the odd one."""
    return [
        judges.Object(m, look(local(m["path"], gdb.arm64)), int(m["base"], 16))
        for m in links["namespaces"][0]["modules"][:-1]
        if m["kind"] != "vdso"
    ] + [odd]


def test_core_below_an_odd_folder(
    sessions: Sessions, copied: Callable[..., Program], tmp_path: Path
) -> None:
    chosen = copied("nullcall/host", "a b\"c[d]'e {f}")
    core = cores.make_core(tmp_path, chosen)
    gdb = sessions.core(core)
    links = gdb.json("plug-links")
    assert judges.called(links, "host")["path"] == str(chosen.path)
    module = judges.called(links, "libplugin.so")
    assert module["path"] == str(chosen.path.parent / "libplugin.so")
    assert module["file"] == "same"
    assert shown(gdb, "libplugin.so") == wanted(module, Path(module["path"]))


# ------------------------------------------------------------------------------------ memfd


def judge_memfd(gdb: Gdb, program: Program, links: Document, live: bool) -> None:
    module = next(m for m in judges.modules(links) if m["name"].startswith("/proc/self/fd/"))
    assert module["kind"] == "dlopened"
    library = program.path.parent / "libplugin.so"
    assert module["build_id"] == look(library).build_id
    if live and gdb.pid:
        assert module["file"] == "memory"
        maps = [m for m in oracles.proc_maps(gdb.pid) if m.path.startswith("/memfd:library")]
        assert maps[0].start == int(module["start"], 16)
    assert shown(gdb, "/fd/") == wanted(module, library)
    slots = {s["symbol"]: s for s in gdb.json("plug-got /fd/")["modules"][0]["slots"]}
    assert (slots["abs"]["state"], slots["abs"]["definition"]) == ("bound", "abs")
    assert slots["rand"]["state"] == "lazy"


def test_memfd(sessions: Sessions, program: Callable[[str], Program]) -> None:
    chosen = program("memfd/host")
    gdb = sessions.live(chosen, until="loaded", before=["set sysroot /nonexistent"])
    judge_memfd(gdb, chosen, gdb.json("plug-links"), live=True)


def test_memfd_in_a_core(
    sessions: Sessions, program: Callable[[str], Program], core: Callable[..., Core]
) -> None:
    chosen = program("memfd/host")
    made = core("memfd/host", "crash")
    files = [f"file {made.program}", f"core-file {made.path}"]
    gdb = sessions.gdb(arm64=made.arm64, before=["set sysroot /nonexistent", *files])
    links = gdb.json("plug-links")
    if not made.arm64:
        judge_memfd(gdb, chosen, links, live=False)
        return
    # qemu's core has the library's data and no more: that it is there, and where, is all
    module = next(m for m in judges.modules(links) if m["name"].startswith("/proc/self/fd/"))
    dynamic = look(chosen.path.parent / "libplugin.so").dynamic
    assert int(module["dynamic"], 16) - int(module["base"], 16) == dynamic
    assert (module["kind"], module["start"], module["file"]) == ("dlopened", module["base"], None)
    assert module["binding_reason"] == gdb.json("plug-got /fd/")["modules"][0]["problem"]
