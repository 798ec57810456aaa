"""Where files of a build are kept: by build-id, in the usual places."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

_FOLDERS = ("usr/lib/debug/.build-id", "usr/lib/.build-id")


def kept_paths(build_id: str, sysroot: str | None, environment: Mapping[str, str]) -> Iterator[str]:
    """Where the executable or library of a build may be, best first; few of them exist.

    The first two are distributions' (GDB manual, Separate Debug Files; Fedora's and SUSE's
    packages link the executables there), the last is the cache of debuginfod-find(1).
    """
    head, rest = build_id[:2], build_id[2:]
    if not rest:
        return
    for root in dict.fromkeys(((sysroot or "").rstrip("/"), "")):
        for folder in _FOLDERS:
            yield f"{root}/{folder}/{head}/{rest}"
    yield os.path.join(_cache(environment), build_id, "executable")


def _cache(environment: Mapping[str, str]) -> str:
    """The folder of debuginfod_find_executable(3)."""
    own = environment.get("DEBUGINFOD_CACHE_PATH")
    if own:
        return own
    home = environment.get("HOME", "/")
    old = os.path.join(home, ".debuginfod_client_cache")
    if os.path.isdir(old):
        return old
    return os.path.join(
        environment.get("XDG_CACHE_HOME") or os.path.join(home, ".cache"), "debuginfod_client"
    )
