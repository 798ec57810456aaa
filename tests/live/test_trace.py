"""plug-trace: what it records, judged by the program's own words, LD_DEBUG and dl_iterate_phdr."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Batch, Gdb, environment, validated
from tests.live.test_commands import complete
from tests.programs import TESTPROGS, Program, marker

on_x86_64 = pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
OPENS = ("dlopen", "dlmopen")


def traced(gdb: Gdb, end: str = "continue") -> dict[str, Any]:
    """The trace of the rest of the program."""
    assert "exited normally" in gdb.cmd(end)
    return gdb.json("plug-trace show")


def of_kind(trace: dict[str, Any], *kinds: str) -> list[dict[str, Any]]:
    return [event for event in trace["events"] if event["kind"] in kinds]


def name(path: str | None) -> str:
    return os.path.basename(path or "")


def opened_by_the_program(gdb: Gdb) -> list[tuple[str, bool]]:
    """`open libx.so 1` is the program's word for a dlopen that gave a handle."""
    rows = re.findall(r"^open (\S+) (\d)", gdb.output(), re.M)
    return [(library, result == "1") for library, result in rows]


def started_lwps(trace: dict[str, Any]) -> list[int]:
    """What the dlopen of libthreads.so says of its threads."""
    (lwps,) = [row["lwps"] for row in trace["summary"]["started"]]
    assert len(lwps) == 2
    found: list[int] = lwps
    return found


def stays(trace: dict[str, Any]) -> list[tuple[str, list[str]]]:
    closes = [e for e in of_kind(trace, "dlclose") if e["caller"]["function"] == "close_one"]
    return [(name(e["module"]), [s["kind"] for s in e["stays"]]) for e in closes]


def test_opens_closes_and_what_stays(live: Callable[..., Gdb]) -> None:
    """The program says after each dlclose whether RTLD_NOLOAD still finds the library."""
    words = ["leak", "missing", "invalid", "needed", "unique", "local", "relocation"]
    # a namespace that goes takes the breakpoints in its own libc with it, and no others
    gdb = live("trace/host", "namespace", *words, until="start")
    gdb.cmd("plug-trace on")
    trace = traced(gdb)
    assert trace["notes"] == []
    opens = [e for e in of_kind(trace, "dlopen") if e["caller"]["function"] == "open_one"]
    said = opened_by_the_program(gdb)
    assert [(e["path"], not e["failed"]) for e in opens] == said
    line = next(
        n
        for n, text in enumerate((TESTPROGS / "trace" / "host.c").read_text().split("\n"), 1)
        if "dlopen(name, mode)" in text
    )
    assert {(name(e["caller"]["file"]), e["caller"]["line"]) for e in opens} == {("host.c", line)}
    for event in opens:
        assert event["frames"][0]["function"] == "open_one"
        assert "main" in [f["function"] for f in event["frames"]]
        assert event["ended"] == "returned"
        assert event["duration"] > 0
    missing = next(e for e in opens if e["path"] == "libmissing.so")
    assert missing["error"] == "libmissing.so: cannot open shared object file"
    assert missing["error_class"] == "missing_file"
    invalid = next(e for e in opens if e["mode"] == 0)
    assert invalid["error_class"] == "wrong_use"
    tree = next(e for e in opens if e["path"] == "libtree.so")
    assert [name(p) for p in tree["loaded"]] == ["libtree.so"]
    assert tree["flags"] == ["RTLD_NOW", "RTLD_LOCAL"]
    still = {(n, bool(int(s))) for n, s in re.findall(r"^close (\S+) 0 (\d)", gdb.output(), re.M)}
    first = dict(reversed([(n, kinds) for n, kinds in stays(trace)]))
    assert {(n, bool(kinds)) for n, kinds in first.items()} == still
    assert first["libunique.so"] == ["unique"]
    assert first["libdefiner.so"] == ["relocation"]
    assert first["liblocal.so"][0] == "tls-destructors"
    assert first["libleaf.so"] == ["open-count"]  # the leak
    leaks = [name(p) for p in trace["summary"]["leaks"]]
    assert leaks == ["libleaf.so"]
    text = gdb.cmd("plug-trace show -regex libdefiner")
    assert "libuser.so is bound to a symbol of it" in text
    assert "libleaf" not in text.replace("libleaf.so, ", "")


def test_nested_threads_and_calls_that_never_return(live: Callable[..., Gdb]) -> None:
    gdb = live("trace/host", "threads", "jump", "needed", until="start")
    gdb.cmd("plug-trace on -ctors -threads -dlsym")
    trace = traced(gdb)
    events = {event["id"]: event for event in trace["events"]}
    made = of_kind(trace, "pthread_create")
    assert len(made) == 2
    for event in made:
        assert event["function"]["function"] == "work"
        assert name(event["function"]["module"]) == "libthreads.so"
        above = events[event["parent"]]
        assert (above["kind"], above["function"]["function"]) == ("constructor", "threads_begin")
        assert name(events[above["parent"]]["path"]) == "libthreads.so"
    lwps = started_lwps(trace)
    if not gdb.arm64:  # a remote GDB hears of a thread at a later stop, after pthread_create
        assert [e["started"] for e in made] == [[lwp] for lwp in lwps]
    (started,) = trace["summary"]["started"]
    assert (started["threads_before"], started["threads_after"]) == (1, 3)
    assert {m["caller"]["function"] for m in started["makers"]} == {"threads_begin"}
    assert [e for e in of_kind(trace, "destructor") if e["function"]["function"] == "threads_end"]
    jumper = next(e for e in of_kind(trace, "dlopen") if e["path"] == "libjumper.so")
    assert (jumper["ended"], jumper["result"]) == ("unwound", None)
    later = next(e for e in of_kind(trace, "dlsym") if e["path"] == "no_such_symbol")
    assert (later["parent"], later["failed"]) == (None, True)
    assert later["error"].endswith("undefined symbol: no_such_symbol")
    text = gdb.cmd("plug-trace show")
    assert "never returned: the stack was unwound past it" in text
    assert re.search(
        r"libthreads\.so: 1 thread before, 3 after; libthreads\.so\S+ threads_begin", text
    )


def test_an_exception_out_of_a_constructor(live: Callable[..., Gdb]) -> None:
    gdb = live("trace/catcher", until=None)
    gdb.cmd("plug-trace on")
    trace = traced(gdb)
    assert gdb.output().split("\n")[:2] == ["caught 5", "open libleaf.so 1"]
    first, second = of_kind(trace, "dlopen")
    assert (first["path"], first["ended"]) == ("libthrower.so", "unwound")
    assert (second["path"], second["ended"], second["parent"]) == ("libleaf.so", "returned", None)


@pytest.mark.parametrize("cpu", ["x86_64", "aarch64", "musl"], indirect=True)
def test_nested_opens(live: Callable[..., Gdb]) -> None:
    gdb = live("ctor/host", until=None)
    gdb.cmd("plug-trace on")
    trace = traced(gdb)
    opens = {e["path"]: e for e in of_kind(trace, "dlopen")}
    assert list(opens) == ["libsimple.so", "libouter.so", "libinner.so", "libmissing.so"]
    inner = opens["libinner.so"]
    assert inner["parent"] == opens["libouter.so"]["id"]
    assert name(inner["caller"]["module"]) == "libouter.so"
    assert opens["libmissing.so"]["failed"]
    assert opens["libmissing.so"]["error_class"] == "missing_file"
    assert "libmissing.so: " in opens["libmissing.so"]["error"]


# On qemu-user GDB 13.1 fails an assertion of its own (finish_step_over) when threads hit
# breakpoints at once; plain `break dlopen if 0` and `break dlclose if 0` do it too.
@on_x86_64
def test_four_threads_at_once(live: Callable[..., Gdb]) -> None:
    gdb = live("racing/host", until=None)
    gdb.cmd("plug-trace on")
    trace = traced(gdb)
    opens = of_kind(trace, "dlopen")
    assert sorted(e["path"] for e in opens) == [f"lib{n}.so" for n in (1, 2, 3, 4)]
    assert len({e["thread"] for e in opens}) == 4
    for event in opens:
        assert name(event["module"]) == event["path"]
        assert [name(p) for p in event["loaded"]] == [event["path"]]
        assert event["parent"] is None


def test_how_a_close_ends(live: Callable[..., Gdb]) -> None:
    """One that unloads is not stopped at its return; one inside another decides nothing."""
    gdb = live("closing/host", "alone", "counted", "nested", until=None)
    gdb.cmd("plug-trace on -ctors")
    trace = traced(gdb)
    closes = [e for e in of_kind(trace, "dlclose") if e["caller"]["line"] != still_line()]
    rows = [
        (name(e["module"]), [name(p) for p in e["unloaded"]], [s["kind"] for s in e["stays"]])
        for e in closes
    ]
    assert rows == [
        ("lib1.so", ["lib1.so"], []),
        ("lib1.so", [], ["open-count"]),
        ("lib1.so", ["lib1.so"], []),
        ("libkeeper.so", ["libkeeper.so", "lib2.so"], []),
        ("lib2.so", [], ["closing"]),
        ("lib1.so", ["lib1.so"], []),
    ]
    assert {(e["ended"], e["result"], e["failed"]) for e in closes} == {("returned", "0x0", False)}
    assert all(e["duration"] > 0 for e in closes)
    events = {event["id"]: event for event in trace["events"]}
    inner = events[closes[4]["parent"]]
    assert (inner["kind"], inner["parent"]) == ("destructor", closes[3]["id"])
    assert trace["summary"]["stayed"] == []
    assert trace["summary"]["leaks"] == []


def test_closes_behind_a_namespace_that_went(live: Callable[..., Gdb]) -> None:
    """A second libc goes; the calls of the first one are recorded as before."""
    gdb = live("trace/host", "namespace", "needed", "leak", until=None)
    gdb.cmd("plug-trace on")
    trace = traced(gdb)
    (opened,) = of_kind(trace, "dlmopen")
    closed = next(e for e in of_kind(trace, "dlclose") if e["handle"] == opened["handle"])
    assert sorted(map(name, closed["unloaded"])) == sorted(map(name, opened["loaded"]))
    assert len(closed["unloaded"]) == 2
    opens = [e for e in of_kind(trace, "dlopen") if e["caller"]["function"] == "open_one"]
    assert [(e["path"], not e["failed"]) for e in opens] == opened_by_the_program(gdb)


def still_line() -> int:
    """Where the program gives back the handle by which it asked whether a library is there."""
    lines = (TESTPROGS / "closing" / "host.c").read_text().split("\n")
    return lines.index("        dlclose(still);") + 1


@on_x86_64  # see test_four_threads_at_once
@pytest.mark.parametrize("work", ["threads", "ticking"])
def test_closes_in_four_threads(live: Callable[..., Gdb], work: str) -> None:
    """Each is told once and has what it did, also where signals make GDB stop at it again."""
    gdb = live("closing/host", work, until=None)
    gdb.cmd("handle SIGALRM nostop noprint pass")
    gdb.cmd("plug-trace on")
    trace = traced(gdb)
    opens, closes = of_kind(trace, "dlopen"), of_kind(trace, "dlclose")
    bad = [e for e in opens if e["path"] == "libbad.so"]
    opens = [e for e in opens if e not in bad]
    assert len(bad) == len(opens) == len(closes) == 20
    for event in bad:
        assert event["failed"]
        came, went = event["loaded"], event["unloaded"]
        assert [name(p) for p in came] == [name(p) for p in went] == ["libbad.so"]
    for event in opens:
        assert [name(p) for p in event["loaded"]] == [event["path"]] == [name(event["module"])]
    asked = {e["thread"]: e["path"] for e in opens}
    for event in closes:
        assert event["ended"] == "returned"
        assert [name(p) for p in event["unloaded"]] == [asked[event["thread"]]]
        assert name(event["module"]) == asked[event["thread"]]
        assert event["stays"] == []


@on_x86_64
def test_what_libc_opens(live: Callable[..., Gdb]) -> None:
    gdb = live("libcdlopen/host", until="start")
    gdb.cmd("plug-trace on")
    opens = of_kind(traced(gdb), "dlopen")
    assert all(e["by_libc"] for e in opens)
    names = [name(e["path"]) for e in opens if not e["failed"]]
    assert names[0] == "libnss_compat.so.2"
    assert "ISO8859-2.so" in names


def test_fork_and_exec(sessions: Any, native: Callable[[str], Program]) -> None:  # noqa: ANN401
    for mode, expected in (
        ("parent", ["libtree.so", "libleaf.so"]),
        ("child", ["libleaf.so", "libleaf.so"]),
    ):
        gdb = sessions.live(native("trace/host"), "forkexec", "exec", until=None)
        gdb.cmd(f"set follow-fork-mode {mode}")
        gdb.cmd("plug-trace on")
        trace = traced(gdb)
        assert [e["path"] for e in of_kind(trace, "dlopen")] == expected
    gdb = sessions.live(native("trace/host"), "forkexec", until=None)
    for setting in ("detach-on-fork off", "schedule-multiple on", "follow-fork-mode child"):
        gdb.cmd(f"set {setting}")
    gdb.cmd("plug-trace on")
    trace = traced(gdb)
    assert [e["by_libc"] for e in of_kind(trace, "dlopen")] == [False, False]
    (note,) = trace["notes"]
    assert "some calls were missed when another one ran exec" in note


@on_x86_64
def test_the_stream_is_whole_when_gdb_is_killed(live: Callable[..., Gdb], tmp_path: Path) -> None:
    gdb = live("trace/host", "leak", "missing", "20", "leak", until="start")
    stream = tmp_path / "trace.jsonl"
    gdb.cmd("set plug trace-limit 5")
    gdb.cmd(f"set plug trace-file {stream}")
    gdb.cmd("set plug trace on")
    gdb.until(marker("trace", "end"))
    shown = gdb.json("plug-trace show")
    assert len(shown["events"]) == 5
    assert shown["dropped"] == 43 - 5
    (leaf,) = [row for row in shown["summary"]["libraries"] if name(row["path"]) == "libleaf.so"]
    assert (leaf["opens"], leaf["closes"], leaf["not_closed"]) == (22, 20, 2)
    os.kill(int(gdb.python("__import__('os').getpid()")), signal.SIGKILL)
    assert oct(stream.stat().st_mode & 0o777) == "0o600"
    first, *rest = map(json.loads, stream.read_text().splitlines())
    assert first["schema"] == "gdbext/trace-stream/1"
    ended = [row["event"] for row in rest if row["event"]["ended"] == "returned"]
    assert len(ended) == 43
    whole = {**shown, "events": ended}
    validated(whole)


def test_perl_as_ld_debug_counts(batch: Callable[..., Batch], tmp_path: Path) -> None:
    """A real program: as many opens as ld.so reports, of the same files."""
    words = ["perl", "-MPOSIX", "-MSocket", "-MList::Util", "-MFcntl", "-e", "print 1"]
    log = tmp_path / "ld"
    env = {**environment(), "LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(log)}
    subprocess.run(words, env=env, check=True, capture_output=True)
    text = "".join(p.read_text(errors="replace") for p in tmp_path.glob("ld.*"))
    expected = re.findall(r"opening file=(\S+) \[0\]; direct_opencount=", text)
    out = tmp_path / "trace.json"
    done = batch(
        "-ex", "plug-trace on", "-ex", "run", "-ex", f"plug-trace show -json -out {out}",
        "--args", *words,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    trace = json.loads(out.read_text())
    assert [e["module"] for e in of_kind(trace, "dlopen")] == [p for p in expected if "/auto/" in p]
    assert len(expected) >= 4


@on_x86_64
def test_the_command(live: Callable[..., Gdb]) -> None:
    gdb = live("trace/host", "leak", "3", until="start")
    assert gdb.cmd("plug-trace") == "Nothing is recorded; plug-trace on starts it."
    assert gdb.json("plug-trace show")["summary"] is None
    assert "is none of on, off" in gdb.cmd("plug-trace maybe")
    assert "no regular expression" in gdb.cmd("plug-trace on -regex (")
    assert "-dlsym" in gdb.cmd("plug-trace show -dlsym")
    assert complete(gdb, "plug-trace ") == ["clear", "off", "on", "show"]
    gdb.cmd("plug-trace on -regex nothing")
    gdb.cmd("plug-trace on -regex libleaf")
    assert "is on" in gdb.cmd("show plug trace").replace('"', "")
    gdb.until(marker("trace", "end"))
    assert len(gdb.json("plug-trace show")["events"]) == 7
    gdb.cmd("set width 80")
    assert max(map(len, gdb.cmd("plug-trace show").split("\n"))) <= 80
    gdb.cmd("plug-trace clear")
    assert gdb.json("plug-trace show")["events"] == []
    gdb.cmd("plug-trace off")
    assert gdb.python("__import__('gdbext.stops.trace').stops.trace.breakpoints()") == "0"
    assert not gdb.json("plug-trace show")["recording"]


def test_dlmopen(live: Callable[..., Gdb]) -> None:
    gdb = live("namespaces/host", until=None)
    gdb.cmd("plug-trace on")
    gdb.until(marker("namespaces", "loaded"))
    opens = of_kind(gdb.json("plug-trace show"), "dlmopen")
    assert [name(event["path"]) for event in opens] == ["libns.so", "libns.so"]
    assert [event["namespace"] for event in opens] == [-1, -1]  # LM_ID_NEWLM
    assert len({event["handle"] for event in opens}) == 2
    links = gdb.json("plug-links")
    handles = {m["link_map"] for n in links["namespaces"][1:] for m in n["modules"]}
    assert {event["handle"] for event in opens} <= handles
