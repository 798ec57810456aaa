"""plug-watch: what stops and what does not, what is said, and where it cannot be done."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.harness import Batch, Gdb
from tests.live.test_commands import complete
from tests.programs import Program, marker

HIT = re.compile(r"^\[gdbext\] watchpoint \d+: the slot of (\S+) in (\S+) was written$", re.M)
on_x86_64 = pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)


def watch(gdb: Gdb, arguments: str) -> int:
    """The number of the watchpoint that plug-watch ARGUMENTS sets."""
    (one,) = gdb.json(f"plug-watch {arguments}")["watches"]
    number: int = one["number"]
    return number


def stops_until_exit(gdb: Gdb) -> list[str]:
    """What GDB says at each stop, by `continue` until the program has ended."""
    said = []
    while not re.search(r"^\[Inferior .* exited", text := gdb.cmd("continue"), re.M):
        said.append(text)
        assert len(said) < 20
    return said


@on_x86_64
def test_binding_goes_on_and_other_writes_stop(live: Callable[..., Gdb]) -> None:
    """A slot bound by another thread, overwritten twice; dlclose, and dlopen with RTLD_NOW."""
    gdb = live("watch/host", until="opened")
    watch(gdb, "abs -in libplugin.so")
    first, second, third, fourth = stops_until_exit(gdb)
    for said in (first, second, third, fourth):
        assert HIT.search(said), said
        assert "written by host+" in said
        assert re.search(r"written by host\+0x[0-9a-f]+ overwrite \(host\.c:\d+\)", said)
        assert re.search(r"#1 .* cycle host\.c:\d+\n  #2 .* main host\.c", said)
    assert re.search(r"before +0x[0-9a-f]+: libc\.so\.6\+\S+ abs ", first)
    assert re.search(r"now +0x[0-9a-f]+: libc\.so\.6\+\S+ labs ", first)
    assert "verdict    redirected: ld.so's lookup leads to" in first
    assert "\n  verdict    ok\n" in second, "the right value, but not by ld.so"
    assert "redirected" in third
    assert gdb.output().split()[-1] == "loaded"


@on_x86_64
def test_the_line_that_wrote(live: Callable[..., Gdb]) -> None:
    gdb = live("watch/host", until="opened")
    watch(gdb, "abs -in libplugin")
    said = gdb.cmd("continue")
    place, line = marker("watch", "overwriting").split(":")
    assert f"({place.partition('/')[2]}:{line})" in said


@on_x86_64
@pytest.mark.parametrize("resume", ["next", "finish", "until", "advance"])
def test_a_step_ends_where_it_would_end_without(live: Callable[..., Gdb], resume: str) -> None:
    """`next` and the like go over ld.so's write of a watched slot."""
    said = []
    for watched in (False, True):
        gdb = live("watch/host", until="opened")
        if watched:
            watch(gdb, "abs -in libplugin.so")
        gdb.until("plugin_run")
        gdb.cmd("set scheduler-locking on")
        answer = gdb.cmd(f"{resume} {'work' if resume == 'advance' else ''}")
        assert "watchpoint" not in answer
        said.append(re.sub(r"\(LWP \d+\)|0x[0-9a-f]+", "", answer))
    assert said[0] == said[1]


@on_x86_64
def test_relocation_is_ld_sos_own(live: Callable[..., Gdb]) -> None:
    """Watched when the library is mapped and not relocated yet (glibc up to 2.36)."""
    gdb = live("watch/host", until="start")
    gdb.cmd("set plug stop-on-dlopen libplugin")
    assert "is mapped" in gdb.cmd("continue")
    watch(gdb, "abs -in libplugin.so")
    gdb.cmd("set plug stop-on-dlopen off")
    said = stops_until_exit(gdb)
    assert len(said) == 4
    assert all("written by host+" in one for one in said)


@on_x86_64
@pytest.mark.parametrize("now", [False, True])
def test_another_run(live: Callable[..., Gdb], now: bool) -> None:
    """The program's own slots are relocated anew, and no stop comes of it."""
    env = {"LD_BIND_NOW": "1"} if now else {}
    gdb = live("audit/host", until="start", env=env)
    number = watch(gdb, "abs")
    for _ in range(2):
        said = gdb.cmd("run")
        assert "exited normally" in said
        assert "watchpoint" not in said
    gdb.until(marker("audit", "loaded"), "run")
    (one,) = gdb.json("plug-watch")["watches"]
    assert (one["number"], one["loaded"], one["slot"]["state"]) == (number, True, "bound")


@on_x86_64
def test_another_run_at_another_address(live: Callable[..., Gdb]) -> None:
    gdb = live("audit/host", until="start")
    number = watch(gdb, "abs")
    gdb.cmd("set disable-randomization off")
    said = gdb.until(marker("audit", "start"), "run")
    assert f"watchpoint {number} on abs@GLIBC_2.2.5 in host is deleted: its module is at" in said
    assert gdb.json("plug-watch")["watches"] == []


@on_x86_64
def test_an_unloaded_library(live: Callable[..., Gdb]) -> None:
    gdb = live("watch/host", until="opened")
    number = watch(gdb, "abs -in libplugin.so")
    gdb.cmd(f"disable {number}")
    said = gdb.until(marker("watch", "closed"))
    assert f"watchpoint {number} on abs@GLIBC_2.2.5 in libplugin.so is deleted: its module was" in (
        said
    )
    assert "No slot is watched" in gdb.cmd("plug-watch")
    assert "No breakpoints" in gdb.cmd("info breakpoints")


@on_x86_64
@pytest.mark.parametrize("audit", ["libsymbind.so", "libpltenter.so", "libhook.so"])
def test_audit_modules(
    live: Callable[..., Gdb], program: Callable[[str], Program], audit: str
) -> None:
    """What a hook makes ld.so write is not what its lookup gives."""
    path = program("audit/host").folder / audit
    gdb = live("audit/host", until="start", env={"LD_AUDIT": str(path)})
    watch(gdb, "abs")
    said = stops_until_exit(gdb)
    assert len(said) == (audit == "libhook.so")
    for one in said:
        assert re.search(r"now +0x[0-9a-f]+: libhook\.so\+\S+ hook", one)
        assert "verdict    redirected: ld.so's lookup leads to" in one
        assert "written by ld-linux-x86-64.so.2+" in one
        assert re.search(r"#2 .* compare host\.c:\d+", one)


def test_over_gdbserver(gdbserver: Callable[..., Gdb]) -> None:
    gdb = gdbserver("watch/host", until="opened")
    watch(gdb, "abs -in libplugin.so")
    said = gdb.cmd("continue")
    assert "verdict    redirected" in said
    assert "written by host+" in said


def test_in_a_batch(native: Callable[[str], Program], batch: Callable[..., Batch]) -> None:
    host = native("watch/host")
    commands = ("set breakpoint pending on", f"tbreak {marker('watch', 'opened')}", "run",
                "plug-watch abs -in libplugin.so", "continue", "plug-watch", "kill")  # fmt: skip
    done = batch(*(word for command in commands for word in ("-ex", command)), str(host.path))
    assert done.status == 0
    assert len(HIT.findall(done.stdout)) == 1
    assert re.search(
        r"^  2 +0x\w+ +bound +redirected +abs@GLIBC_2.2.5 in libplug", done.stdout, re.M
    )


@on_x86_64
def test_which_slot(live: Callable[..., Gdb]) -> None:
    gdb = live("watch/host", until="opened")
    slots = {
        s["symbol"]: s["address"] for s in gdb.json("plug-got libplugin.so")["modules"][0]["slots"]
    }
    for wrong, answer in (
        ("nosuch", "no module has a slot for that symbol, and as an address: "),
        ("abs", "no slot for 'abs' in host, but in libplugin.so; name it with -in"),
        ("abs@GLIBC_9 -in libplugin.so", "no slot for the symbol 'abs@GLIBC_9' in libplugin.so"),
        ("main", "is no GOT slot; plug-got lists them"),
        ("0x10", "0x10 is no GOT slot"),
        ("abs -in nosuch", "no loaded module has 'nosuch' in its path"),
        ("-in libplugin.so", "-in says where to look for a symbol, and there is none"),
        ("__cxa_finalize -in /", "slots for __cxa_finalize: 0x"),
    ):
        said = gdb.cmd(f"plug-watch {wrong}")
        assert said.startswith("plug-watch: "), said
        assert answer in said
        assert "\n" not in said
    assert gdb.json("plug-watch")["watches"] == []
    (one,) = gdb.json(f"plug-watch '{slots['abs']} + 0'")["watches"]
    assert one["address"] == slots["abs"]
    assert (one["slot"]["symbol"], one["slot"]["state"], one["verdict"]) == ("abs", "lazy", "ok")
    assert "watches this slot already" in gdb.cmd(f"plug-watch {slots['abs']}")
    gdb.cmd(f"delete {one['number']}")
    assert gdb.json("plug-watch")["watches"] == []
    text = gdb.cmd("plug-watch abs@GLIBC_2.2.5 -in libplugin.so")
    assert re.fullmatch(
        r"Watchpoint \d+: abs@GLIBC_2\.2\.5 in libplugin\.so, slot 0x\w+; it holds 0x\w+, lazy: ok",
        text,
    )


@on_x86_64
def test_completion(live: Callable[..., Gdb]) -> None:
    gdb = live("watch/host", until="opened")
    assert "dlsym" in complete(gdb, "plug-watch dl")
    assert complete(gdb, "plug-watch -in libplugin.so a") == ["abs"]
    assert complete(gdb, "plug-watch abs -in libpl") == ["libplugin.so"]
    assert complete(gdb, "plug-watch -") == ["-in", "-json", "-out"]


@on_x86_64
def test_no_hardware(live: Callable[..., Gdb]) -> None:
    gdb = live("audit/host", until="start")
    gdb.cmd("set can-use-hw-watchpoints 0")
    assert gdb.cmd("plug-watch abs").startswith("plug-watch: GDB offers no hardware watchpoint")
    gdb.cmd("set can-use-hw-watchpoints 1")
    assert "No breakpoints or watchpoints" in gdb.cmd("info breakpoints").replace(
        ", watchpoints, tracepoints, or catchpoints", " or watchpoints"
    )
    for symbol in ("abs", "labs", "qsort", "setvbuf"):
        watch(gdb, symbol)
    said = gdb.cmd("plug-watch printf")
    assert said.startswith("plug-watch: no hardware watchpoint is left (4 in use); GDB says: ")
    assert len(gdb.json("plug-watch")["watches"]) == 4
    assert "mode is off" in gdb.cmd("show breakpoint always-inserted")
    assert "auto" in gdb.cmd("show language")
    assert "exited normally" in gdb.cmd("continue")


@pytest.mark.parametrize("cpu", [pytest.param("aarch64", marks=pytest.mark.arm64)], indirect=True)
def test_qemu_user_has_none(live: Callable[..., Gdb]) -> None:
    gdb = live("watch/host", until="opened")
    said = gdb.cmd("plug-watch abs -in libplugin.so")
    assert said.startswith("plug-watch: this target has no hardware watchpoints (qemu-user")
    assert "No " in gdb.cmd("info breakpoints"), "GDB would fail at each step for one"
    gdb.until(marker("watch", "called"))


@on_x86_64
def test_a_core_has_none(open_core: Callable[..., Gdb]) -> None:
    gdb = open_core("nullcall/host")
    assert gdb.cmd("plug-watch dlsym").startswith("plug-watch: a core does not run")


@on_x86_64
def test_sourced_again(live: Callable[..., Gdb]) -> None:
    """The watchpoint goes on working, and is not doubled."""
    gdb = live("watch/host", until="opened")
    watch(gdb, "abs -in libplugin.so")
    gdb.cmd("source gdbext")
    assert len(gdb.json("plug-watch")["watches"]) == 1
    assert len(HIT.findall(gdb.cmd("continue"))) == 1
