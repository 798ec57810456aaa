"""Files that cannot be loaded, made of ones that can."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

_PT_LOAD, _PT_DYNAMIC = 1, 2

# (the file's name, the class that plug-why gives it) -> its contents, made of a sound library's
Change = Callable[[bytearray], bytes]


def _put(offset: int, form: str, value: int) -> Change:
    def change(data: bytearray) -> bytes:
        struct.pack_into(form, data, offset, value)
        return bytes(data)

    return change


def segments(data: bytes | bytearray) -> list[int]:
    """The file offsets of the program headers."""
    (start,), (count,) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<H", data, 56)
    return [start + 56 * number for number in range(count)]


def _no_dynamic(data: bytearray) -> bytes:
    for at in segments(data):
        if struct.unpack_from("<I", data, at)[0] == _PT_DYNAMIC:
            struct.pack_into("<I", data, at, 0)
    return bytes(data)


def _no_loads(data: bytearray) -> bytes:
    for at in segments(data):
        if struct.unpack_from("<I", data, at)[0] == _PT_LOAD:
            struct.pack_into("<I", data, at, 0)
    return bytes(data)


def _badly_aligned(data: bytearray) -> bytes:
    loads = [at for at in segments(data) if struct.unpack_from("<I", data, at)[0] == _PT_LOAD]
    (offset,) = struct.unpack_from("<Q", data, loads[1] + 8)
    struct.pack_into("<Q", data, loads[1] + 8, offset + 16)
    return bytes(data)


def relr(data: bytearray) -> bytes:
    """Empty RELR relocations in place of the destructors, without the version that goes with them.

    DT_FINI_ARRAY and DT_FINI_ARRAYSZ become DT_RELR and DT_RELRSZ, DT_RELACOUNT DT_RELRENT."""
    changes = {26: (36, None), 28: (35, 0), 0x6FFFFFF9: (37, 8)}
    for at in segments(data):
        kind, _, offset, _, _, size, _, _ = struct.unpack_from("<IIQQQQQQ", data, at)
        for entry in range(offset, offset + size, 16) if kind == _PT_DYNAMIC else ():
            tag, value = struct.unpack_from("<QQ", data, entry)
            if tag in changes:
                new, fixed = changes[tag]
                struct.pack_into("<QQ", data, entry, new, value if fixed is None else fixed)
    return bytes(data)


def cut(data: bytearray) -> bytes:
    """Without the page of its last segment, which ld.so writes to."""
    loads = [at for at in segments(data) if struct.unpack_from("<I", data, at)[0] == _PT_LOAD]
    offset = struct.unpack_from("<Q", data, loads[-1] + 8)[0]
    return bytes(data[: offset // 4096 * 4096])


# What each file is, and its class; on musl some load, or fail in another way.
FORGED: dict[str, tuple[str, Change]] = {
    "text.so": ("not_elf", lambda _: b"not a library at all, but a text of more than 64 bytes" * 4),
    "script.so": ("not_elf", lambda _: b"/* GNU ld script */\nGROUP ( libreal.so.1 AS_NEEDED ( "
                                       b"/lib/libother.so.2 ) ) and then some more text\n"),
    "archive.so": ("not_elf", lambda _: b"!<arch>\n" + bytes(200)),
    "empty.so": ("not_elf", lambda _: b""),
    "headless.so": ("truncated", lambda data: bytes(data[:40])),
    "beheaded.so": ("truncated", lambda data: bytes(data[:100])),
    "class32.so": ("wrong_class", _put(4, "<B", 1)),
    "machine.so": ("wrong_machine", _put(18, "<H", 8)),
    "bigendian.so": ("wrong_machine", _put(5, "<B", 2)),
    "osabi.so": ("not_loadable", _put(7, "<B", 9)),
    "abiversion.so": ("not_loadable", _put(8, "<B", 4)),
    "padding.so": ("not_loadable", _put(15, "<B", 1)),
    "version.so": ("not_loadable", _put(20, "<I", 2)),
    "object.so": ("not_loadable", _put(16, "<H", 1)),
    "phentsize.so": ("not_loadable", _put(54, "<H", 32)),
    "nodynamic.so": ("not_loadable", _no_dynamic),
    "noloads.so": ("not_loadable", _no_loads),
    "badalign.so": ("not_loadable", _badly_aligned),
}  # fmt: skip


def forge(folder: Path, sound: Path) -> dict[Path, str]:
    """{path: class} of all of them, made in FOLDER of a SOUND library."""
    found = {}
    for name, (kind, change) in FORGED.items():
        path = folder / name
        path.write_bytes(change(bytearray(sound.read_bytes())))
        path.chmod(0o755)
        found[path] = kind
    return found
