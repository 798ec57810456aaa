"""`gdbext attach PID`: what it says of a running process, and that the process goes on.

x86-64 alone: a program under qemu is qemu to the kernel.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import environment, gdb_program, validated
from tests.processes import waiting
from tests.programs import Program
from tests.sessions import Sessions
from tests.shell import gdbext, shell_environment, words

# Counts in a thread of its own, so that it shows whether it goes on; SIGUSR1 makes it say so.
# It reserves terabytes, as sanitizers do, and uses 3 MB of them.
COUNTER = """
import mmap, os, signal, sys, threading, time
MAP_NORESERVE = 0x4000  # mmap has it from Python 3.13 on
room = mmap.mmap(-1, 1 << 44, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
room.seek(1 << 40)
room.write(bytes(3 << 20))
count = 0
def tell(*_): os.write(1, b"count %d\\n" % count)
signal.signal(signal.SIGUSR1, tell)
def work():
    global count
    while True: count += 1; time.sleep(0.001)
threading.Thread(target=work, daemon=True, name="worker").start()
print("ready", flush=True)
while True: time.sleep(0.01)  # the signal may reach the other thread; its handler waits for this
"""


def status(pid: int) -> tuple[str, int]:
    """(the letter of its state, its tracer)."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.findall(r"^(?:State|TracerPid):\t(\w+)", text, re.MULTILINE)
    return found[0], int(found[1])


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with waiting([sys.executable, "-c", COUNTER], tmp_path, env=environment()) as running:
        yield running


def count(running: subprocess.Popen[bytes]) -> int:
    """What the counter says now."""
    assert running.stdout
    running.send_signal(signal.SIGUSR1)
    return int(running.stdout.readline().split()[1])


def test_a_process_that_waits_for_itself(
    sessions: Sessions, native: Callable[[str], Program], tmp_path: Path
) -> None:
    running = sessions.start(native("deadlock/host"), ready="loading")
    written = tmp_path / "report.json"
    for _ in range(50):  # "loading" comes before the dlopen
        done = gdbext("attach", running.pid, "--json", written, "--gdb", gdb_program())
        if "deadlock" in done.stdout:
            break
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        rf"gdbext: process {running.pid} \(host\) was stopped for \d+ ms and goes on\n", done.stderr
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("[gdbext] deadlock: thread ")
    assert "_dl_load_lock" in lines[0]
    assert lines[1] == "[gdbext] not stopped by a signal"
    document = validated(json.loads(written.read_text()))
    assert (document["target"], document["signal"], document["cause"]) == ("snapshot", None, None)
    assert {"start-up"} < {thread["name"] for thread in document["threads"]["threads"]}
    assert document["got"]["modules"] == []
    assert status(running.pid) in (("S", 0), ("R", 0))


def test_the_process_goes_on_as_it_was(counter: subprocess.Popen[bytes]) -> None:
    before = count(counter)
    done = gdbext("attach", counter.pid, "--json", "-", "--gdb", gdb_program())
    assert done.returncode == 0, done.stderr
    document = validated(json.loads(done.stdout))
    assert {m["file"] for n in document["links"]["namespaces"] for m in n["modules"]} <= {
        "same",
        "memory",
    }
    (note,) = document["notes"]
    assert re.match(r"\d MB of memory were not copied", note)  # large pages may make it more
    assert count(counter) > before
    counter.send_signal(signal.SIGSTOP)
    while status(counter.pid)[0] != "T":
        time.sleep(0.01)
    assert gdbext("attach", counter.pid, "--gdb", gdb_program()).returncode == 0
    assert status(counter.pid) == ("T", 0)
    counter.send_signal(signal.SIGCONT)
    assert count(counter) > before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_gdbext_ends_in_the_middle(
    counter: subprocess.Popen[bytes], number: signal.Signals, tmp_path: Path
) -> None:
    attaching = subprocess.Popen(
        words("attach", counter.pid, "--gdb", gdb_program()),
        env=shell_environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert attaching.stderr
    attaching.stderr.readline()  # it has been stopped; GDB reads the core
    attaching.send_signal(number)
    assert attaching.wait() == (-number if number == signal.SIGKILL else 128 + number)
    attaching.stderr.close()
    before = count(counter)
    assert status(counter.pid) in (("S", 0), ("R", 0))
    while count(counter) == before:
        time.sleep(0.01)
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []  # above all no copy of its memory


@contextmanager
def contained(program: Program, tmp_path: Path) -> Iterator[int]:
    """A program whose files are in a tmpfs that its own mount namespace alone has, as PID 1 of its
    own PID namespace, after a chroot."""
    root = tmp_path / "root"
    for folder in ("proc", "lib64", "lib/x86_64-linux-gnu", "opt"):
        (root / folder).mkdir(parents=True)
    shutil.copy("/lib64/ld-linux-x86-64.so.2", root / "lib64")
    shutil.copy("/lib/x86_64-linux-gnu/libc.so.6", root / "lib/x86_64-linux-gnu")
    script = f"""
        mount --make-rprivate /
        mount -t proc proc {root}/proc
        mount -t tmpfs none {root}/opt
        cp {program.folder}/* {root}/opt/
        exec chroot {root} /opt/{program.path.name}
    """
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script]
    with waiting(command, tmp_path, "loading", environment()) as running:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        yield int(children[0])


def test_a_process_of_a_container(native: Callable[[str], Program], tmp_path: Path) -> None:
    with contained(native("deadlock/host"), tmp_path) as pid:
        for _ in range(50):
            done = gdbext("attach", pid, "--json", tmp_path / "json", "--gdb", gdb_program())
            if "deadlock" in done.stdout:
                break
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[gdbext] deadlock: thread 1 ")
    document = json.loads((tmp_path / "json").read_text())
    assert document["program"] == "/opt/host"
    assert document["threads"]["threads"][0]["lwp"] == 1  # as the process itself sees it
    begin = next(f for f in document["frames"] if f["symbol"] == "begin")
    assert (begin["module"], begin["file"].rpartition("/")[2]) == ("/opt/libplugin.so", "plugin.c")
    states = {m["path"]: m["file"] for m in document["links"]["namespaces"][0]["modules"]}
    assert states["/opt/libplugin.so"] == "same"
    assert not [line for line in document["warnings"] if "Can't open file" in line]


def test_what_cannot_be_attached_to(counter: subprocess.Popen[bytes], tmp_path: Path) -> None:
    zombie = os.spawnlp(os.P_NOWAIT, "true", "true")
    while status(zombie)[0] != "Z":
        time.sleep(0.01)
    thread = max(map(int, os.listdir(f"/proc/{counter.pid}/task")))
    said = {
        1 << 22: "there is no process 4194304",
        2: "is a thread of the kernel",
        zombie: "has ended; it is kept until its parent",
        thread: f"is a thread of process {counter.pid}",
    }
    for pid, text in said.items():
        done = gdbext("attach", pid)
        assert (done.returncode, done.stdout) == (2, "")
        assert text in done.stderr
        assert done.stderr.count("\n") == 1
    os.waitpid(zombie, 0)
    command = ["gdb", "-nx", "-q", "-p", str(counter.pid), "-ex", "echo ready\\n"]
    with waiting(command, tmp_path, env=environment()):
        done = gdbext("attach", counter.pid)
    assert done.returncode == 2
    assert "is traced already, by process" in done.stderr
    assert "(gdb): only one can" in done.stderr
    script = (  # rights are dropped behind the imports: a checkout may be for root's eyes alone
        "import os, sys; sys.path[:0] = sys.argv[1].split(':')\n"
        "from gdbext.postmortem.processes import refusal\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(refusal(int(sys.argv[2])))"
    )
    path = shell_environment()["PYTHONPATH"]
    refused = subprocess.run(
        [sys.executable, "-c", script, path, str(counter.pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "may not be looked into: it is root's; use sudo" in refused.stdout, refused.stderr
