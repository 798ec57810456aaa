"""Where files are: below another root, and by build-id in the usual places."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping

_MAGIC = re.compile(r"/proc/\d+/(?:exe|fd/\d+)")
_MOST_LINKS = 40  # the kernel's MAXSYMLINKS
_FOLDERS = ("usr/lib/debug/.build-id", "usr/lib/.build-id")


def below(root: str, path: str) -> str:
    """Where an absolute path of another root is here. Its symbolic links are that root's too:
    Debian's alternatives are absolute ones. What is missing there is so here as well."""
    root = root.rstrip("/")
    return root + (resolved(root, path) or path) if root else path


def resolved(root: str, path: str, searched: list[str] | None = None) -> str | None:
    """`path` without symbolic links, below `root`; None where something is missing, or is no
    directory and has a `/` behind it. `searched` gets each directory that is looked into."""
    parts = _parts(path)
    done, links = "", 0
    while parts:
        part = parts.pop()
        if part in (".", ".."):
            if done and not os.path.isdir(root + done):
                return None
            done = os.path.dirname(done).rstrip("/") if part == ".." else done
            continue
        if searched is not None:
            searched.append(done or "/")
        here = f"{done}/{part}"
        if _MAGIC.fullmatch(here):
            done = here  # it leads to an open file, which may have no path
            continue
        try:
            target = os.readlink(root + here)
        except OSError as error:
            if error.errno != errno.EINVAL:  # it is no link, but it is there
                return None
            done = here
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        if target.startswith("/"):
            done = ""
        parts += _parts(target)
    return done or "/"


def _parts(path: str) -> list[str]:
    """The components, the last one first; a `/` at the end means the directory itself."""
    parts = [p for p in path.split("/") if p]
    return [*parts, "."][::-1] if path.endswith("/") else parts[::-1]


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
