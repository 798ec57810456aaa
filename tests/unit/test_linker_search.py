"""ld.so.cache and the rules by which ld.so finds files; ldconfig judges the cache."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from gdbext.elf.image import DT_FLAGS_1, DT_RPATH, DT_RUNPATH
from gdbext.linker.loaded.modules import Linker, Module, read_linker
from gdbext.linker.needs.cache import read_cache
from gdbext.linker.needs.search import Searches
from gdbext.linker.needs.searchpaths import expand
from gdbext.linker.process.process import AT_SECURE
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


def test_without_the_environment_nothing_after_it_is_certain() -> None:
    made, linker = process({DT_RPATH: "/app/lib"})
    found = Searches(made.process(), linker, None, {})
    assert found.find(linker.modules[1]).rule == "RPATH"  # comes before LD_LIBRARY_PATH
    libc = found.find(linker.modules[2])
    assert libc.rule is None
    assert "the environment cannot be read" in libc.text


def test_a_secure_program_ignores_ld_library_path() -> None:
    made, linker = process()
    secure = made.process()
    environment = {"LD_LIBRARY_PATH": "/app/lib"}
    assert Searches(secure, linker, environment, {}).find(linker.modules[1]).rule is not None
    secure.auxv = {**secure.auxv, AT_SECURE: 1}
    assert Searches(secure, linker, environment, {}).find(linker.modules[1]).rule is None


def test_nodefaultlib() -> None:
    libc = {"libc.so.6": {"/lib/x86_64-linux-gnu/libc.so.6"}}
    made, linker = process({DT_FLAGS_1: ""})
    assert rule(made, linker, 2, cache=libc)[0] == "cache"
    made.objects[0].values = [(DT_FLAGS_1, 0x800)]
    made = glibc.make("2.36-x86-64", made.objects)
    linker = read_linker(made.process())
    assert rule(made, linker, 2, cache=libc)[0] is None
    elsewhere = {"libone.so": {"/app/lib/libone.so"}}
    assert rule(made, linker, 1, cache=elsewhere)[0] == "cache"


def opened(*callers: Object) -> tuple[glibc.Glibc, Linker]:
    """A plugin in /opt/in/, asked for as p.so, after modules that may have opened it."""
    made = glibc.make(
        "2.36-x86-64",
        [*glibc.program()[:3], *callers, Object("/opt/in/p.so", "p.so", (), 2, opened=1)],
    )
    return made, read_linker(made.process())


def caller(number: int, tag: int, *folders: str) -> Object:
    """A module with a list that ld.so expanded and searched."""
    name = f"c{number}.so"
    return Object(
        f"/opt/{name}", name, (), 2, opened=1, values=((tag, 1),), searched={tag: folders}
    )


def test_the_only_one_whose_runpath_leads_there_opened_it() -> None:
    one = caller(1, DT_RUNPATH, "/none/", "/opt/in/")
    made, linker = opened(one, caller(2, DT_RUNPATH, "/opt/other/"))
    found = Searches(made.process(), linker, {}, {}).find(linker.modules[5])
    assert (found.rule, found.opener) == ("RUNPATH", linker.modules[3])
    assert found.text == "p.so found in /opt/in/ (RUNPATH of /opt/c1.so)"
    # two of them: the rule is certain, the opener is not
    made, linker = opened(one, caller(2, DT_RUNPATH, "/opt/in/"))
    found = Searches(made.process(), linker, {}, {}).find(linker.modules[5])
    assert (found.rule, found.opener) == ("RUNPATH", None)
    assert "/opt/c1.so or /opt/c2.so" in found.text
    # one that ld.so never searched for, or that came later, is none
    never = caller(1, DT_RUNPATH)
    made, linker = opened(never, caller(2, DT_RUNPATH, "/opt/in/"))
    found = Searches(made.process(), linker, {}, {}).find(linker.modules[5])
    assert found.opener is linker.modules[4]
    made, linker = opened(never)
    assert Searches(made.process(), linker, {}, {}).find(linker.modules[4]).rule is None


def test_rules_that_depend_on_who_opened_it() -> None:
    made, linker = opened(caller(1, DT_RUNPATH, "/opt/in/"), caller(2, DT_RPATH, "/opt/in/"))
    found = Searches(made.process(), linker, {}, {}).find(linker.modules[5])
    assert found.rule is None
    assert found.text == (
        "p.so found by RPATH (RPATH of /opt/c2.so) or RUNPATH (RUNPATH of /opt/c1.so): "
        "that depends on who opened it"
    )


def test_a_damaged_list_is_expanded_anew() -> None:
    one = caller(1, DT_RUNPATH, "/opt/in/")
    one.soname, one.values = "$ORIGIN/in", ((DT_RUNPATH, 1),)
    made, linker = opened(one)
    release = made.release
    made.write(one, release.scope + 40, b"\x10" + bytes(7))
    found = Searches(made.process(), read_linker(made.process()), {}, {})
    plugin = found.linker.modules[4]
    assert (found.find(plugin).rule, found.find(plugin).directory) == ("RUNPATH", "/opt/in/")
    del linker


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (":", [""]),
        (".:/a:", ["./", "/a/", ""]),
        ("/a//:/b", ["/a/", "/b/"]),
        ("/", ["/"]),
        ("//", ["/"]),
        ("lib;/a", ["lib/", "/a/"]),
        ("$ORIGIN/../x:${ORIGIN}", ["/opt/../x/", "/opt/"]),
        ("$ORIGINAL", ["$ORIGINAL/"]),
        ("/$PLATFORM/x", ["/haswell/x/", "/p/x/"]),
        ("/usr/$LIB", ["/usr/lib/", "/usr/lib64/", "/usr/lib/x86_64-linux-gnu/",
                       "/usr/lib/aarch64-linux-gnu/"]),
        ("/a:/a/", ["/a/"]),
    ],
)  # fmt: skip
def test_expanding(text: str, expected: list[str]) -> None:
    _, linker = opened()
    assert linker.modules[3].path == "/opt/in/p.so"
    plug = replace(linker.modules[3], path="/opt/p.so")
    assert expand(text, ":;", plug, ("haswell", "p")) == expected
