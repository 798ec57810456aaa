"""Snapshots as files: JSON, JSON packed by gzip, or the one in a bundle."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO

from gdbext.elf.file import map_file
from gdbext.elf.problem import Problem
from gdbext.findings.snapshots.snapshot import Snapshot
from gdbext.findings.snapshots.snapshot_document import decode_snapshot

ENTRY = "snapshot.json"  # a bundle's
LARGEST = 128 << 20  # bytes; 1,000 plugins with 60,000 slots take some ten million
_GZIP, _ZIP, _ZIP_ENTRY = b"\x1f\x8b", b"PK\x03\x04", b"PK\x01\x02"
_MOST_ENTRIES = 1000
_ENCRYPTED = 1  # the general purpose flag (PKWARE APPNOTE, 4.4.4)


def read_snapshot(path: str) -> Snapshot:
    """The snapshot in a file; raises Problem, with the file's name, for whatever is none."""
    data = map_file(path)
    try:
        return decode_snapshot(_unpacked(bytes(data[: LARGEST + 1])))
    except Problem as problem:
        raise Problem(f"{path!r}: {problem}") from problem


def _unpacked(data: bytes) -> bytes:
    if data.startswith(_GZIP):
        return _limited("gzip", lambda: gzip.GzipFile(fileobj=BytesIO(data)).read(LARGEST + 1))
    if data.startswith(_ZIP):
        return _limited("zip", lambda: _entry(data))
    return _bounded(data)


def _bounded(data: bytes) -> bytes:
    if len(data) > LARGEST:
        raise Problem(f"it has more than {LARGEST} bytes")
    return data


def _entry(data: bytes) -> bytes:
    """The snapshot in a bundle. Nothing is written, and no other entry is looked at."""
    if data.count(_ZIP_ENTRY) > _MOST_ENTRIES:
        raise Problem("it is an archive of too many entries")
    with zipfile.ZipFile(BytesIO(data)) as archive:
        if ENTRY not in archive.namelist():
            raise Problem(f"it is an archive without {ENTRY}, so no bundle of gdbext")
        entry = archive.getinfo(ENTRY)
        plain = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if not plain or entry.flag_bits & _ENCRYPTED:
            raise Problem(f"its {ENTRY} is encrypted, or packed in another way than gdbext does")
        with archive.open(entry) as file:
            return file.read(LARGEST + 1)


def _limited(kind: str, unpack: Callable[[], bytes]) -> bytes:
    try:
        data = unpack()
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError,
            ValueError) as error:  # fmt: skip
        raise Problem(f"it is a damaged {kind} file: {error}") from error
    return _bounded(data)
