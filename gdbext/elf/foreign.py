"""What a file is that is no ELF file, by its first bytes: to say more than "invalid ELF header"."""

from __future__ import annotations

import re
from typing import NamedTuple

from gdbext.elf.core import decode_path
from gdbext.elf.file import FileData

_HEAD = 4096
_MAGICS = (
    (b"!<arch>\n", "a static library (ar archive)"),
    (b"!<thin>\n", "a thin static library (ar archive)"),
    (b"version https://git-lfs", "a pointer of git LFS: the library itself was never fetched"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\0", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"PK\x03\x04", "a ZIP archive (a wheel or a jar is one)"),
    (b"MZ", "a Windows program or library (PE)"),
    (b"\xcf\xfa\xed\xfe", "a macOS library or program (Mach-O)"),
    (b"\xca\xfe\xba\xbe", "a macOS universal file or a Java class"),
    (b"\0asm", "a WebAssembly module"),
    (b"BC\xc0\xde", "LLVM bitcode"),
)
# GNU ld's manual, Implicit Linker Scripts: a text in place of a library, for the linker alone
_SCRIPT = re.compile(rb"\b(?:INPUT|GROUP)\s*\(((?:[^()]|\([^()]*\))*)\)")
_COMMENT = re.compile(rb"/\*.*?\*/", re.DOTALL)


class Foreign(NamedTuple):
    """What a file is, in words; `libraries` are those that a linker script stands for."""

    what: str
    libraries: tuple[str, ...] = ()


def describe_foreign(data: FileData) -> Foreign:
    """What a file without an ELF header is."""
    head = bytes(data[:_HEAD])
    if not head:
        return Foreign("an empty file")
    for magic, what in _MAGICS:
        if head.startswith(magic):
            return Foreign(what)
    if not head.strip(b"\0"):
        return Foreign("nothing but zeros: it was probably never written to disk")
    if b"\0" in head:
        return Foreign("binary data of an unknown kind")
    text = _COMMENT.sub(b" ", head)
    match = _SCRIPT.search(text)
    if match is not None:
        words = re.sub(rb"\b(?:AS_NEEDED|INPUT|GROUP)\b|[(),]", b" ", match.group(1)).split()
        names = tuple(decode_path(word) for word in words)
        return Foreign("a text for the linker (GNU ld script)", names)
    if head.startswith(b"#!"):
        return Foreign("a script: " + decode_path(head.split(b"\n", 1)[0][:60]))
    if re.match(rb"\s*<(?:!doctype|html)", head, re.IGNORECASE):
        return Foreign("a web page (HTML): a download went wrong")
    return Foreign("a text")
