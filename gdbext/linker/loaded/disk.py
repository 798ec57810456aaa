"""Whether a module's file on disk is still the one that was loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from gdbext.elf.file import ElfFile
from gdbext.elf.image import Image, read_dynamic, same_dynamic
from gdbext.elf.notes import read_build_id
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import PAGE
from gdbext.linker.loaded.modules import VDSO, Module
from gdbext.linker.process.process import Process, Region

SAME, REPLACED, DELETED, MEMORY = "same", "replaced", "deleted", "memory"


class OnDisk(NamedTuple):
    """`state` is same, replaced, deleted, memory (a memfd) or None (unknown, for `reason`)."""

    state: str | None
    reason: str | None


class File(NamedTuple):
    """A file as evidence; `path` is what the process calls it, None is unknown.

    `real_name` is the file name behind symbolic links, which often has the full version;
    `identity` is (device, inode) on this machine.
    """

    path: str
    real_name: str | None
    build_id: str | None
    identity: tuple[int, int] | None


def on_disk(
    process: Process,
    module: Module,
    region: Region | None,
    local_path: Callable[[str], str] | None,
) -> OnDisk:
    """Compare a loaded module with its file.

    `region` is the mapping of its first page, with the inode where the process is live and
    local; without one, the first page in memory is compared with the file's.
    """
    if module.kind == VDSO:
        return OnDisk(MEMORY, None)
    if region is not None and region.path and region.path.startswith("/memfd:"):
        return OnDisk(MEMORY, None)
    if region is not None and region.inode is not None and local_path is not None:
        return _compare_inode(region, local_path(module.path))
    if module.image is None:
        return _compare_dynamic(process, module)
    if process.unchanged_on_disk(module.image.start):
        return OnDisk(SAME, None)
    file = process.open_file(module.path)
    if file is None:
        return OnDisk(None, "its file is not on this machine")
    return _compare_content(process, module, file)


def _compare_inode(region: Region, path: str) -> OnDisk:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return OnDisk(DELETED, None)
    # Only the inode: overlay and btrfs show another device number in maps than in stat.
    assert region.inode is not None
    return OnDisk(SAME if status.st_ino == region.inode[1] else REPLACED, None)


def _compare_dynamic(process: Process, module: Module) -> OnDisk:
    """For a module of which nothing but its data is in the core: qemu-user dumps no more."""
    file = process.open_file(module.path)
    if file is not None:
        own = file.image
        try:
            entries = read_dynamic(process.memory, module.map.l_ld, len(own.dynamic) + 1)
        except Unreadable:
            return OnDisk(None, module.problem)
        loaded = Image(own.header, own.segments, module.bias, entries, module.map.l_ld)
        if not same_dynamic(loaded, own):
            return OnDisk(REPLACED, None)
    return OnDisk(None, module.problem)


def _compare_content(process: Process, module: Module, file: ElfFile) -> OnDisk:
    assert module.image is not None
    try:
        page = process.memory.read(module.image.start, PAGE)
    except Unreadable:
        same = same_dynamic(module.image, file.image)
        return OnDisk(SAME if same else REPLACED, None)
    own = file.image.loads[0]
    here = bytes(file.data[own.offset // PAGE * PAGE : own.offset // PAGE * PAGE + PAGE])
    if here == page[: len(here)]:
        return OnDisk(SAME, None)
    return OnDisk(REPLACED, None)


def matching_file(process: Process, module: Module) -> ElfFile | None:
    """The module's file, if build-id (or, without one, the dynamic section) says it is the same."""
    image = module.image
    if image is None or module.kind == VDSO:
        return None
    file = process.open_file(module.path)
    if file is None:
        return None
    loaded = read_build_id(process.memory, image)
    if loaded is not None and loaded != read_build_id(file.memory, file.image):
        return None
    return file if same_dynamic(image, file.image) else None
