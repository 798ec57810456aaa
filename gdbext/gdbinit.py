"""The lines that `gdbext install` keeps in the user's gdbinit, and how they get in and out."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BEGIN = b"# >>> gdbext >>>"
END = b"# <<< gdbext <<<"
WRITTEN_BY = b"# Written by `gdbext install`; `gdbext install --remove` takes it out."
# These two say what --remove has to restore besides taking the block out.
CREATED = b"# This file was created for these lines."
NEWLINE_ADDED = b"# The line before had no newline at its end."


class GdbinitError(Exception):
    """The gdbinit, or a path that must be written into it, is not as it has to be."""


@dataclass(frozen=True)
class Block:
    """Where the block lies in a gdbinit, in bytes, its marker lines included."""

    start: int
    end: int
    lines: tuple[bytes, ...]


def default_path(environment: Mapping[str, str]) -> Path:
    """Choose the gdbinit that GDB reads: since GDB 11 the one in the configuration folder wins.

    Source: gdbsupport/pathstuff.cc, find_gdb_home_config_file."""
    home = Path(environment.get("HOME") or Path.home())
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "gdb" / "gdbinit"
    return config if config.exists() else home / ".gdbinit"


def block_lines(package: str, needs: Sequence[str], *, auto_load: bool) -> tuple[bytes, ...]:
    """Give the lines for the package's folder and the folders that its needs are imported from."""
    lines = [WRITTEN_BY, b"directory " + directory_argument(package)]
    if needs:
        lines.append(b"set $gdbext_packages = " + c_string(needs))
    if auto_load:
        # The whole path, since a file named gdbext in the working directory would win otherwise.
        # `source` takes the rest of the line as it is, without quotes.
        lines.append(b"source " + checked(f"{package}/gdbext"))
    return tuple(lines)


def checked(path: str) -> bytes:
    """Return the path's bytes, or raise GdbinitError if no line of a gdbinit can express it."""
    raw = os.fsencode(path)
    if b":" in raw:
        raise GdbinitError(f"GDB's source path cannot hold a folder with ':' in its name: {path}")
    if re.search(rb"[\x00-\x1f\x7f]", raw) or raw.endswith(b" "):
        raise GdbinitError(f"a gdbinit cannot hold this path: {path!r}")
    return raw


def directory_argument(path: str) -> bytes:
    """Quote a folder for GDB's `directory`, which splits as a shell does (libiberty, buildargv)."""
    raw = checked(path)
    if re.search(rb"[\s\"'\\]", raw):
        return b'"' + re.sub(rb'(["\\])', rb"\\\1", raw) + b'"'
    return raw


def c_string(paths: Sequence[str]) -> bytes:
    """Join folders by ':' in a C string. Bytes beyond ASCII are escaped: GDB would recode them."""
    joined = b":".join(checked(path) for path in paths)
    escaped = re.sub(rb'(["\\])', rb"\\\1", joined)
    return b'"' + re.sub(rb"[\x80-\xff]", lambda byte: b"\\%03o" % byte[0][0], escaped) + b'"'


def find_block(content: bytes) -> Block | None:
    """Find gdbext's block, or None; raise GdbinitError if its markers are damaged."""
    begins: list[int] = []
    ends: list[int] = []
    starts = [0]
    for number, line in enumerate(content.splitlines(keepends=True)):
        begins += [number] if line.strip() == BEGIN else []
        ends += [number] if line.strip() == END else []
        starts.append(starts[-1] + len(line))
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or begins > ends:
        numbers = ", ".join(str(number + 1) for number in sorted(begins + ends))
        raise GdbinitError(
            f"its gdbext markers are damaged (line {numbers}): there must be one "
            f"'{BEGIN.decode()}' and after it one '{END.decode()}'; repair or delete them by hand"
        )
    start, end = starts[begins[0]], starts[ends[0] + 1]
    lines = [line.strip() for line in content[start:end].splitlines()]
    return Block(start, end, tuple(lines[1:-1]))


def with_block(content: bytes | None, lines: Sequence[bytes]) -> bytes:
    """Return a gdbinit's content (None: no such file yet) with these lines in gdbext's block.

    The block comes last, so that an error in it keeps nothing of the user's from being read."""
    block = find_block(content or b"")
    newline = newline_of(content or b"")
    if content is None:
        return written([*lines, CREATED], newline)
    if block is None:
        if content and not content.endswith(b"\n"):
            return content + newline + written([*lines, NEWLINE_ADDED], newline)
        return content + written(lines, newline)
    kept = [line for line in block.lines if line in (CREATED, NEWLINE_ADDED)]
    return content[: block.start] + written([*lines, *kept], newline) + content[block.end :]


def without_block(content: bytes) -> bytes | None:
    """Return what the content was before with_block(); None means that there was no file."""
    block = find_block(content)
    if block is None:
        return content
    before, after = content[: block.start], content[block.end :]
    if NEWLINE_ADDED in block.lines and not after:
        before = before[: -len(newline_of(content))]
    rest = before + after
    return None if CREATED in block.lines and not rest else rest


def written(lines: Sequence[bytes], newline: bytes) -> bytes:
    """Join a block's lines and its markers."""
    return b"".join(line + newline for line in (BEGIN, *lines, END))


def newline_of(content: bytes) -> bytes:
    """Tell how the lines of the content end."""
    return b"\r\n" if content.split(b"\n", 1)[0].endswith(b"\r") else b"\n"


def is_current(content: bytes, package: str, needs: Sequence[str]) -> bool | None:
    """Tell whether the block says what install would write now; None where there is no block."""
    block = find_block(content)
    if block is None:
        return None
    lines = tuple(line for line in block.lines if line not in (CREATED, NEWLINE_ADDED))
    return lines in [
        block_lines(package, needs, auto_load=auto_load) for auto_load in (False, True)
    ]


def read(path: Path) -> bytes | None:
    """Read a gdbinit; None where there is none."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise GdbinitError("it is not a regular file")
        return path.read_bytes()
    except FileNotFoundError:
        return None


def replace(path: Path, content: bytes | None) -> None:
    """Write the file whole or not at all, its link, mode and owner kept; None deletes it."""
    target = Path(os.path.realpath(path))
    if content is None:
        target.unlink(missing_ok=True)
        return
    descriptor, temporary = tempfile.mkstemp(prefix=".gdbext-", dir=target.parent)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            keep_attributes(target, stream.fileno())
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def keep_attributes(target: Path, descriptor: int) -> None:
    """Give the new file the mode and owner of the one that it replaces, or what a new file gets."""
    try:
        old = target.stat()
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(descriptor, 0o666 & ~umask)
        return
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
