"""Which memory of a stopped process is copied, and the copying.

It is what the kernel writes into a core: memory that no file has, and the first page of each file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import ExitStack
from typing import NamedTuple

from gdbext.elf.corefile import Stretch
from gdbext.elf.image import PF_R
from gdbext.linker.process.process import Region
from gdbext.linker.process.regions import region_finder

_PAGE = os.sysconf("SC_PAGE_SIZE")
_RED_ZONE = 128  # bytes below SP that code may use (x86-64 psABI, 3.2.2)
_MOST_STACK = 8 << 20  # of one thread
_MOST_FILE = 256 << 20  # of one mapping of a file: more is no module's data
_MOST_ANONYMOUS = 1 << 30  # in all
_LARGEST_REGION = 16 << 30  # the pages of larger ones take too long to list: they are not copied
_LARGEST_READ = 1 << 30
_GAP = 16 * _PAGE  # one more read costs more than so many bytes
_HEAD = re.compile(rb"([0-9a-f]+)-[0-9a-f]+ ")  # of a mapping in smaps; below it are fields
_SHARED = re.compile(rb"^([0-9a-f]+)-\S+ ..[-x]s", re.MULTILINE)
# proc_pid_pagemap(5), the highest byte of a page's word: it is in memory (0x80) and not the file's
# own (0x20), or swapped out (0x40).
_PRIVATE = re.compile(rb"[\x40-\x5f\x80-\x9f\xc0-\xdf]+")

Span = tuple[int, int]  # [start, end)


class _Part(NamedTuple):
    """What is copied of a region: [start, end), of which all but `runs` is zeros."""

    start: int
    end: int
    runs: Sequence[tuple[int, bytes]]


class _Private(NamedTuple):
    """The pages of a region that no file has: how many bytes, and where."""

    size: int
    region: Region
    spans: list[Span]


def shared_mappings(maps: bytes) -> set[int]:
    """Where in /proc/PID/maps those start that other processes may see."""
    return {int(start, 16) for start in _SHARED.findall(maps)}


def copy_memory(
    pid: int, regions: Sequence[Region], shared: set[int], stack_pointers: Iterable[int]
) -> tuple[list[Stretch], int]:
    """The whole address space, and how many bytes of it were too many to copy.

    Stacks are copied from SP on even then.
    """
    with ExitStack() as stack:
        memory, pagemap = (
            stack.enter_context(open(f"/proc/{pid}/{name}", "rb", buffering=0)).fileno()
            for name in ("mem", "pagemap")
        )
        plain = [r for r in regions if r.start not in shared and (r.flags or 0) & PF_R]
        anonymous = [r for r in plain if _is_anonymous(r)]
        parts = {r.start: part for r, part in _file_parts(pid, memory, pagemap, plain)}
        left = _MOST_ANONYMOUS
        large = [r for r in anonymous if r.end - r.start > _LARGEST_REGION]
        rows = [_private(pagemap, r) for r in anonymous if r.end - r.start <= _LARGEST_REGION]
        for row in sorted(rows, key=lambda row: row.size):
            if row.size <= left:
                runs = list(_runs(memory, row.spans))
                parts[row.region.start] = _Part(row.region.start, row.region.end, runs)
                left -= row.size
        missing = sum(row.size for row in rows if row.region.start not in parts)
        if large:
            missing += _in_use(pid, {region.start for region in large})
        for region, start, end in _stacks(stack_pointers, anonymous):
            if region.start not in parts:
                parts[region.start] = _Part(start, end, list(_runs(memory, [(start, end)])))
    found: list[Stretch] = []
    for region in regions:
        found += _stretches(region, parts.get(region.start))
    return found, missing


def _is_anonymous(region: Region) -> bool:
    return region.path is None or region.path.startswith(("[heap]", "[stack]", "[anon"))


def _file_parts(
    pid: int, memory: int, pagemap: int, regions: Iterable[Region]
) -> Iterator[tuple[Region, _Part]]:
    """What is copied of mapped files, as the kernel's core would have it, and of the vDSO."""
    same: dict[tuple[str, int], bool] = {}
    for region in regions:
        end = region.end
        if region.path != "[vdso]":
            if region.inode is None or region.path is None:
                continue
            key = region.path, region.inode[1]
            if key not in same:
                same[key] = _is_at_its_path(pid, *key)
            large = region.end - region.start > _MOST_FILE
            if large or (same[key] and not _private(pagemap, region).spans):
                if region.offset:
                    continue
                end = region.start + _PAGE  # the ELF header, most often with the build-id
        runs = list(_runs(memory, [(region.start, end)]))
        # behind the end of the file there is nothing to read
        yield region, _Part(region.start, region.start + sum(len(d) for _, d in runs), runs)


def _is_at_its_path(pid: int, path: str, inode: int) -> bool:
    """Whether the file that is mapped can still be opened by name. Its device is another one in a
    container with overlayfs."""
    try:
        return os.stat(f"/proc/{pid}/root{path}").st_ino == inode
    except OSError:
        return False


def _private(pagemap: int, region: Region) -> _Private:
    pages = (region.end - region.start) // _PAGE
    data = os.pread(pagemap, pages * 8, region.start // _PAGE * 8)
    spans: list[Span] = []
    for match in _PRIVATE.finditer(data[7::8]):
        start, end = (region.start + place * _PAGE for place in match.span())
        if spans and start - spans[-1][1] <= _GAP:
            spans[-1] = spans[-1][0], end
        else:
            spans.append((start, end))
    return _Private(sum(end - start for start, end in spans), region, spans)


def _in_use(pid: int, starts: Set[int]) -> int:
    """How many bytes of these mappings are there, in memory or swapped out (proc_pid_smaps(5)).

    A sanitizer's shadow is terabytes of address space and next to nothing of memory."""
    kilobytes, wanted = 0, False
    with open(f"/proc/{pid}/smaps", "rb") as smaps:
        for line in smaps:
            head = _HEAD.match(line)
            if head is not None:
                wanted = int(head[1], 16) in starts
            elif wanted and line.startswith((b"Rss:", b"Swap:")):
                kilobytes += int(line.split()[1])
    return kilobytes << 10


def _runs(memory: int, spans: Iterable[Span]) -> Iterator[tuple[int, bytes]]:
    for start, end in spans:
        at = start
        while at < end:
            try:
                data = os.pread(memory, min(end - at, _LARGEST_READ), at)
            except OSError:
                break  # behind the end of its file, or a device's memory
            if not data:
                break
            yield at, data
            at += len(data)


def _stacks(
    stack_pointers: Iterable[int], regions: Sequence[Region]
) -> Iterator[tuple[Region, int, int]]:
    find = region_finder(regions)
    for pointer in stack_pointers:
        region = find(pointer)
        if region is not None:
            start = max(region.start, (pointer - _RED_ZONE) // _PAGE * _PAGE)
            yield region, start, min(region.end, start + _MOST_STACK)


def _stretches(region: Region, part: _Part | None) -> Iterator[Stretch]:
    """A region in up to three parts, of which one was copied."""
    start, end = (part.start, part.end) if part else (region.start, region.start)
    for first, last, runs in (
        (region.start, start, None),
        (start, end, part.runs if part else None),
        (end, region.end, None),
    ):
        if first < last:
            yield Stretch(first, last, region.flags or 0, runs)
