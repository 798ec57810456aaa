"""plug-threads: start routines, plugin frames, unloaded frames, loader locks, the deadlock."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cores import Core
from tests.harness import Gdb, load_gdbext
from tests.programs import Program
from tests.sessions import Sessions


def started(thread: dict[str, Any]) -> tuple[str, str] | None:
    start = thread["started_by"]
    return (Path(start["module"]).name, start["symbol"]) if start else None


def check_deadlock(gdb: Gdb, certain: bool) -> None:
    """Thread by thread, judged by what the two sources say that they do."""
    facts = gdb.json("plug-threads")
    by_start = {started(t): t for t in facts["threads"]}
    assert set(by_start) == {None, ("host", "watch"), ("libplugin.so", "start_up")}
    holder, starter = by_start[None], by_start["libplugin.so", "start_up"]
    assert (holder["is_main"], holder["holds"]) == (True, ["_dl_load_lock"])
    assert starter["waits_for"]["lock"] == "_dl_load_lock"
    assert starter["waits_for"]["thread"] == holder["number"]
    assert holder["waits_for"]["kind"] == ("thread" if certain else "futex")
    assert {holder["syscall"]["name"], starter["syscall"]["name"]} == {"futex"}
    lock = facts["locks"][0]
    assert (lock["name"], lock["held"], lock["owner_lwp"]) == ("_dl_load_lock", True, holder["lwp"])
    assert not any(one["held"] for one in facts["locks"][1:])
    (deadlock,) = facts["deadlocks"]
    assert deadlock["certain"] is certain
    assert deadlock["threads"] == [holder["number"], starter["number"]]
    text = gdb.cmd("plug-threads")
    head = "Deadlock: " if certain else "Perhaps a deadlock: "
    assert text.startswith(f"{head}thread {holder['number']}")
    assert re.search(r"runs the constructor libplugin\.so\+0x[0-9a-f]+ begin inside dlopen", text)
    if certain:
        assert f"waits for the end of thread {starter['number']}" in text


def check_selection(gdb: Gdb) -> None:
    assert int(gdb.python("gdb.selected_thread().num")) == 1
    assert int(gdb.python("gdb.selected_frame().level()")) == 1


def test_deadlock(live: Callable[..., Gdb]) -> None:
    gdb = live("deadlock/host", until="deadlocked")
    gdb.cmd("thread 1")
    gdb.cmd("frame 1")
    check_deadlock(gdb, certain=True)
    check_selection(gdb)


def test_deadlock_with_a_condition_variable(live: Callable[..., Gdb]) -> None:
    gdb = live("deadlock/host", until="deadlocked", env={"CONDITION": "1"})
    check_deadlock(gdb, certain=False)


def test_deadlock_in_a_core(open_core: Callable[..., Gdb], core: Callable[..., Core]) -> None:
    made = core("deadlock/host", env={"ABORT": "1"})
    gdb = open_core(made)
    gdb.cmd("info threads")  # GDB's warnings on the core come now
    if not made.arm64:
        check_deadlock(gdb, certain=True)
        return
    # qemu's cores hold no thread pointers: that the end of a thread is waited for is not seen.
    # GDB has no unwind information there; frame records lead as far as the constructor.
    (deadlock,) = gdb.json("plug-threads")["deadlocks"]
    assert (deadlock["certain"], len(deadlock["threads"])) == (False, 2)
    assert "holds _dl_load_lock, runs the constructor libplugin.so+0x" in deadlock["text"]
    assert "begin inside dlopen and waits for a futex" in deadlock["text"]


@pytest.mark.parametrize("cpu", ["x86_64", "aarch64", "musl"], indirect=True)
def test_crowd(live: Callable[..., Gdb], cpu: str) -> None:
    gdb = live("crowd/host", until="crowded")
    facts = gdb.json("plug-threads")
    assert [t["number"] for t in facts["threads"]] == [1, 2, 3, 4, 5]
    assert [t["is_main"] for t in facts["threads"]] == [True, False, False, False, False]
    assert {t["syscall"]["name"] for t in facts["threads"][1:]} == {"futex"}
    assert {t["waits_for"]["kind"] for t in facts["threads"][1:]} == {"futex"}
    assert facts["deadlocks"] == []
    stack = facts["stacks"][facts["threads"][0]["stack"]]
    assert [f["symbol"] for f in stack if f["plugin"]] == ["plugin_run"]
    if cpu == "musl":
        assert [started(t) for t in facts["threads"]] == [None] * 5
        assert facts["threads"][1]["started_by_reason"]
        assert facts["locks_reason"]
        return
    names = [started(t) for t in facts["threads"]]
    assert names == [None, *[("libplugin.so", "work")] * 3, ("libplugin.so", "other_work")]
    for thread in facts["threads"][1:]:
        frames = facts["stacks"][thread["stack"]]
        plugin = [f["symbol"] for f in frames if f["plugin"]]
        assert plugin == [thread["started_by"]["symbol"]]
    assert not any(lock["held"] for lock in facts["locks"])
    text = gdb.cmd("plug-threads")
    assert "3 threads: 2-4" in text
    assert text.count("started by") == 3


def test_a_thousand(sessions: Sessions, native: Callable[[str], Program]) -> None:
    gdb = sessions.live(native("crowd/host"), until="crowded", env={"CROWD": "1000"})
    text = gdb.cmd("plug-threads")
    assert "999 threads: 2-1000 " in text
    assert len(text.splitlines()) < 40
    facts = gdb.json("plug-threads")
    assert len(facts["threads"]) == 1001
    assert len(facts["stacks"]) < 20


def test_in_unloaded_code(live: Callable[..., Gdb]) -> None:
    """Seen by GDB, then without: the thread crashed in a library that is gone."""
    for events in (True, False):
        gdb = live("unloaded/host", "thread", until="SIGSEGV", gdbext=events)
        if not events:
            load_gdbext(gdb)
        facts = gdb.json("plug-threads")
        thread = next(t for t in facts["threads"] if t["selected"])
        start = thread["started_by"]
        assert Path(start["module"]).name == "libgone.so"
        assert (start["symbol"], start["unloaded"], start["probable"]) == (
            "wait_here", True, not events,
        )  # fmt: skip
        frame = facts["stacks"][thread["stack"]][0]
        assert (frame["symbol"], frame["unloaded"]) == ("wait_here", True)
        assert "unloaded    #0 libgone.so (unloaded" in gdb.cmd("plug-threads")


def test_attached(attach: Callable[..., Gdb]) -> None:
    gdb = attach("unloaded/host", "thread", "wait")
    facts = gdb.json("plug-threads")
    other = next(t for t in facts["threads"] if not t["is_main"])
    assert (other["syscall"]["name"], other["started_by"]["symbol"]) == ("futex", "wait_here")
    frames = facts["stacks"][other["stack"]]
    assert [f["symbol"] for f in frames if f["unloaded"]][:1] == ["wait_here"]
    main = next(t for t in facts["threads"] if t["is_main"])
    assert main["syscall"]["name"] == "read"


def test_one_thread(live: Callable[..., Gdb]) -> None:
    gdb = live("nullcall/host", until="loaded")
    facts = gdb.json("plug-threads")
    assert [(t["is_main"], t["selected"], t["waits_for"]) for t in facts["threads"]] == [
        (True, True, None)
    ]
    said = gdb.cmd("plug-threads -all")
    assert "#0 host+0x" in said
    assert "main (host.c:" in said
