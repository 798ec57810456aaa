"""The answer key for glibc's private fields: DWARF of libc6-dbg, as GDB reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.oracles import interpreter, said_by


@dataclass(frozen=True)
class Member:
    """Where a struct member lies: OFFSET and SIZE in bytes; BITS is its width if it is a bit-field,
    then BIT counts from OFFSET's lowest bit."""

    offset: int
    size: int
    bit: int = 0
    bits: int = 0


LAYOUT = (
    "python t = gdb.lookup_type('struct link_map')",
    "python print('sizeof', t.sizeof * 8, 0, t.sizeof)",
    "python [print(f.name, f.bitpos, f.bitsize, f.type.sizeof) for f in t.fields()]",
)


def parse_layout(text: str) -> dict[str, Member]:
    """Lines "name bitpos bitsize sizeof", as LAYOUT prints them. "sizeof" is the whole struct."""
    found = {}
    for line in text.splitlines():
        name, position, bits, size = line.split()
        offset, bit = divmod(int(position), 8)
        found[name] = Member(offset, int(size), bit if int(bits) else 0, int(bits))
    return found


def debug_file(path: Path | str) -> Path:
    """The separate debug information of a file, found by its build-id."""
    found = re.search(r"Build ID: ([0-9a-f]+)", said_by("readelf", "-nW", str(path)))
    assert found, f"{path} has no build-id"
    file = Path("/usr/lib/debug/.build-id") / found[1][:2] / f"{found[1][2:]}.debug"
    assert file.exists(), f"{file} is not there: install libc6-dbg"
    return file


def libc_link_map_layout(program: Path | str = "/bin/true") -> dict[str, Member]:
    """Each member of glibc's struct link_map, from the DWARF of PROGRAM's own ld.so (libc6-dbg)."""
    file = debug_file(interpreter(program))
    commands: Sequence[str] = [word for line in LAYOUT for word in ("-ex", line)]
    # Debian's own gdb, whatever $GDBEXT_GDB says: this is the answer key.
    return parse_layout(said_by("gdb", "-nx", "-q", "-batch", *commands, str(file)))
