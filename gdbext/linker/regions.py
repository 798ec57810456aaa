"""The address space: /proc/PID/maps of a live process, segments and NT_FILE of a core."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gdbext.elf.core import Core, decode_path
from gdbext.elf.image import PF_R, PF_W, PF_X
from gdbext.linker.process import Region

_LINE = re.compile(
    rb"([0-9a-f]+)-([0-9a-f]+) ([r-][w-][x-][sp-]) ([0-9a-f]+) "
    rb"([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)"
)


def parse_maps(text: bytes) -> tuple[Region, ...]:
    """Regions of proc_pid_maps(5); its octal escape of a newline in a path is undone."""
    regions = []
    for line in text.split(b"\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        start, end, access, offset, major, minor, inode, path = match.groups()
        flags = (
            (PF_R if access[0:1] == b"r" else 0)
            | (PF_W if access[1:2] == b"w" else 0)
            | (PF_X if access[2:3] == b"x" else 0)
        )
        device = os_device(int(major, 16), int(minor, 16))
        name = decode_path(path.replace(rb"\012", b"\n")) or None
        regions.append(
            Region(
                int(start, 16),
                int(end, 16),
                flags,
                int(offset, 16),
                name,
                (device, int(inode)) if int(inode) else None,
            )
        )
    return tuple(regions)


def os_device(major: int, minor: int) -> int:
    """st_dev of a device's numbers (makedev(3), glibc's encoding)."""
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32


def core_regions(core: Core) -> tuple[Region, ...]:
    """One region for each PT_LOAD; the file it maps is NT_FILE's, where the core has that."""
    files: Sequence[tuple[int, int, int, str]] = sorted(core.files)
    regions = []
    place = 0
    for load in core.loads:
        while place < len(files) and files[place][1] <= load.vaddr:
            place += 1
        path, offset = None, 0
        if place < len(files) and files[place][0] <= load.vaddr:
            start, _, file_offset, path = files[place]
            offset = file_offset + load.vaddr - start
        regions.append(Region(load.vaddr, load.vaddr + load.memsz, load.flags, offset, path, None))
    return tuple(regions)
