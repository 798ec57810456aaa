"""Drift in made-up processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import pytest

from gdbext.findings.drift import Drift, find_drift, split_version
from gdbext.linker.loaded.disk import File
from gdbext.linker.loaded.modules import Linker, Module, read_linker
from gdbext.linker.needs.dependencies import read_dependencies
from gdbext.linker.needs.search import Found
from tests.unit import glibc
from tests.unit.glibc import Object


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("libfoo.so.1", ("libfoo", ".1")),
        ("libfoo.so", ("libfoo", "")),
        ("libfoo-2.4.so.0", ("libfoo", "-2.4.0")),
        ("libLLVM-14.so.1", ("libLLVM", "-14.1")),
        ("libgfortran-040039e1-0352e75f.so.5.0.0", ("libgfortran", "-040039e1-0352e75f.5.0.0")),
        ("libpcre2-16.so.0", ("libpcre2", "-16.0")),
        ("libx86_64-extra.so.2", ("libx86_64-extra", ".2")),
        ("libstdc++.so.6", ("libstdc++", ".6")),
        ("_multiarray_umath.cpython-311-x86_64-linux-gnu.so", ("", "")),
        ("mod_ssl.so", ("", "")),
        ("libnothing", ("", "")),
        ("", ("", "")),
    ],
)
def test_names_and_versions(name: str, expected: tuple[str, str]) -> None:
    assert split_version(name) == expected


def process(*libraries: Object) -> Linker:
    first = [
        Object("", needed=("libc.so.6",), type=0, tls=(8, 8, 8), tls_modid=1),
        Object("/lib/libc.so.6", "libc.so.6", tls=(8, 8, 8), tls_modid=2),
        Object("/lib/libz.so.1", "libz.so.1"),
    ]
    return read_linker(glibc.make("2.36-x86-64", [*first, *libraries]).process())


def drift(
    linker: Linker,
    found: Mapping[str, Found] | None = None,
    files: Mapping[str, File] | None = None,
    disk: Mapping[str, str] | None = None,
    cache: Mapping[str, set[str]] | None = None,
) -> list[Drift]:
    def at(facts: Mapping[str, Found] | Mapping[str, str] | None) -> dict[int, object]:
        return {m.map.address: facts[m.path] for m in linker.modules if facts and m.path in facts}

    def describe(module: Module) -> File:
        return (files or {}).get(module.path) or File(module.path, None, None, None)

    dependencies = read_dependencies(linker.modules[0].memory, linker)
    return find_drift(
        dependencies, at(found), at(disk), describe, (files or {}).get, cache or {}  # type: ignore[arg-type]
    )  # fmt: skip


def kinds(found: Sequence[Drift]) -> list[tuple[str, list[str]]]:
    return [(d.kind, [os.path.basename(m.path) for m in d.modules]) for d in found]


def test_a_plain_process_has_none() -> None:
    assert drift(process(Object("/opt/plug.so", "", ("libz.so.1",), 2, opened=1))) == []


def test_versions() -> None:
    one = Object("/a/libssl.so.1.1", "libssl.so.1.1", (), 2, opened=1)
    three = Object("/b/libssl.so.3", "libssl.so.3", (), 2, opened=1)
    plugin = Object("/c/libssl.so", "libssl.so", (), 2, opened=1)  # no version, no drift
    found = drift(process(one, three, plugin))
    assert kinds(found) == [("two versions", ["libssl.so.1.1", "libssl.so.3"])]
    assert "libssl is loaded in 2 versions (libssl.so.1.1, libssl.so.3)" in found[0].text
    widths = [
        Object(f"/a/libpcre2-{n}.so.0", f"libpcre2-{n}.so.0", (), 2, opened=1) for n in (8, 16)
    ]
    assert drift(process(*widths)) == []


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ((None, None), "several files"),
        (("aa", "aa"), "the same build"),
        (("aa", "bb"), "different"),
    ],
)
def test_same_soname(ids: tuple[str | None, str | None], words: str) -> None:
    paths = ("/a/libx.so.1", "/b/libx.so.1")
    linker = process(*(Object(path, "libx.so.1", (), 2, opened=1) for path in paths))
    files = {path: File(path, "libx.so.1.2", id_, (1, 2)) for path, id_ in zip(paths, ids)}
    (found,) = drift(linker, files=files)
    assert kinds([found]) == [("same soname", ["libx.so.1", "libx.so.1"])]
    assert words in found.text
    assert found.evidence[0].startswith("/a/libx.so.1 (the file is libx.so.1.2, ")


def test_shadowed() -> None:
    linker = process(Object("/app/libx.so.1", "libx.so.1", (), 2, opened=1))
    by_path = {"/app/libx.so.1": Found("LD_LIBRARY_PATH", "found", "libx.so.1", "/app/")}
    files = {
        "/app/libx.so.1": File("/app/libx.so.1", None, "aa", (1, 5)),
        "/lib/libx.so.1": File("/lib/libx.so.1", "libx.so.1.9", "bb", (1, 6)),
    }
    cache = {"libx.so.1": {"/lib/libx.so.1"}}
    (found,) = drift(linker, by_path, files, cache=cache)
    assert (found.kind, found.other) == ("shadowed", files["/lib/libx.so.1"])
    assert found.evidence[2].endswith("/lib/libx.so.1 (the file is libx.so.1.9, build-id bb)")
    # without a cache, from a default directory that is in use
    default = {"/lib/libz.so.1": Found("default", "found", "libz.so.1", "/lib/")}
    assert kinds(drift(linker, {**by_path, **default}, files)) == [("shadowed", ["libx.so.1"])]
    # the same file by another path, a file that is gone, and a rule that is no search
    same = {**files, "/lib/libx.so.1": files["/app/libx.so.1"]._replace(path="/lib/libx.so.1")}
    assert drift(linker, by_path, same, cache=cache) == []
    assert drift(linker, by_path, {}, cache=cache) == []
    cached = {"/app/libx.so.1": Found("cache", "found", "libx.so.1", "/app/")}
    assert drift(linker, cached, files, cache=cache) == []
    assert drift(linker, by_path, files) == []


def test_other_soname_and_files() -> None:
    other = Object("/app/libx.so", "libx.so.3", (), 2)
    user = Object("/app/plug.so", "", ("libx.so",), 2, opened=1)
    made = glibc.make("2.36-x86-64", [*glibc.program()[:3], other, user])
    # l_libname has the name that was asked for
    made.runs[made.heap] = b"libx.so\0".ljust(4096, b"\0")
    at = int.from_bytes(made.runs[other.address][56:64], "little")
    made.runs[at] = crafted_words(made.heap, 0, 0)
    linker = read_linker(made.process())
    (found,) = drift(linker)
    assert kinds([found]) == [("other soname", ["libx.so", "plug.so"])]
    assert found.evidence == ("DT_NEEDED libx.so", "DT_SONAME libx.so.3 in /app/libx.so")
    replaced = drift(linker, disk={"/app/plug.so": "replaced", "/app/libx.so": "same"})
    assert kinds(replaced)[1:] == [("file", ["plug.so"])]
    assert "was replaced since it was loaded" in replaced[1].text


def crafted_words(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)
