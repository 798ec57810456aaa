"""The address space: /proc/PID/maps of a live process, segments and NT_FILE of a core."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence

from gdbext.elf.core import Core, decode_path
from gdbext.elf.image import PF_R, PF_W, PF_X
from gdbext.linker.process.process import Region

_LINE = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) ([r-][w-][x-])[sp-] ([0-9a-f]+) "
    rb"([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)$",
    re.MULTILINE,
)
_NEW = tuple.__new__  # what Region() calls: half the time of the call
_ACCESS = {
    bytes((r, w, x)): (PF_R if r == b"r"[0] else 0)
    | (PF_W if w == b"w"[0] else 0)
    | (PF_X if x == b"x"[0] else 0)
    for r in b"r-"
    for w in b"w-"
    for x in b"x-"
}


def parse_maps(text: bytes) -> tuple[Region, ...]:
    """Regions of proc_pid_maps(5); its octal escape of a newline in a path is undone."""
    return tuple(
        Region(
            int(start, 16),
            int(end, 16),
            _ACCESS[access],
            int(offset, 16),
            decode_path(path.replace(rb"\012", b"\n")) if path else None,
            (os_device(int(major, 16), int(minor, 16)), int(inode)) if inode != b"0" else None,
        )
        for start, end, access, offset, major, minor, inode, path in _LINE.findall(text)
    )


def find_region(maps: bytes, start: int) -> Region | None:
    """The region of proc_pid_maps(5) that begins at an address, without decoding the others."""
    for digits in (8, 16):  # the kernel writes 8 at least, qemu-user 16
        place = (b"\n" + maps).find(b"\n%0*x-" % (digits, start))
        if place >= 0:
            return next(iter(parse_maps(maps[place:].partition(b"\n")[0])), None)
    return None


def own_path(path: str, root: str) -> str:
    """A path that /proc told, as the process itself has it, whose root is `root` (chroot(2)):
    /proc shows paths as whoever reads it would use them."""
    root = root.rstrip("/")
    return path[len(root) :] or "/" if root and f"{path}/".startswith(f"{root}/") else path


def own_regions(text: bytes, root: str) -> tuple[Region, ...]:
    """parse_maps(), with the paths that the process itself has."""
    regions = parse_maps(text)
    if not root.rstrip("/"):
        return regions
    return tuple(r._replace(path=own_path(r.path, root)) if r.path else r for r in regions)


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
        row = (load.vaddr, load.vaddr + load.memsz, load.flags, offset, path, None)
        regions.append(_NEW(Region, row))
    return tuple(regions)


def region_finder(regions: Sequence[Region]) -> Callable[[int], Region | None]:
    """A function from an address to the region that holds it."""
    starts = [region.start for region in regions]

    def find(address: int) -> Region | None:
        place = bisect_right(starts, address) - 1
        return regions[place] if place >= 0 and address < regions[place].end else None

    return find


def kind_of_mapping(region: Region, regions: Sequence[Region]) -> str:
    """`file` or `anonymous`; `mapped` where none has a name, as in qemu-user's cores."""
    if region.path and region.path.startswith("/"):
        return "file"
    return "anonymous" if any(each.path for each in regions) else "mapped"
