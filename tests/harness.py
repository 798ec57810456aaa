"""GDB driven by pexpect; sessions.py points it at programs and cores.

The fixtures that hand these out are in conftest.py. Nothing here sleeps: GDB is waited for by its
prompt, a stub by GDB's own connection retries, a program by the line that it prints.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pexpect

from tests.programs import ARM64_ROOT, BUILDS, CHECKOUT

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

TIMEOUT = 240  # seconds; it guards against a hang and measures nothing
NUMBERS = itertools.count(1)
INDEXES = BUILDS / "gdb-index"  # GDB's own cache of what it found in debug info


class HarnessError(Exception):
    """A session that did not go where the test wanted it; the message holds what GDB said."""


def gdb_program(arm64: bool = False) -> str:
    """The GDB under test: $GDBEXT_GDB, or Debian's two."""
    return os.environ.get("GDBEXT_GDB") or ("gdb-multiarch" if arm64 else "gdb")


def environment(**changes: str) -> dict[str, str]:
    """An environment in which GDB behaves the same everywhere.

    Its Python finds gdbext's dependencies in the venv that the tests run in."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LD_", "DEBUGINFOD", "PYTHON", "LC_")) and name != "LANGUAGE"
    }
    fixed = {
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": sysconfig.get_paths()["purelib"],
    }
    return {**kept, **fixed, **changes}


def loading(gdbext: bool) -> list[str]:
    """The commands that load gdbext, as a user's gdbinit would."""
    if not gdbext:
        return []
    return [f"directory {CHECKOUT / 'gdbext'}", "source gdbext"]


def settings(arm64: bool, arguments: Sequence[str]) -> list[str]:
    """GDB's settings for a session with these ARGUMENTS on its command line."""
    common = [
        "set width 0",
        "set height 0",
        "set confirm off",
        "set breakpoint pending on",
        "set debuginfod enabled off",
        # Each session would read all of libc6-dbg again; by build-id, so an index is never stale.
        f"set index-cache directory {INDEXES}",
        "set index-cache enabled on",
    ]
    if not arm64:
        return common
    # qemu looks into its -L folder first and then into /, GDB into its sysroot alone: libraries
    # beside the program are found by this path.
    programs = [Path(word) for word in arguments if word.startswith("/") and Path(word).is_file()]
    folders = [
        str(folder)
        for program in programs
        for folder in (program.parent, *program.parent.glob("*/"))
        if folder.is_dir()
    ]
    search = f"set solib-search-path {os.pathsep.join(folders)}"
    return [*common, f"set sysroot {ARM64_ROOT}", search]


# ---------------------------------------------------------------------------------- sessions


class Gdb:
    """One GDB process at its prompt.

    log: the file with all that was said; output(): what the program under GDB has printed."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        arm64: bool = False,
        gdbext: bool = True,
        before: Sequence[str] = (),
        cwd: Path | None = None,
    ) -> None:
        """Start GDB with ARGUMENTS, then run BEFORE; FOLDER takes the log, and is the default cwd.

        With ARM64 GDB is one that knows that CPU, and finds the files that qemu finds."""
        number = next(NUMBERS)
        self.arm64 = arm64
        self.prompt = f"(gdbext-test-{os.getpid()}-{number}) "
        self.log = folder / f"gdb-{number}.log"
        self.program_output: Path | None = None
        self.pid: int | None = None  # of the program, where it is a process of this machine
        # Readline draws its lines itself and would mix them with the answers.
        early = ["set editing off", f"set prompt {self.prompt}", *settings(arm64, arguments)]
        words = [word for command in early for word in ("-iex", command)]
        self._log: IO[str] = self.log.open("w", errors="backslashreplace")
        self._gdb = pexpect.spawn(
            gdb_program(arm64),
            ["-nx", "-q", *words, *arguments],
            env=environment(),
            cwd=str(cwd or folder),
            encoding="utf-8",
            codec_errors="backslashreplace",
            echo=False,
            timeout=TIMEOUT,
            maxread=1 << 16,
        )
        self._gdb.logfile_read = self._log
        # pexpect's pauses are for programs that switch the echo off by themselves, or die slowly.
        self._gdb.delaybeforesend = self._gdb.delayafterread = None
        self._gdb.ptyproc.delayafterclose = 0  # type: ignore[attr-defined]
        self.greeting = self._answer("(start)", TIMEOUT)
        for command in (*loading(gdbext), *before):
            self.greeting += self.cmd(command)

    def cmd(self, line: str, timeout: float = TIMEOUT) -> str:
        """What GDB says to LINE, without echo and prompt."""
        assert "\n" not in line, "one command at a time"
        self._log.write(f"{line}\n")
        self._gdb.sendline(line)
        return self._answer(line, timeout)

    def _answer(self, line: str, timeout: float) -> str:
        try:
            self._gdb.expect_exact(self.prompt, timeout=timeout)
        except pexpect.TIMEOUT:
            raise HarnessError(f"no prompt after {line!r}:\n{self.text()[-4000:]}") from None
        except pexpect.EOF:
            raise HarnessError(f"GDB ended after {line!r}:\n{self.text()[-4000:]}") from None
        return str(self._gdb.before).replace("\r\n", "\n").rstrip("\n")

    def json(self, line: str, timeout: float = TIMEOUT) -> dict[str, Any]:
        """The document that LINE prints with -json, valid by its schema if there is one."""
        if "-json" not in line.split():
            line = f"{line} -json"
        answer = self.cmd(line, timeout)
        try:
            document = json.loads(answer)
        except ValueError as error:
            raise HarnessError(f"{line!r} is no JSON document ({error}):\n{answer}") from error
        return validated(document)

    def python(self, expression: str) -> str:
        """What a Python expression is in GDB, as text."""
        return self.cmd(f"python print({expression})")

    def until(self, location: str, resume: str = "continue") -> str:
        """Go on (by RESUME) to LOCATION; what GDB said at the stop."""
        self.cmd(f"tbreak {location}")
        said = self.cmd(resume)
        if not re.search(r"^(Thread .* hit )?Temporary breakpoint [\d.]+, ", said, re.MULTILINE):
            raise HarnessError(f"{resume!r} did not reach {location}:\n{said}")
        return said

    def until_signal(self, signal: str, resume: str = "continue") -> str:
        """Go on (by RESUME) until the program gets SIGNAL; what GDB said at the stop."""
        said = self.cmd(resume)
        if f"received signal {signal}" not in said:
            raise HarnessError(f"{resume!r} did not end in {signal}:\n{said}")
        return said

    def output(self) -> str:
        """What the program has printed so far."""
        if self.program_output is None or not self.program_output.exists():
            return ""
        return self.program_output.read_text(errors="backslashreplace")

    def text(self) -> str:
        """The log so far."""
        self._log.flush()
        return self.log.read_text(errors="backslashreplace")

    def close(self) -> None:
        """End GDB, and with it a program that it started."""
        if self._gdb.isalive():
            self._gdb.sendline("quit")
            try:
                self._gdb.expect(pexpect.EOF, timeout=30)
                self._gdb.wait()
            except pexpect.TIMEOUT:
                self._log.write("(GDB had to be killed)\n")
        self._gdb.close(force=True)
        self._log.flush()


def load_gdbext(gdb: Gdb) -> None:
    """Load gdbext in a session that went on without it so far."""
    for command in loading(True):
        gdb.cmd(command)


def validated(document: Any) -> dict[str, Any]:  # noqa: ANN401
    """DOCUMENT, after a look at gdbext/schemas/NAME.json for its "schema": "gdbext/NAME/1"."""
    assert isinstance(document, dict), "a document is an object"
    parts = str(document.get("schema")).split("/")
    assert (parts[0], len(parts)) == ("gdbext", 3), f"schema is {document.get('schema')!r}"
    schema = CHECKOUT / "gdbext" / "schemas" / f"{parts[1]}.json"
    if schema.exists():
        validator(schema).validate(document)
    return document


@cache
def validator(path: Path) -> Validator:
    """What judges documents by the schema at PATH, which is judged itself here, and only once."""
    import jsonschema

    schema = json.loads(path.read_text())
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


@dataclass(frozen=True)
class Batch:
    """How a `gdb -batch` run ended."""

    status: int
    stdout: str
    stderr: str


def batch(
    *arguments: str,
    cwd: Path,
    arm64: bool = False,
    gdbext: bool = True,
    stdin: str = "",
    env: dict[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Batch:
    """Run `gdb -batch ARGUMENTS`, after sourcing gdbext; ENV is added to GDB's environment."""
    early = [word for command in settings(arm64, arguments) for word in ("-iex", command)]
    load = [word for command in loading(gdbext) for word in ("-ex", command)]
    done = subprocess.run(
        [gdb_program(arm64), "-nx", "-q", "-batch", *early, *load, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        cwd=cwd,
        env=environment(**(env or {})),
        timeout=timeout,
    )
    return Batch(done.returncode, done.stdout, done.stderr)


def printed_address(text: str) -> int:
    """The first 0x… number in TEXT."""
    found = re.search(r"0x[0-9a-f]+", text)
    assert found, f"no address in {text!r}"
    return int(found[0], 16)
