"""What files are that are no ELF files."""

from __future__ import annotations

import pytest

from gdbext.elf.foreign import describe_foreign


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"!<arch>\nx", "static library"),
        (b"\0" * 100, "zeros"),
        (b"PK\x03\x04", "ZIP"),
        (b"MZ\x90", "Windows"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
        (b"#!/bin/sh\nexit\n", "script: #!/bin/sh"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"hello", "a text"),
        (b"\x01\x02\0\x03", "binary data"),
    ],
)
def test_kinds(data: bytes, word: str) -> None:
    assert word in describe_foreign(data).what


def test_linker_scripts_name_the_real_libraries() -> None:
    script = (
        b"/* INPUT(none) */ OUTPUT_FORMAT(elf64)\nGROUP ( /a/libc.so.6 AS_NEEDED ( /b/ld.so ) )"
    )
    found = describe_foreign(script)
    assert found.libraries == ("/a/libc.so.6", "/b/ld.so")
    assert describe_foreign(b"INPUT(libncurses.so.6 -ltinfo)").libraries == (
        "libncurses.so.6",
        "-ltinfo",
    )
