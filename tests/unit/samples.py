"""Real ELF files, for tests in which strangers judge what gdbext reads."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests import programs

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
LARGEST = 6 << 20  # bytes; a stranger takes seconds for larger ones


def is_elf(path: Path) -> bool:
    """Whether a regular file is a 64-bit ELF program or shared object."""
    if not path.is_file() or not 0 < path.stat().st_size <= LARGEST:
        return False
    with path.open("rb") as file:
        start = file.read(18)
    return start[:6] == b"\x7fELF\x02\x01" and start[16:18] in (b"\x02\0", b"\x03\0")


@cache
def built() -> tuple[Path, ...]:
    """Every program and library of testprogs, for both CPUs and musl."""
    files = (path for name in programs.SETS for path in (programs.BUILDS / name).rglob("*"))
    found = sorted(path for path in files if not path.is_symlink() and is_elf(path))
    assert len(found) > 150, "testprogs have not been built"
    return tuple(found)


@cache
def system() -> tuple[Path, ...]:
    """Programs and libraries that others made: x86-64's, and ARM64's of the cross packages."""
    folders = (Path("/usr/bin"), LIBRARIES, programs.ARM64_ROOT / "lib")
    found: dict[Path, None] = {}
    for folder in folders:
        elves = [p for p in sorted(folder.iterdir()) if not p.is_symlink() and is_elf(p)]
        found.update(dict.fromkeys(elves[:: max(len(elves) // 20, 1)]))
    for name in ("libc.so.6", "ld-linux-x86-64.so.2", "libstdc++.so.6"):
        found[(LIBRARIES / name).resolve()] = None
    found[programs.ARM64_ROOT / "lib" / "libc.so.6"] = None
    found[programs.ARM64_ROOT / "lib" / "ld-linux-aarch64.so.1"] = None
    return tuple(found)


def all_files() -> tuple[Path, ...]:
    """All of both."""
    return built() + system()


TWINS = {"host_bare": "host", "libplugin.so": "with_sections.so"}


def judge(path: Path) -> Path:
    """The file to ask readelf about: it needs sections, which testprogs/nosections took away."""
    return path.parent / TWINS.get(path.name, path.name) if "nosections" in path.parts else path
