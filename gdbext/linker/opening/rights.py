"""What one process may do with files and memory: credentials, mounts, limits.

Sources: proc(5) (status, limits, mountinfo), path_resolution(7), capabilities(7).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_READ, _SEARCH = 4, 1
_OCTAL = re.compile(r"\\([0-7]{3})")


class Credentials(NamedTuple):
    """With which ids a process asks for files (the file system ones)."""

    uid: int
    groups: frozenset[int]
    all_files: bool
    """Whether it may read what modes forbid (CAP_DAC_OVERRIDE or CAP_DAC_READ_SEARCH)."""


class Mount(NamedTuple):
    """One mounted file system; `options` are those of the mount and of the file system."""

    point: str
    type: str
    options: frozenset[str]


class Limits(NamedTuple):
    """Bytes of address space and data used and allowed, and numbers of files; None is no limit
    or not known."""

    address_space: int | None
    data: int | None
    files: int | None
    space_used: int | None
    data_used: int | None
    files_used: int | None


@dataclass(frozen=True)
class Rights:
    """What is known of a process's rights; None is unknown. `confined`: the label of a security
    module (SELinux, AppArmor), where it has one that confines."""

    credentials: Credentials | None
    mounts: tuple[Mount, ...]
    limits: Limits | None
    confined: str | None

    def mount_of(self, path: str) -> Mount | None:
        """The mount that a resolved path lies in; of several at one point, the last one."""
        found = [m for m in self.mounts if _lies_in(path, m.point)]
        return (
            max(enumerate(found), key=lambda each: (len(each[1].point), each[0]))[1]
            if (found)
            else None
        )


NO_RIGHTS = Rights(None, (), None, None)


def parse_credentials(status: str) -> Credentials | None:
    """By /proc/PID/status; the fourth id of each line is the file system's."""
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    try:
        uid, gid = int(fields["Uid"].split()[3]), int(fields["Gid"].split()[3])
        groups = frozenset({gid, *map(int, fields.get("Groups", "").split())})
        capabilities = int(fields.get("CapEff", "0"), 16)
    except (KeyError, ValueError, IndexError):
        return None
    beyond = 1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH
    return Credentials(uid, groups, bool(capabilities & beyond))


def parse_mounts(mountinfo: str) -> tuple[Mount, ...]:
    """By /proc/PID/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(" - ")
        fields, rest = head.split(" "), tail.split(" ")
        if len(fields) < 6 or len(rest) < 3:
            continue
        options = frozenset((*fields[5].split(","), *rest[2].split(",")))
        found.append(Mount(_OCTAL.sub(_unescape, fields[4]), rest[0], options))
    return tuple(found)


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match.group(1), 8))


def parse_limits(limits: str, status: str, files_used: int | None) -> Limits:
    """By /proc/PID/limits (soft limits) and /proc/PID/status."""

    def soft(name: str) -> int | None:
        match = re.search(rf"^{name} +(\d+) ", limits, re.MULTILINE)
        return int(match.group(1)) if match else None

    def used(name: str) -> int | None:
        match = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
        return int(match.group(1)) << 10 if match else None

    return Limits(
        soft("Max address space"), soft("Max data size"), soft("Max open files"),
        used("VmSize"), used("VmData"), files_used,
    )  # fmt: skip


def parse_confinement(current: str) -> str | None:
    """By /proc/PID/attr/current: an AppArmor profile or an SELinux context that confines."""
    label = current.strip("\0\n ")
    if not label or label.startswith("unconfined") or ":unconfined_t:" in label:
        return None
    return None if label == "kernel" else label


def refusal(credentials: Credentials, path: str, status: os.stat_result) -> str | None:
    """Why `path` may not be read or, if it is a folder, searched; None if it may."""
    folder = (status.st_mode & 0o170000) == 0o040000
    if credentials.all_files:
        return None
    wanted = _SEARCH if folder else _READ
    if status.st_uid == credentials.uid:
        whose, bits = "its owner", status.st_mode >> 6
    elif status.st_gid in credentials.groups:
        whose, bits = "its group", status.st_mode >> 3
    else:
        whose, bits = "others", status.st_mode
    if bits & wanted:
        return None
    verb = "search" if folder else "read"
    return (
        f"{path} has mode {status.st_mode & 0o7777:04o} and belongs to {status.st_uid}:"
        f"{status.st_gid}; the process runs as {credentials.uid}, which counts among {whose} "
        f"and may not {verb} it"
    )


def first_refusal(
    credentials: Credentials | None, stats: Sequence[tuple[str, os.stat_result]]
) -> str | None:
    """The first of the folders and files on a way that may not be used."""
    if credentials is None:
        return None
    found = (refusal(credentials, path, status) for path, status in stats)
    return next((text for text in found if text), None)


def _lies_in(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
