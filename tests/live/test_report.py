"""plug-report: cause first, then everything around it; live, on cores, and without a crash."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cores import Core
from tests.harness import Batch, Gdb

PARTS = ("links", "conflicts", "threads", "tls")


def judge_null_call(document: dict[str, Any]) -> None:
    """The crash of testprogs/nullcall."""
    assert document["cause"]["rule"] == "null_slot"
    assert "optional_feature" in document["cause"]["text"]
    assert document["cause"] == document["causes"][0]
    assert document["signal"] == "SIGSEGV"
    assert document["crash_frame"]["symbol"] == "plugin_run"
    assert Path(document["crash_frame"]["module"]).name == "libplugin.so"
    modules = [Path(frame["module"] or "").name for frame in document["frames"]]
    assert modules[:3] == ["", "libplugin.so", "host"]
    assert not any(frame["unloaded"] for frame in document["frames"])
    assert document["got"]["slots"] > 10
    assert document["got"]["modules"] == []
    (near,) = document["slots_near_call"]
    assert (near["how"], near["slot"]["symbol"]) == ("call", "optional_feature")
    assert (near["slot"]["state"], near["verdict"]) == ("null", "ok")
    assert "weak reference" in document["next_step"]
    assert (document["missing"], document["unloaded"]) == ([], [])
    assert all(document[part] for part in PARTS)


def test_a_crash_live(live: Callable[..., Gdb]) -> None:
    gdb = live("nullcall/host", until="SIGSEGV")
    document = gdb.json("plug-report")
    judge_null_call(document)
    assert document["links"] == gdb.json("plug-links")
    assert document["conflicts"] == gdb.json("plug-conflicts")
    registers = {row["name"]: row for row in gdb.json("plug-regs")["registers"]}
    assert document["registers"] == [registers[row["name"]] for row in document["registers"]]
    versions = document["versions"]
    assert gdb.cmd("show version").splitlines()[0].endswith(f" {versions['gdb']}")
    assert (versions["libc"], versions["cpu"]) == (
        "glibc",
        "aarch64" if gdb.arm64 else "x86-64",
    )
    for width in (80, 160):
        gdb.cmd(f"set width {width}")
        text = gdb.cmd("plug-report")
        assert text.startswith("[gdbext] SIGSEGV: libplugin.so called optional_feature, whose GOT")
        titles = ("Frames:", "Registers:", "Slots that are not ok:", "Threads:", "Modules:")
        places = [text.index(f"\n{title}") for title in titles]
        assert places == sorted(places)
        assert max(map(len, text.splitlines())) <= width


def test_a_crash_in_a_core(
    core: Callable[..., Core],
    open_core: Callable[..., Gdb],
    batch: Callable[..., Batch],
    tmp_path: Path,
) -> None:
    made = core("nullcall/host")
    talk = tmp_path / "talk"
    talk.write_text("warning: 44\t./nptl/it.c: No such file or directory\nwarning: odd note\n")
    document = open_core(made).json(f"plug-report -talk {talk}")
    assert document["warnings"] == ["odd note"]
    if not made.arm64:  # qemu's cores hold no thread pointer and fewer mappings
        judge_null_call(document)
    assert document["target"] == "core"
    assert document["signal"] == "SIGSEGV"
    # a batch post-mortem is one last command, and its document is all of its output
    done = batch("-ex", "plug-report -json", f"--core={made.path}", arm64=made.arm64)
    assert done.status == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["schema"] == "gdbext/report/1"


def test_a_slot_that_was_redirected(live: Callable[..., Gdb]) -> None:
    gdb = live("hijack/host")
    found = gdb.json("plug-got -all -verdict ok")["modules"]
    slot = next(
        s for m in found for s in m["slots"] if s["type"].endswith("JUMP_SLOT") and s["provider"]
    )
    elsewhere = gdb.python("hex(int(gdb.parse_and_eval('(long)&main')))")
    gdb.cmd(f"set var *(unsigned long *) {slot['address']} = {elsewhere}")
    document = gdb.json("plug-report")
    assert (document["signal"], document["cause"]) == (None, None)
    (module,) = document["got"]["modules"]
    assert [(s["address"], s["verdict"]) for s in module["slots"]] == [
        (slot["address"], "redirected")
    ]
    assert slot["address"] in gdb.cmd("plug-report")


def test_a_plain_crash_names_no_cause(live: Callable[..., Gdb]) -> None:
    gdb = live("fpe/host", until="SIGFPE")
    document = gdb.json("plug-report")
    assert (document["cause"], document["causes"]) == (None, [])
    assert document["signal"] == "SIGFPE"
    lines = gdb.cmd("plug-report").splitlines()
    assert next(line for line in lines if line.startswith("  cause ")).split()[1] == "unknown:"
    own = [f for f in document["frames"] if not (f["module"] or "libc.").count("libc.")]
    frame = own[0]  # the first outside of the C library
    where = f"{frame['symbol']} of {Path(frame['module']).name}"
    look = next(line for line in lines if line.startswith("  look at "))
    assert f"frame #{frame['level']} first, {where}; in GDB: frame {frame['level']}," in look


def test_cxx_names(live: Callable[..., Gdb], tmp_path: Path) -> None:
    """As the tables have them, and as people write them: for every reader that cannot demangle."""
    gdb = live("cxx/host", until="plain")
    page = tmp_path / "page.html"
    document = gdb.json(f"plug-report -html {page}")
    frame = document["frames"][0]
    assert frame["symbol"].startswith("_ZN5media5Plain6decode")
    assert frame["demangled"].startswith("media::Plain::decode(")
    assert document["frames"][-1]["demangled"] is None
    (stack,) = document["threads"]["stacks"]  # debug info has a name of its own
    assert (stack[0]["symbol"], stack[0]["demangled"]) == ("media::Plain::decode", None)
    assert "media::Plain::decode(" in page.read_text()


def test_no_process(gdb: Callable[..., Gdb]) -> None:
    assert gdb().cmd("plug-report").startswith("plug-report: no process")
