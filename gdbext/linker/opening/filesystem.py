"""Files as one process would see them: its root, its working directory, its rights."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gdbext.elf.file import ElfFile, FileData, map_file, read_elf
from gdbext.elf.problem import Problem
from gdbext.elf.storage import resolved
from gdbext.linker.opening.rights import NO_RIGHTS, Rights, first_refusal

_PATH_MAX = 4096  # bytes, with the NUL (linux/limits.h)
_KINDS = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_OWN = re.compile(r"/+(proc/(?:self|thread-self)(?:/root|/cwd)?|dev/fd)(?=/|$)")


class Refused(Problem):
    """A file that the process cannot open. `number` is the errno, `reason` what is behind it."""

    def __init__(self, number: int, path: str, reason: str | None) -> None:
        super().__init__(f"{path}: {reason or os.strerror(number)}")
        self.number = number
        self.path = path
        self.reason = reason


class Contents(NamedTuple):
    """An open file: `path` is the process's, `local` where this machine has it, `real` the
    process's path without symbolic links; `identity` is (device, inode)."""

    path: str
    local: str
    real: str
    identity: tuple[int, int]
    data: FileData


@dataclass(frozen=True)
class FileSystem:
    """`roots` are put in front of absolute paths, in the order in which they are tried.

    `directory` is the working directory, None where it is not known; `pid` the process of this
    machine that /proc/self means.
    """

    roots: tuple[str, ...]
    directory: str | None
    rights: Rights = NO_RIGHTS
    pid: int | None = None
    _open: dict[str, Contents | Refused] = field(default_factory=dict)
    _elf: dict[str, ElfFile] = field(default_factory=dict)

    def absolute(self, path: str) -> str:
        """`path` from the root on; raises Problem where the working directory is not known."""
        if path.startswith("/"):
            return self._own(path) if self.pid else path
        if self.directory is None:
            raise Problem(f"{path!r} is relative, and the working directory is not known here")
        return os.path.join(self.directory, path)

    def _own(self, path: str) -> str:
        """/proc/self is who reads it: name the process instead, or where its links lead."""
        match = _OWN.match(path)
        if match is None:
            return path
        own, rest = match.group(1), path[match.end() :]
        if own.endswith("/root"):
            return rest or "/"
        if own.endswith("/cwd"):
            return (self.directory or "/").rstrip("/") + rest or "/"
        return f"/proc/{self.pid}" + ("/fd" if own == "dev/fd" else "") + rest

    def exists(self, path: str) -> bool:
        """Whether there is anything at `path`, whoever may read it."""
        return self._find(self.absolute(path))[0] is not None

    def open(self, path: str) -> Contents:
        """The contents of the file that the process would get; raises Refused."""
        path = self.absolute(path)
        known = self._open.get(path)
        if known is None:
            try:
                known = self._look(path)
            except Refused as refused:
                known = refused
            self._open[path] = known
        if isinstance(known, Refused):
            raise known
        return known

    def elf(self, contents: Contents) -> ElfFile:
        """Its ELF file, read once; raises Problem for what is none."""
        found = self._elf.get(contents.path)
        if found is None:
            found = self._elf[contents.path] = read_elf(contents.local, contents.data)
        return found

    def _look(self, path: str) -> Contents:
        size = len(os.fsencode(path))
        if size >= _PATH_MAX:
            long = f"it has {size} bytes, and a path may have {_PATH_MAX - 1}"
            raise Refused(errno.ENAMETOOLONG, path, long)
        found, searched = self._find(path)
        if found is None:
            self._check(path, self.roots[0], searched)
            raise Refused(errno.ENOENT, path, self._gap(path))
        root, real = found
        self._check(path, root, [*searched, real])
        try:
            status = os.stat(root + real)
        except OSError as error:
            raise Refused(error.errno or errno.EIO, path, None) from error
        if stat.S_ISDIR(status.st_mode):
            raise Refused(errno.EISDIR, path, "it is a directory")
        if not stat.S_ISREG(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
            raise Refused(errno.EINVAL, path, f"it is {kind}")
        try:
            data = map_file(root + real)
        except Problem as problem:
            cause = problem.__cause__
            number = cause.errno if isinstance(cause, OSError) and cause.errno else errno.EIO
            raise Refused(number, path, str(problem)) from problem
        return Contents(path, root + real, real, (status.st_dev, status.st_ino), data)

    def _find(self, path: str) -> tuple[tuple[str, str] | None, list[str]]:
        """((root under which it is, path there with links followed), directories looked into)."""
        ways: list[list[str]] = []
        for root in self.roots:
            ways.append([])
            real = resolved(root, path, ways[-1])
            if real is not None:
                return (root, real), ways[-1]
        return None, ways[0]

    def _check(self, path: str, root: str, way: Sequence[str]) -> None:
        """Raises Refused where the process may not search or read what is on the way."""
        if self.rights.credentials is None or self.rights.credentials.all_files:
            return
        try:
            stats = [(each, os.stat(root + each)) for each in dict.fromkeys(way)]
        except OSError as error:
            raise Refused(error.errno or errno.EIO, path, None) from error
        why = first_refusal(self.rights.credentials, stats)
        if why is not None:
            raise Refused(errno.EACCES, path, why)

    def _gap(self, path: str) -> str:
        """Which part of a path is not there, in words."""
        root, done = self.roots[0], "/"
        parts = [p for p in path.split("/") if p] + ["."] * path.endswith("/")
        for number, part in enumerate(parts, 1):
            here = f"{done.rstrip('/')}/{part}"
            following = resolved(root, here)
            if following is not None:
                done = following
            elif os.path.islink(root + here):
                target = os.readlink(root + here)
                return f"{here} is a symbolic link to {target}, which {_lost(root + here)}"
            elif not os.path.isdir(root + done):
                return f"{done} is not a directory"
            elif number < len(parts):
                return f"there is no directory {here}"
            else:
                break
        return "there is no such file"

    def names(self, directory: str, most: int = 5000) -> Sequence[str]:
        """The names in a directory; () where it cannot be read."""
        found, _ = self._find(directory)
        if found is None:
            return ()
        try:
            with os.scandir(found[0] + found[1]) as entries:
                return sorted(entry.name for _, entry in zip(range(most), entries))
        except OSError:
            return ()


def _lost(link: str) -> str:
    """What is wrong with a symbolic link that leads to nothing."""
    try:
        os.stat(link)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "leads on through too many links"
    return "is not there"
