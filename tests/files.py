"""What readelf says of one file's program headers, dynamic section and sections."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.oracles import said_by
from tests.programs import ARM64_ROOT

SEGMENT = re.compile(
    r"^  (?P<type>\S+) +0x[0-9a-f]+ 0x(?P<vaddr>[0-9a-f]+) 0x[0-9a-f]+ 0x[0-9a-f]+ "
    r"0x(?P<size>[0-9a-f]+) ",
    re.MULTILINE,
)
SECTION = re.compile(
    r"^ +\[ *\d+\] (?P<name>\S+) +\S+ +(?P<address>[0-9a-f]{16}) [0-9a-f]+ (?P<size>[0-9a-f]+) ",
    re.MULTILINE,
)
PAGE = 4096


@dataclass(frozen=True)
class File:
    """One ELF file; addresses are as in the file, before a load bias."""

    path: Path
    entry: int
    loads: tuple[tuple[int, int], ...]  # (first, behind the last)
    dynamic: int | None
    tls: tuple[int, int] | None  # (address, size)
    relro: str
    now: bool
    plt: bool
    pltgot: int | None
    needed: tuple[str, ...]
    soname: str | None
    build_id: str | None

    @property
    def start(self) -> int:
        return min(first for first, _ in self.loads) // PAGE * PAGE

    @property
    def end(self) -> int:
        return -(-max(last for _, last in self.loads) // PAGE) * PAGE

    def holds(self, address: int) -> bool:
        return any(first <= address < last for first, last in self.loads)


@cache
def look(path: Path) -> File:
    """What `readelf -hldnW` says; section headers are not needed for it."""
    text = said_by("readelf", "-hldnW", str(path))
    segments = [
        (m["type"], int(m["vaddr"], 16), int(m["size"], 16)) for m in SEGMENT.finditer(text)
    ]
    found = {kind: (vaddr, size) for kind, vaddr, size in reversed(segments)}
    dynamic = text.partition("Dynamic section at")[2]
    now = bool(
        re.search(r"\((?:BIND_NOW|FLAGS|FLAGS_1)\).*\b(?:BIND_NOW|NOW)\b|\(BIND_NOW\)", dynamic)
    )
    soname = re.search(r"\(SONAME\) +Library soname: \[(.*)\]", dynamic)
    build_id = re.search(r"Build ID: ([0-9a-f]+)", text)
    pltgot = re.search(r"\(PLTGOT\) +0x([0-9a-f]+)", dynamic)
    entry = re.search(r"Entry point address: +0x([0-9a-f]+)", text)
    assert entry
    return File(
        path,
        int(entry[1], 16),
        tuple((vaddr, vaddr + size) for kind, vaddr, size in segments if kind == "LOAD" and size),
        found["DYNAMIC"][0] if "DYNAMIC" in found else None,
        found.get("TLS"),
        "none" if "GNU_RELRO" not in found else "full" if now else "partial",
        now,
        "(JMPREL)" in dynamic,
        int(pltgot[1], 16) if pltgot else None,
        tuple(re.findall(r"\(NEEDED\) +Shared library: \[(.*)\]", dynamic)),
        soname[1] if soname else None,
        build_id[1] if build_id else None,
    )


@cache
def section(path: Path, name: str) -> tuple[int, int] | None:
    """(first address, address behind the last) of a section, None where there is none."""
    for found in SECTION.finditer(said_by("readelf", "-SW", str(path))):
        if found["name"] == name:
            start = int(found["address"], 16)
            return start, start + int(found["size"], 16)
    return None


def local(path: str, arm64: bool) -> Path:
    """The file on this machine: qemu looks below its -L folder first."""
    below = ARM64_ROOT / path.lstrip("/")
    return below if arm64 and below.exists() else Path(path)


def with_sections(path: Path) -> Path:
    """The same file as the linker made it, where PATH has lost its section headers."""
    twins = {"libplugin.so": "with_sections.so", "host_bare": "host"}
    twin = path.with_name(twins.get(path.name, path.name))
    return twin if twin.exists() else path


def word(data: bytes, at: int = 0) -> int:
    """The little-endian 64-bit number at a place in bytes."""
    return int.from_bytes(data[at : at + 8], "little")
