"""ld.so.cache and the rules by which ld.so finds files; ldconfig judges the cache."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from gdbext.elf.image import DT_RPATH, DT_RUNPATH
from gdbext.linker.cache import read_cache
from gdbext.linker.modules import Linker, Module, read_linker
from gdbext.linker.search import Searches
from tests.oracles import said_by
from tests.unit import glibc
from tests.unit.glibc import Object


def test_the_cache_is_what_ldconfig_prints() -> None:
    rows = re.findall(r"^\t(\S+) \(.*\) => (.*)$", said_by("/sbin/ldconfig", "-p"), re.MULTILINE)
    assert len(rows) > 20
    expected: dict[str, set[str]] = {}
    for name, path in rows:
        expected.setdefault(name, set()).add(path)
    assert read_cache("/etc/ld.so.cache") == expected


def cache(entries: list[tuple[int, int]], strings: bytes, count: int | None = None) -> bytes:
    """The new format: header of 48 bytes, entries of 24 bytes, offsets from the header's start."""
    head = b"glibc-ld.so.cache1.1"
    head += struct.pack("<II", len(entries) if count is None else count, len(strings)).ljust(28)
    rows = b"".join(struct.pack("<iIIIQ", 1, key, value, 0, 0) for key, value in entries)
    return head + rows + strings


def test_made_up_caches(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    first = 48 + 2 * 24
    strings = b"a.so\0/lib/a.so\0/l\xff/a.so\0"
    sane = cache([(first, first + 5), (first, first + 15)], strings)
    expected = {"a.so": {"/lib/a.so", "/l\udcff/a.so"}}
    path.write_bytes(sane)
    assert read_cache(str(path)) == expected
    path.write_bytes(b"ld.so-1.7.0\0" + bytes(52) + sane)  # behind a table in the old format
    assert read_cache(str(path)) == expected
    for data in (b"", b"glibc-ld.so.cache1.1", sane[:47], bytes(100)):
        path.write_bytes(data)
        assert read_cache(str(path)) == {}
    path.write_bytes(sane[: 48 + 30])  # in the second entry
    assert read_cache(str(path)) == {"": {""}}
    path.write_bytes(cache([(1 << 31, 1 << 31)], b"", count=0xFFFFFFFF))
    assert read_cache(str(path)) == {"": {""}}
    assert read_cache(str(tmp_path / "none")) == {}


def process(origin: dict[int, str] | None = None) -> tuple[glibc.Glibc, Linker]:
    """A program whose main and plugin carry these search paths."""
    strings: list[tuple[int, int]] = []
    objects = [
        Object("", needed=("libc.so.6", "libone.so"), type=0, tls=(8, 8, 8), tls_modid=1),
        Object("/app/lib/libone.so", "libone.so"),
        Object("/lib/x86_64-linux-gnu/libc.so.6", "libc.so.6", tls=(8, 8, 8), tls_modid=2),
        Object("/opt/plugins/p.so", "p.so", ("libtwo.so",), 2, opened=1),
        Object("/opt/lib/glibc-hwcaps/x86-64-v3/libtwo.so", "libtwo.so", (), 2),
    ]
    for tag, text in (origin or {}).items():
        # the string table begins with NUL and the names in order: put the path in as a name
        main = objects[0]
        offset = 1 + sum(len(n) + 1 for n in main.needed)
        main.soname = text
        strings.append((tag, offset))
    objects[0].values = strings
    made = glibc.make("2.36-x86-64", objects)
    return made, read_linker(made.process())


def rule(made: glibc.Glibc, linker: Linker, index: int, **more: object) -> tuple[str | None, str]:
    environment = more.get("environment", {})
    entries = more.get("cache", {})
    assert isinstance(environment, dict)
    assert isinstance(entries, dict)
    module: Module = linker.modules[index]
    found = Searches(made.process(), linker, environment, entries).find(module)
    return found.rule, found.text


def test_the_program_and_paths() -> None:
    made, linker = process()
    assert rule(made, linker, 0) == ("program", "the program itself")
    assert rule(made, linker, 2)[0] == "default"
    found = {"libone.so": {"/app/lib/libone.so"}}
    assert rule(made, linker, 1, cache=found) == (
        "cache", "libone.so found by /etc/ld.so.cache",
    )  # fmt: skip
    assert rule(made, linker, 1)[0] is None
    assert "no search rule" in rule(made, linker, 1)[1]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/app/lib", "LD_LIBRARY_PATH"),
        ("/app/lib/", "LD_LIBRARY_PATH"),
        ("/x:/app/lib:/y", "LD_LIBRARY_PATH"),
        ("/x;/app/lib", "LD_LIBRARY_PATH"),
        ("/app/lib/..", None),
        ("/app", None),
        ("/app/libx:/app/li", None),
        ("", None),
    ],
)
def test_ld_library_path(path: str, found: str | None) -> None:
    made, linker = process()
    assert rule(made, linker, 1, environment={"LD_LIBRARY_PATH": path})[0] == found


def test_hwcaps_below_a_directory() -> None:
    made, linker = process()
    environment = {"LD_LIBRARY_PATH": "/opt/lib"}
    assert rule(made, linker, 4, environment=environment)[0] == "LD_LIBRARY_PATH"


@pytest.mark.parametrize(("tag", "name"), [(DT_RPATH, "RPATH"), (DT_RUNPATH, "RUNPATH")])
@pytest.mark.parametrize("text", ["/app/lib", "/none:/app/lib", "$ORIGIN/../app/lib"])
def test_paths_of_the_loader(tag: int, name: str, text: str) -> None:
    made, linker = process({tag: text})
    assert linker.modules[0].path == "/bin/main"
    assert rule(made, linker, 1)[0] == name
    # LD_LIBRARY_PATH comes after RPATH and before RUNPATH; $ORIGIN would be spelled otherwise
    both = rule(made, linker, 1, environment={"LD_LIBRARY_PATH": "/app/lib"})[0]
    first = tag == DT_RPATH and "$" not in text
    assert both == ("RPATH" if first else "LD_LIBRARY_PATH")
