"""A process of glibc's, made of bytes: images, struct link_maps of a given release, r_debug.

The layouts are those of /usr/include-like headers compiled or of libc6-dbg's DWARF: bytes from
the start of struct link_map to l_phdr, l_map_start, l_scope, l_tls_initimage, and its size.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gdbext.elf.arch import AARCH64, X86_64, Arch
from gdbext.elf.image import Image, read_image
from gdbext.linker.loaded.layout import Layout
from gdbext.linker.process.process import Region
from tests.unit import crafted
from tests.unit.crafted import FakeProcess, words

DT_NEEDED, DT_SONAME, DT_RPATH, DT_DEBUG, DT_RUNPATH = 1, 14, 15, 21, 29


class Release(NamedTuple):
    """One build of glibc: sizes and offsets in bytes."""

    phdr: int
    map_start: int
    scope: int
    tls: int
    size: int
    new_bits: bool  # l_dt_relr_ref took a bit of the flag word (2.36)
    nodelete: bool  # l_nodelete_active exists (2.31)
    relro: int = 64  # from l_tls_initimage
    reldeps: int = 64  # from l_scope; l_init_called_next may stand in front of it


RELEASES = {
    "2.17-x86-64": Release(672, 832, 896, 1048, 1128, False, False, 56),
    "2.27-x86-64": Release(672, 832, 896, 1048, 1136, False, False),
    "2.28-x86-64": Release(680, 840, 904, 1056, 1144, False, False),
    "2.31-x86-64": Release(680, 848, 912, 1064, 1152, False, True),
    "2.36-x86-64": Release(704, 880, 944, 1096, 1184, True, True),
    "deb12-x86-64": Release(704, 880, 944, 1104, 1192, True, True, reldeps=72),
    "2.41-x86-64": Release(736, 912, 968, 1120, 1208, True, True),
    "2.17-aarch64": Release(672, 832, 896, 1040, 1120, False, False, 56),
    "2.27-aarch64": Release(672, 832, 896, 1040, 1128, False, False),
    "2.28-aarch64": Release(680, 840, 904, 1048, 1136, False, False),
    "2.31-aarch64": Release(728, 896, 960, 1104, 1192, False, True),
    "2.36-aarch64": Release(752, 920, 984, 1136, 1224, True, True),
    "deb12-aarch64": Release(752, 920, 984, 1144, 1232, True, True, reldeps=72),
    "2.41-aarch64": Release(752, 920, 976, 1128, 1216, True, True),
}


def expected_layout(release: Release) -> Layout:
    """What locate() should find."""
    return Layout(
        phdr=release.phdr,
        scope=release.scope,
        map_start=release.map_start,
        tls=release.tls,
        relro=release.tls + release.relro,
        global_bit=5 if release.new_bits else 4,
        nodelete=release.phdr + 119 if release.nodelete else None,
    )


@dataclass
class Object:
    """What an object of the process is like; the addresses are filled in by Glibc."""

    name: str
    soname: str = ""
    needed: Sequence[str] = ()
    type: int = 1  # lt_library
    is_global: bool = True
    opened: int = 0
    nodelete: bool = False
    tls: tuple[int, int, int] | None = None  # filesz, memsz, alignment
    tls_modid: int = 0
    tls_offset: int = 0
    relro: bool = True
    parts: Mapping[int, bytes] = field(default_factory=dict)
    values: Sequence[tuple[int, int]] = ()
    searched: Mapping[int, Sequence[str] | None] = field(default_factory=dict)  # by tag; None: -1
    reldeps: Sequence[int] = ()  # numbers of other objects
    called_next: int = 0  # l_init_called_next, where it is: Debian 12 does not use it
    address: int = 0  # of its link_map
    base: int = 0
    data: bytes = b""


def program() -> list[Object]:
    """A program with two libraries at its start and two that were opened."""
    return [
        Object("", needed=("libc.so.6", "liba.so"), type=0, tls=(8, 24, 8), tls_modid=1),
        Object("/lib/liba.so", "liba.so", ("libc.so.6",), relro=False),
        Object("/lib/libc.so.6", "libc.so.6", tls=(16, 144, 64), tls_modid=2, tls_offset=208),
        Object("/opt/plug.so", "plug.so", ("libdep.so",), 2, False, 3, tls=(0, 4, 4), tls_modid=3,
               tls_offset=-1),
        Object("/opt/libdep.so", "libdep.so", ("libc.so.6",), 2, True, 0, nodelete=True),
    ]  # fmt: skip


class Glibc:
    """The memory of such a process, and its objects with their addresses."""

    def __init__(
        self, release: Release, objects: Sequence[Object] | None = None, arch: Arch = X86_64
    ) -> None:
        self.release = release
        self.arch = arch
        self.objects = list(program() if objects is None else objects)
        self.runs: dict[int, bytes] = {}
        self.heap = 0x555500000000
        self.noise = random.Random(release.size)
        self.r_debug = self._room(64)
        for number, each in enumerate(self.objects):
            each.base = 0x7F0000000000 + number * 0x100000
            each.address = self._room(release.size + 512)
        for each in self.objects:
            each.data = self._image(each)
            self.runs[each.base] = each.data + bytes(-len(each.data) % 4096)
        for number in range(len(self.objects)):
            self._link_map(number)
        self.runs[self.r_debug] = words(1, self.objects[0].address, 0x7F00DEAD0000, 0, 0, 0)

    def process(self) -> FakeProcess:
        """The whole process."""
        main = self.objects[0]
        count = struct.unpack_from("<H", main.data, 56)[0]
        regions = [
            Region(start, start + len(data), 7, 0, None, None)
            for start, data in sorted(self.runs.items())
        ]
        auxv = {3: main.base + 64, 5: count, 9: main.base}
        return FakeProcess(crafted.spread(self.runs), auxv, self.arch, regions)

    def pairs(self) -> list[tuple[int, Image]]:
        """What locate() is given."""
        memory = crafted.spread(self.runs)
        return [(each.address, read_image(memory, each.base)) for each in self.objects]

    def write(self, each: Object, offset: int, data: bytes) -> None:
        """Damage a link_map."""
        old = self.runs[each.address]
        self.runs[each.address] = old[:offset] + data + old[offset + len(data) :]

    def _room(self, size: int) -> int:
        at = self.heap
        self.heap += -(-size // 4096) * 4096
        return at

    def _text(self, text: str) -> int:
        at = self._room(4096)
        self.runs[at] = (text.encode() + b"\0").ljust(4096, b"\0")
        return at

    def _searched(self, each: Object, tag: int) -> int:
        """A list of struct r_search_path_elem; an address that holds nothing unless it is said."""
        folders = each.searched.get(tag, ())
        if folders is None:
            return -1
        if tag not in each.searched:
            return 0x10
        if not folders:
            return 0
        at = self._room(4096)
        elements = [self._room(4096) for _ in folders]
        self.runs[at] = words(*elements, 0)
        for element, folder in zip(elements, folders):
            self.runs[element] = words(0, 0, 0, self._text(folder), len(folder.encode()), 0)
        return at

    def _reldeps(self, each: Object) -> tuple[int, int]:
        """struct link_map_reldeps {unsigned act; struct link_map *list[];}, and the room in it."""
        if not each.reldeps:
            return 0, 1 << 32  # l_used follows l_reldepsmax
        at = self._room(4096)
        maps = [self.objects[number].address for number in each.reldeps]
        self.runs[at] = words(len(maps), *maps)
        return at, 1 << 32 | 10

    def _image(self, each: Object) -> bytes:
        strings = b"\0"
        values = [(DT_DEBUG, self.r_debug), *each.values]
        for tag, text in [(DT_NEEDED, n) for n in each.needed] + [(DT_SONAME, each.soname)]:
            if text:
                values.append((tag, len(strings)))
                strings += text.encode() + b"\0"
        segments = []
        if each.relro:
            segments.append(crafted.segment(crafted.PT_GNU_RELRO, 0x140, 0x40))
        if each.tls is not None:
            size, memsz, align = each.tls
            segments.append(crafted.segment(crafted.PT_TLS, 0x148, size, 4, align, memsz))
        values.append((crafted.DT_STRSZ, len(strings)))
        parts = {crafted.DT_STRTAB: strings, **each.parts}
        return crafted.make_elf(parts, values, segments, self.arch.machine)

    def _link_map(self, number: int) -> None:
        release, each, main = self.release, self.objects[number], self.objects[0]
        here = each.address
        # what is not known holds plausible words: addresses of its image, of its own fields
        body = bytearray(
            words(
                *(
                    self.noise.choice((0, 1, each.base + 0x40, each.base, here, here + 64))
                    for _ in range((release.size + 512) // 8)
                )
            )
        )

        def put(at: int, *values: int) -> None:
            body[at : at + 8 * len(values)] = words(*values)

        memory, image = crafted.load(each.data, each.base)
        del memory
        following = self.objects[number + 1].address if number + 1 < len(self.objects) else 0
        before = self.objects[number - 1].address if number else 0
        name = self._text(each.name)
        put(0, each.base, name, image.dynamic_address or 0, following, before, here, 0)
        libname = self._room(4096)
        self.runs[libname] = words(self._text(each.soname or each.name), 0, 0)
        put(56, libname)

        phdr = release.phdr
        searchlist = self._room(4096)
        everything = [each] if number else self.objects[:3]
        self.runs[searchlist] = words(*(o.address for o in everything), 0)
        put(phdr, each.base + 64, each.base, len(image.segments))
        put(phdr + 24, searchlist, len(everything), 0, 0)
        # what dlopen itself was asked for has no loader, what it needs has
        put(phdr + 56, before if each.type == 2 and not each.opened else 0)
        shift = 1 if release.new_bits else 0
        flags = each.type | (3 << (2 + shift)) | (each.is_global << (4 + shift))
        body[phdr + 112 : phdr + 120] = struct.pack("<II", each.opened, flags)
        if release.nodelete:
            body[phdr + 119] = each.nodelete

        scope = release.scope
        put(scope - 40, main.address + phdr + 24, here + phdr + 24, 0, 0)
        put(scope - 8, 4, here + scope - 40, here + phdr + 24, 0, 0x801, 4711 + number)
        put(scope + 56, searchlist)
        put(scope + 40, self._searched(each, DT_RUNPATH), 1)
        put(release.map_start - 40, self._searched(each, DT_RPATH), 1)
        if release.reldeps == 72:
            put(scope + 64, each.called_next)
        put(scope + release.reldeps, *self._reldeps(each))
        put(release.map_start, each.base, each.base + len(each.data))
        if release.scope - release.map_start == 64:
            put(release.map_start + 16, each.base + len(each.data))  # l_text_end
        size, memsz, align = each.tls or (0, 0, 0)
        start = each.base + 0x148 if each.tls else 0
        first = 0x148 % align if align else 0
        put(release.tls, start, size, memsz, align, first, each.tls_offset, each.tls_modid)
        put(release.tls + release.relro, *((0x140, 0x40) if each.relro else (0, 0)))
        self.runs[here] = bytes(body)


def make(name: str, objects: Sequence[Object] | None = None) -> Glibc:
    """The process with the release that RELEASES calls `name`."""
    return Glibc(RELEASES[name], objects, AARCH64 if name.endswith("aarch64") else X86_64)
