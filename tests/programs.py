"""The programs of testprogs/: building them, finding them, and what each is expected to do."""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
TESTPROGS = CHECKOUT / "testprogs"
BUILDS = TESTPROGS / "build"
SETS = ("x86_64", "aarch64", "musl")  # folders of testprogs/build; musl is x86-64 too

# Where Debian's cross packages put the C library that ARM64 programs run with.
ARM64_ROOT = Path("/usr/aarch64-linux-gnu")


@dataclass(frozen=True)
class Program:
    """One built file: SET is the folder of testprogs/build that it came from."""

    scenario: str
    path: Path
    set: str

    @property
    def arm64(self) -> bool:
        """Whether it runs under qemu."""
        return self.set == "aarch64"

    @property
    def folder(self) -> Path:
        """Where it and its libraries are."""
        return BUILDS / self.set / self.scenario

    def command(self, *arguments: str, env: dict[str, str] | None = None) -> list[str]:
        """What to run for it on this machine; ENV is for the program alone."""
        command = [str(self.path), *arguments]
        if self.arm64:
            pairs = [word for pair in (env or {}).items() for word in ("-E", "=".join(pair))]
            return ["qemu-aarch64", "-L", str(ARM64_ROOT), *pairs, *command]
        if env:
            return ["env", *(f"{name}={value}" for name, value in env.items()), *command]
        return command


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file PATH: pytest-xdist's workers share builds and cores."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build() -> None:
    """Bring testprogs/build up to date; AssertionError with make's words if that fails."""
    with locked(BUILDS / ".lock"):
        made = subprocess.run(
            ["make", "-C", str(TESTPROGS)], capture_output=True, text=True, errors="replace"
        )
    assert made.returncode == 0, f"make -C testprogs failed:\n{made.stdout}\n{made.stderr}"


def program(name: str, set: str = "x86_64") -> Program:  # noqa: A002
    """The program SCENARIO/FILE, as in "dlopens/host", from one of SETS."""
    scenario, _, file = name.partition("/")
    found = Program(scenario, BUILDS / set / scenario / file, set)
    assert found.path.is_file(), f"{found.path} is not there: has testprogs been built?"
    return found


MARKER = re.compile(rb"/\* break: ([\w-]+) \*/")


def sources(scenario: str) -> list[Path]:
    """The sources of SCENARIO; without a program of its own it runs in one of common/."""
    folder = TESTPROGS / scenario
    own = [*folder.glob("*.c"), *folder.glob("*.cpp")]
    if [path.name for path in own] == ["plugin.c"]:
        own.append(TESTPROGS / "common" / "host.c")
    elif not any(b"int main(" in path.read_bytes() for path in own):
        own.append(TESTPROGS / "common" / "opener.c")
    return sorted(own)


def markers(scenario: str) -> dict[str, list[str]]:
    """Each marker of SCENARIO's sources: GDB locations such as "demo/words.c:40"."""
    found: dict[str, list[str]] = {}
    for source in sources(scenario):
        for number, line in enumerate(source.read_bytes().split(b"\n"), 1):
            for name in MARKER.findall(line):
                place = f"{source.parent.name}/{source.name}:{number}"
                found.setdefault(name.decode(), []).append(place)
    return found


def marker(scenario: str, name: str) -> str:
    """The GDB location of SCENARIO's marker NAME, which must be on one line alone."""
    places = markers(scenario).get(name)
    assert places, f"no marker {name!r} in testprogs/{scenario}; there are {markers(scenario)}"
    assert len(places) == 1, f"the marker {name!r} is at {places}"
    return places[0]


@dataclass(frozen=True)
class Run:
    """One run of a scenario's expect.json, as it is expected on one CPU."""

    scenario: str
    set: str
    program: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    stdin: str = ""
    status: int | str = 0  # the exit status, or the name of the signal
    stdout: tuple[str, ...] | None = None
    crash: dict[str, Any] | None = None
    handled: str | None = None  # the signal that a handler of its own took before

    def __str__(self) -> str:
        return "-".join((self.scenario, self.program, *self.args, *self.env, self.set))


def expectations(scenario: str, set: str = "x86_64") -> dict[str, Any]:  # noqa: A002
    """The whole of SCENARIO's expect.json; testprogs/README.md explains its keys."""
    text = (TESTPROGS / scenario / "expect.json").read_text()
    if set == "musl":  # its linker is its libc, and binds everything at once
        text = text.replace('"libc.so.6"', '"ld-musl-x86_64.so.1"')
    document: dict[str, Any] = json.loads(text)
    for slot in document.get("slots", []) if set == "musl" else []:
        slot["state"] = slot["state"].replace("lazy", "bound")
        slot.update(slot.pop("musl", {}))
    return document


def scenarios() -> list[str]:
    """The names of all scenarios."""
    return sorted(path.parent.name for path in TESTPROGS.glob("*/expect.json"))


def runs(scenario: str) -> list[Run]:
    """Every run that SCENARIO's expect.json tells of, for every set that it is built for.

    In expect.json a run's key "x86_64", "aarch64" or "musl" overrides its other keys there."""
    found = []
    for name in expectations(scenario)["builds"]:
        for general in expectations(scenario, name)["runs"]:
            run = {**general, **general.get(name, {})}
            if name in run.get("not_on", ()):
                continue
            lines = run.get("stdout")
            found.append(
                Run(
                    scenario,
                    name,
                    run["program"],
                    tuple(run.get("args", ())),
                    run.get("env", {}),
                    run.get("stdin", ""),
                    run.get("signal", run.get("exit", 0)),
                    None if lines is None else tuple(lines),
                    run.get("crash"),
                    run.get("handled"),
                )
            )
    return found


def index_of(run: Run) -> int:
    """Which one of its scenario's runs it is, counted as expect.json lists them."""
    for index, listed in enumerate(expectations(run.scenario)["runs"]):
        same = listed["program"], tuple(listed.get("args", ())), listed.get("env", {})
        if same == (run.program, run.args, run.env):
            return index
    raise AssertionError(f"{run} is in no expect.json")
