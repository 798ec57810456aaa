"""ld.so's own log of what it mapped and unmapped: LD_DEBUG=files (ld.so(8)).

The texts are the same from glibc 2.31 to 2.43: elf/dl-load.c (_dl_map_object_from_fd), dl-close.c,
dl-init.c, dl-open.c. Lines of several processes may be in one file: forked children go on in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gdbext.elf.core import decode_path
from gdbext.elf.reader import PAGE

_MOST = 100_000  # loads that are kept, of the last ones
_LINE = re.compile(rb"^ *(\d+):\t(.*)$")
_MAPPING = re.compile(rb"^file=(.*) \[(\d+)\];  generating link map$")
_PLACE = re.compile(rb"^  dynamic: 0x([0-9a-f]+)  base: 0x([0-9a-f]+)   size: 0x([0-9a-f]+)$")
_HEADERS = re.compile(rb"^    entry: 0x[0-9a-f]+  phdr: 0x([0-9a-f]+)  phnum: +\d+$")
_PATH = re.compile(rb"^(?:calling init: |opening file=)(.+?)(?: \[(\d+)\]; direct_opencount=\d+)?$")
_GONE = re.compile(rb"^file=(.*) \[(\d+)\];  destroying link map$")


class LoggedLoad(NamedTuple):
    """A library that ld.so mapped at [start, end); `path` is l_name where a later line told it,
    else the name that was asked for. `l_ld` is where its dynamic section was; `gone`: the log also
    tells of its end."""

    path: str
    namespace: int
    start: int
    end: int
    l_ld: int
    gone: bool


@dataclass
class _Load:
    name: bytes
    namespace: int
    l_ld: int
    start: int
    size: int
    path: bytes | None = None
    gone: bool = False


@dataclass
class _Reader:
    loads: list[_Load] = field(default_factory=list)
    live: dict[bytes, list[_Load]] = field(default_factory=dict)  # by file name
    asked: tuple[bytes, int] | None = None  # the name and namespace of the map that is being made

    def read(self, text: bytes) -> None:
        """One line of the process."""
        if match := _MAPPING.match(text):
            self.asked = match.group(1), int(match.group(2))
        elif (match := _PLACE.match(text)) and self.asked is not None:
            l_ld, base, size = (int(word, 16) for word in match.groups())
            load = _Load(*self.asked, l_ld, base, size)
            self.loads.append(load)
            self.live.setdefault(_file_name(load.name), []).append(load)
            self.asked = None
        elif (match := _HEADERS.match(text)) and self.loads:
            # l_addr is the load bias; the headers are in the first page that is mapped.
            headers = int(match.group(1), 16)
            last = self.loads[-1]
            if last.start <= headers < last.l_ld:
                last.start = headers // PAGE * PAGE
        elif match := _GONE.match(text):
            self._end(match.group(1), int(match.group(2)))
        elif match := _PATH.match(text):
            self._name(match.group(1))

    def _name(self, path: bytes) -> None:
        """A full path: of the latest of that file name that has none yet."""
        for load in reversed(self.live.get(_file_name(path), ())):
            if load.path is None:
                load.path = path
            if load.path == path:
                return

    def _end(self, path: bytes, namespace: int) -> None:
        live = self.live.get(_file_name(path), [])
        same = [load for load in live if load.namespace == namespace]
        exact = [load for load in same if path in (load.path, load.name)]
        found = exact or [load for load in same if load.path is None]
        if found:
            found[-1].path = path
            found[-1].gone = True
            live.remove(found[-1])


def read_file_log(lines: Iterable[bytes], pid: int) -> list[LoggedLoad]:
    """What one process mapped, in order; anything else in the log is passed over."""
    reader = _Reader()
    for text in _lines_of(lines, pid):
        reader.read(text)
        if len(reader.loads) > 2 * _MOST:
            del reader.loads[:_MOST]
    return [
        LoggedLoad(
            decode_path(load.path or load.name),
            load.namespace,
            load.start,
            load.start + load.size,
            load.l_ld,
            load.gone,
        )
        for load in reader.loads[-_MOST:]
    ]


def _lines_of(lines: Iterable[bytes], pid: int) -> Iterator[bytes]:
    for line in lines:
        match = _LINE.match(line.rstrip(b"\n"))
        if match is not None and int(match.group(1)) == pid:
            yield match.group(2)


def _file_name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]
