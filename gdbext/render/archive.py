"""ZIP archives that are the same, byte for byte, whenever their contents are."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import BinaryIO

_DATE = (1980, 1, 1, 0, 0, 0)  # the first that ZIP can tell (PKWARE APPNOTE, 4.4.6)
_UNIX, _REGULAR = 3, 0o100600 << 16  # who made it, and st_mode


def write_archive(file: BinaryIO, entries: Mapping[str, bytes]) -> None:
    """Write the entries in the order of their names, which are the caller's own."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(entries):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = _UNIX, _REGULAR
            archive.writestr(entry, entries[name])
