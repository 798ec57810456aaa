"""Judges any program's slots by its own ld.so; by hand: python -m tests.bindings -- PROGRAM ARGS.

The program runs under GDB up to its end (exit_group: everything is loaded, nothing is gone yet),
or to --until LOCATION. A server is started without GDB and attached to (--serve), after its log
has not grown for some seconds or after it wrote --ready TEXT.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bindings import Judgement, judge_documents, parse_bindings
from tests.harness import environment, gdb_program, loading, settings

QUIET = 2.0  # seconds without a new line in its log: a server has started


def logging(output: Path, env: Sequence[str], now: bool) -> dict[str, str]:
    """The environment in which a program writes what its ld.so binds to OUTPUT.PID."""
    words = {"LD_DEBUG": "bindings,files", "LD_DEBUG_OUTPUT": str(output)}
    if now:
        words["LD_BIND_NOW"] = "1"
    return {**words, **dict(word.split("=", 1) for word in env)}


def asking(folder: Path) -> list[str]:
    """The commands that leave the documents in FOLDER."""
    return [
        f"plug-links -json -out {folder}/links.json",
        "python import time; started = time.monotonic()",
        f"plug-got -all -json -out {folder}/got.json",
        "python print(f'plug-got -all -json: {time.monotonic() - started:.2f} s')",
        f"python open('{folder}/pid', 'w').write(str(gdb.selected_inferior().pid))",
        "kill",
    ]


def run_gdb(commands: Sequence[str], arguments: Sequence[str], folder: Path, limit: float) -> str:
    """What a batch GDB that sources gdbext says to COMMANDS."""
    early = [*settings(arm64=False, arguments=arguments), "handle all nostop noprint pass"]
    words = [word for command in early for word in ("-iex", command)]
    words += [word for command in [*loading(True), *commands] for word in ("-ex", command)]
    done = subprocess.run(
        [gdb_program(), "-nx", "-q", "-batch", *words, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        cwd=folder,
        env=environment(),
        timeout=limit,
    )
    return done.stdout + done.stderr


def judged(folder: Path, said: str) -> Judgement:
    """The judgement on the documents and the log in FOLDER; SAID is what GDB said."""
    for name in ("links.json", "got.json"):
        assert (folder / name).is_file(), f"GDB did not come to {name}:\n{said[-4000:]}"
    documents: list[Any] = [
        json.loads((folder / name).read_text()) for name in ("got.json", "links.json")
    ]
    pid = int((folder / "pid").read_text())
    # A fork writes on in the file of its parent, under its own number.
    logs = sorted(folder.glob("ld.*"), key=lambda path: path.name != f"ld.{pid}")
    text = logs[0].read_text(errors="surrogateescape")
    first = int(logs[0].suffix[1:])
    return judge_documents(documents[0], documents[1], parse_bindings(text, {pid, first}))


def judge_run(
    command: Sequence[str],
    folder: Path,
    env: Sequence[str] = (),
    until: str | None = None,
    now: bool = False,
    limit: float = 900,
) -> tuple[Judgement, str]:
    """COMMAND under GDB, up to its end or UNTIL a location; its judgement and what GDB said."""
    words = [f"{name}={value}" for name, value in logging(folder / "ld", env, now).items()]
    stop = f"tbreak {until}" if until else "catch syscall exit_group"
    commands = [
        f"set exec-wrapper </dev/null >{folder}/output 2>&1 env {shlex.join(words)}",
        "set cwd .",
        stop,
        "run",
        *asking(folder),
    ]
    said = run_gdb(commands, ["--args", *command], folder, limit)
    return judged(folder, said), said


def children(pid: int) -> Iterator[int]:
    """PID and its children, the oldest first."""
    yield pid
    for line in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from children(int(line))


@contextmanager
def serving(
    command: Sequence[str], folder: Path, env: dict[str, str], user: str | None
) -> Iterator[int]:
    """The pid of a server that has started; the block ends it and its children."""
    if user is not None:
        folder.chmod(0o777)
    with (folder / "output").open("wb") as output:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            cwd=folder,
            user=user,
        )
    try:
        size, since = -1, time.monotonic()
        while time.monotonic() - since < QUIET:
            now = sum(path.stat().st_size for path in folder.glob("ld.*"))
            if now != size:
                size, since = now, time.monotonic()
            assert server.poll() is None, (folder / "output").read_text(errors="replace")[-2000:]
            time.sleep(0.1)
        yield server.pid
    finally:
        # The parent first: it would start new ones.
        for pid in list(children(server.pid)) if server.poll() is None else []:
            subprocess.run(["kill", "-KILL", str(pid)], capture_output=True)
        server.wait()


def judge_server(
    command: Sequence[str],
    folder: Path,
    env: Sequence[str] = (),
    child: int = 0,
    now: bool = False,
    user: str | None = None,
    limit: float = 900,
) -> tuple[Judgement, str]:
    """COMMAND, started and attached to; CHILD counts in its process tree, 0 is itself.

    USER is for servers that do not run as root."""
    changes = logging(folder / "ld", env, now)
    with serving(command, folder, {**os.environ, **changes}, user) as pid:
        chosen = list(children(pid))[child]
        commands = [f"attach {chosen}", *[c for c in asking(folder) if c != "kill"], "detach"]
        said = run_gdb(commands, [], folder, limit)
        return judged(folder, said), said


def main(words: Sequence[str]) -> int:
    """The command line; the status is 0 if all slots agree."""
    parser = argparse.ArgumentParser(prog="python -m tests.bindings", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="start it, then attach")
    parser.add_argument("--child", type=int, default=0, help="attach to its Nth descendant")
    parser.add_argument("--as", dest="user", help="start the server as this user")
    parser.add_argument("--until", help="stop there instead of at the end")
    parser.add_argument("--now", action="store_true", help="with LD_BIND_NOW=1: no lazy slots")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--keep", type=Path, help="leave log and documents in this new folder")
    parser.add_argument("--say", action="store_true", help="show what GDB said")
    parser.add_argument("command", nargs="+", metavar="PROGRAM")
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep.resolve() if asked.keep else Path(temporary)
        folder.mkdir(exist_ok=True)
        if asked.serve:
            options = asked.env, asked.child, asked.now, asked.user
            found, said = judge_server(asked.command, folder, *options)
        else:
            found, said = judge_run(asked.command, folder, asked.env, asked.until, asked.now)
    timing = [line for line in said.splitlines() if line.startswith("plug-got -all -json: ")]
    sys.stdout.write("\n".join([*([said] if asked.say else timing), str(found), ""]))
    return int(bool(found.disagreements or found.unverified))
