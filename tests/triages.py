"""`gdbext triage` in a process of its own, and a GDB that costs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.harness import TIMEOUT, environment, validated
from tests.programs import CHECKOUT
from tests.unit.reports import frame, report

_COMMAND = "import sys; from gdbext.cli import main; sys.exit(main(sys.argv[1:]))"
_PATIENCE = 120  # seconds; a hang is told sooner than by the test's own limit
# It writes its process id and its core into the file STARTS, and does what the core's name says.
_GDB = """\
import json, os, re, signal, sys, time
core = sys.argv[sys.argv.index("--core") + 1]
with open({starts!r}, "a") as file:
    file.write(f"{{os.getpid()}} {{core}}\\n")
command = next(word for word in sys.argv if word.startswith("plug-report"))
kind = os.path.basename(core).partition("-")[0]
if kind == "hang":
    time.sleep(600)
if kind == "slow":
    time.sleep(0.2)
if kind == "die":
    os.kill(os.getpid(), signal.SIGSEGV)
if kind == "bad":
    sys.exit("plug-report: this one is damaged")
document = {document!r}
if kind == "abort":
    document["signal"] = "SIGABRT"
with open(re.search("-out '([^']*)'", command)[1], "w") as file:
    json.dump(document, file)
"""


class FakeGdb:
    """A program that behaves as GDB does for `gdbext report`, at once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fake-gdb"
        self._starts = folder / "starts"
        frames = [frame("/opt/libplugin.so", 0x1117, symbol="run"), frame("/opt/host", 0x128C)]
        text = _GDB.format(starts=str(self._starts), document=report(frames))
        self.path.write_text(f"#!{sys.executable} -SE\n{text}")
        self.path.chmod(0o755)

    def started(self) -> list[tuple[int, str]]:
        """(process id, name of the core) of each start so far."""
        if not self._starts.exists():
            return []
        rows = [row.split(" ", 1) for row in self._starts.read_text().splitlines()]
        return [(int(pid), os.path.basename(core)) for pid, core in rows]


def command(*arguments: str | Path) -> list[str]:
    """What to run for `gdbext triage ARGUMENTS`."""
    return [sys.executable, "-c", _COMMAND, "triage", *map(str, arguments)]


def surroundings(**changes: str) -> dict[str, str]:
    """An environment in which the checkout's gdbext is imported."""
    path = environment()["PYTHONPATH"]
    return environment(**{"PYTHONPATH": f"{CHECKOUT}:{path}", **changes})


def triage(*arguments: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env=surroundings(**changes),
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT,
    )


@contextmanager
def running(*arguments: str | Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """It, while it runs; the block ends it.

    FOLDER takes what it cannot remove when it is killed."""
    process = subprocess.Popen(
        command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=surroundings(TMPDIR=str(folder)),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The document that it printed with `--json -`."""
    assert "Traceback" not in done.stderr, done.stderr
    return validated(json.loads(done.stdout))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until it holds, and fail when PROCESS has ended before."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        assert process is None or process.poll() is None, "it ended before"
        time.sleep(0.02)


def line_count(path: Path) -> int:
    """How many whole lines a file has."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a --jsonl FILE."""
    return [validated(json.loads(line)) for line in path.read_text().splitlines()]


def alive(pid: int) -> bool:
    """Whether there is such a process, and not only what is left of it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
