"""What GDB saw being loaded: a bounded record, for the day when a library is gone.

Its handler runs at each of GDB's new_objfile events, so it imports nothing heavy, reads the newest
link_maps alone, and stops early when that takes long. Nothing is worked out here: the bytes are
kept, and linker.unloaded is told of them when somebody asks.
"""

from __future__ import annotations

import os
import struct
import time
from collections import deque
from collections.abc import Callable, Set
from contextlib import suppress
from typing import Any, NamedTuple

import gdb

_MOST_KEPT = 4096
_MOST_NAMESPACES = 16  # glibc, DL_NNS
_LONGEST_NAME = 4096  # PATH_MAX
_HEAD = 1024  # holds the ELF header, the program headers and most often the build-id
_TIME = 0.05  # seconds for one event; the next one goes on
TELLS_WHAT_GOES = hasattr(gdb.events, "free_objfile")  # not GDB 10
_MAP = struct.Struct("<5Q")  # l_addr, l_name, l_ld, l_next, l_prev
_R_DEBUG = struct.Struct("<I4xQ8xI12xQ")  # version, map, state, next


class Load(NamedTuple):
    """A link_map as it was when GDB heard of it; `head` is the start of its image, or b''."""

    pid: int
    address: int
    l_addr: int
    l_ld: int
    name: bytes
    head: bytes


class Unload(NamedTuple):
    """A library that a trace saw being unloaded: it lay in [start, end); `build_id` in hexadecimal
    digits, None where it was not read."""

    pid: int
    path: str
    start: int
    end: int
    build_id: str | None


class _Seen(NamedTuple):
    """A link_map that was seen, and the file name in its l_name."""

    address: int
    file_name: bytes


class _Process(NamedTuple):
    pid: int
    r_debug: int
    chains: dict[int, list[_Seen]]  # by namespace's r_debug: what was seen last


MapId = tuple[int, int, int]  # a link_map's address, l_addr, l_ld

_kept: dict[Load, None] = {}
_latest: list[_Process] = []
# What plug-trace adds, the latest last.
unloads: deque[Unload] = deque(maxlen=_MOST_KEPT)
# By process id: it sees itself what comes and goes, so that nothing is read here. The function
# tells what it has seen being loaded and is not among these link_maps now.
traced: dict[int, Callable[[Set[MapId]], list[Unload]]] = {}


def kept(pid: int) -> list[Load]:
    """All that came in this process, the oldest first; most of it will still be there."""
    return [load for load in _kept if load.pid == pid]


def on_new_objfile(event: gdb.NewObjFileEvent) -> None:
    """Keep what is new since the last event."""
    inferior = gdb.selected_inferior()
    pid = inferior.pid
    if (
        not pid
        or pid in traced
        or getattr(getattr(inferior, "connection", None), "type", "") == "core"
    ):
        return
    space = gdb.current_progspace()
    if space is not None and event.new_objfile.filename == space.filename:
        _forget(pid)  # the process executes another program now
    with suppress(gdb.error):  # not a process that can be read now: the next event tries again
        _look(inferior, pid)


def on_free_objfile(event: Any) -> None:  # noqa: ANN401
    """A library goes. The next one may have its very link_map, load bias and path, so all from
    its place on is read anew."""
    if event.objfile.owner is not None or gdb.selected_inferior().pid in traced:
        return  # a separate debug file
    name = os.path.basename(os.fsencode(event.objfile.filename or ""))
    for process in _latest:
        places = [
            (chain, place)
            for chain in process.chains.values()
            for place, seen in enumerate(chain)
            if seen.file_name == name
        ]
        # GDB may know it by what its link leads to: then it can be any of them
        for chain, place in places or [(chain, 0) for chain in process.chains.values()]:
            del chain[place:]


def end_trace(pid: int) -> None:
    """The trace of this process ends: what is loaded now is read here again."""
    if traced.pop(pid, None) is not None and gdb.selected_inferior().pid == pid:
        _latest.clear()
        with suppress(gdb.error):
            _look(gdb.selected_inferior(), pid)


def _forget(pid: int) -> None:
    _latest.clear()
    for load in kept(pid):
        del _kept[load]


def _look(inferior: gdb.Inferior, pid: int) -> None:
    process = _latest[0] if _latest and _latest[0].pid == pid else None
    if process is None:  # GDB knows it from ld.so's .dynsym
        process = _Process(pid, int(gdb.parse_and_eval("&_r_debug")), {})
    deadline = time.monotonic() + _TIME
    address = process.r_debug
    for _ in range(_MOST_NAMESPACES):
        version, first, _, following = _R_DEBUG.unpack(bytes(inferior.read_memory(address, 48)))
        if not 1 <= version <= 2:
            return  # ld.so has not started yet
        _latest[:] = [process]
        _extend(inferior, pid, process.chains.setdefault(address, []), first, deadline)
        if version < 2 or not following:
            return
        address = following


def _extend(
    inferior: gdb.Inferior, pid: int, chain: list[_Seen], first: int, deadline: float
) -> None:
    """Follow a chain from where it was followed to before."""

    def words(address: int) -> tuple[int, ...]:
        return _MAP.unpack(bytes(inferior.read_memory(address, _MAP.size)))

    if chain and not TELLS_WHAT_GOES:
        chain.pop()
    following = first
    while chain:  # the last ones may have been unloaded
        last = chain[-1].address
        _, _, _, following, previous = words(last)
        before = chain[-2].address if len(chain) > 1 else 0
        if previous == before and (words(before)[3] if before else first) == last:
            break
        chain.pop()
        following = first
    while following and time.monotonic() < deadline:
        address = following
        l_addr, l_name, l_ld, following, previous = words(address)
        if previous != (chain[-1].address if chain else 0):
            return  # damaged, or a loop
        name = _string(inferior, l_name)
        chain.append(_Seen(address, os.path.basename(name)))
        _keep(inferior, Load(pid, address, l_addr, l_ld, name, b""))


def _keep(inferior: gdb.Inferior, load: Load) -> None:
    try:
        head = bytes(inferior.read_memory(load.l_addr, _HEAD)) if load.l_addr else b""
    except gdb.error:
        head = b""  # its first segment is not at its load bias
    load = load._replace(head=head)
    _kept.pop(load, None)  # the latest last
    _kept[load] = None
    while len(_kept) > _MOST_KEPT:
        del _kept[next(iter(_kept))]


def _string(inferior: gdb.Inferior, address: int) -> bytes:
    text = b""
    while address and len(text) < _LONGEST_NAME:
        size = min(256, 4096 - (address + len(text)) % 4096)
        part, end, _ = bytes(inferior.read_memory(address + len(text), size)).partition(b"\0")
        text += part
        if end:
            break
    return text
