"""Facts that a remote stub answers directly, through GDB's connection to it."""

from __future__ import annotations

import re

import gdb

_MOST_AUXV = 1 << 16
_LONGEST_FILE = 1 << 26


def read_auxv(inferior: gdb.Inferior) -> bytes:
    """qXfer:auxv:read of the remote protocol; b'' for a target that is not remote."""
    data = b""
    while True:
        reply = _send(inferior, f"qXfer:auxv:read::{len(data):x},800".encode())
        data += unescape(reply[1:]) if reply[:1] in (b"l", b"m") else b""
        if reply[:1] != b"m" or len(data) > _MOST_AUXV:
            return data


def read_file(inferior: gdb.Inferior, path: str) -> bytes:
    """A whole file through the remote protocol's vFile packets (gdbserver has them)."""
    opened = _send(inferior, b"vFile:open:" + path.encode().hex().encode() + b",0,0")
    if not re.fullmatch(rb"F[0-9a-f]+", opened):
        return b""
    data = b""
    while len(data) < _LONGEST_FILE:
        reply = _send(inferior, b"vFile:pread:%s,800,%x" % (opened[1:], len(data)))
        head, _, body = reply.partition(b";")
        part = unescape(body)
        if not re.fullmatch(rb"F[0-9a-f]+", head) or not part:
            break
        data += part
    _send(inferior, b"vFile:close:" + opened[1:])
    return data


def _send(inferior: gdb.Inferior, packet: bytes) -> bytes:
    connection = getattr(inferior, "connection", None)
    send = getattr(connection, "send_packet", None)  # remote targets have it, from GDB 12 on
    return (send(packet) or b"") if send else b""


def printed_auxv() -> dict[int, int]:
    """The auxiliary vector from the text of `info auxv`, for GDBs that have no other way."""
    try:
        text = gdb.execute("info auxv", to_string=True)
    except gdb.error:
        return {}  # this target has none
    rows = re.findall(r'^(\d+) .*? (0x[0-9a-f]+|\d+)(?: ".*")?$', text, re.MULTILINE)
    return {int(key): int(value, 0) for key, value in rows if int(key)}


def unescape(data: bytes) -> bytes:
    """Undo the remote protocol's binary escapes: `}` and a byte with bit 5 flipped."""
    return re.sub(rb"\}(.)", lambda m: bytes((m.group(1)[0] ^ 0x20,)), data, flags=re.DOTALL)
