"""/proc/PID/maps and the segments of a core as regions."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from gdbext.elf.core import open_core
from gdbext.linker.process.process import Region
from gdbext.linker.process.regions import (
    core_regions,
    find_region,
    os_device,
    own_path,
    own_regions,
    parse_maps,
    region_finder,
)
from tests import oracles
from tests.unit.crafted import NT_FILE, file_note, make_core, note


def test_own_maps(tmp_path: Path) -> None:
    odd = tmp_path / "a b (deleted) [x]\n\\012\udcff"
    odd.write_bytes(b"x" * 8192)
    with odd.open("rb") as file, mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ, offset=4096):
        text = Path("/proc/self/maps").read_bytes()
        inode, device = os.fstat(file.fileno()).st_ino, os.fstat(file.fileno()).st_dev
    regions = parse_maps(text)
    judge = oracles.parse_maps(os.fsdecode(text))
    assert [(r.start, r.end, r.offset, r.path or "") for r in regions] == [
        (m.start, m.end, m.offset, m.path) for m in judge
    ]
    bits = {"r": 4, "w": 2, "x": 1, "-": 0}
    assert [r.flags for r in regions] == [sum(bits[c] for c in m.permissions[:3]) for m in judge]
    own = next(r for r in regions if r.inode is not None and r.inode[1] == inode)
    assert own.offset == 4096
    assert own.path is not None
    # the kernel escapes a newline alone, so the path's own backslash-012 cannot be told from it
    assert own.path.replace("\n", "").startswith(str(tmp_path / "a b (deleted) [x]"))
    assert own.inode is not None
    assert own.inode[0] in (device, os_device(os.major(device), os.minor(device)))
    assert any(r.path == "[stack]" and r.inode is None for r in regions)
    assert list(regions) == sorted(regions, key=lambda r: r.start)


@pytest.mark.parametrize(
    ("line", "region"),
    [
        (b"1000-2000 r-xp 00001000 08:02 17      /bin/x", (0x1000, 0x2000, 5, 0x1000, "/bin/x")),
        (b"1000-2000 ---p 00000000 00:00 0 ", (0x1000, 0x2000, 0, 0, None)),
        (b"1000-2000 rw-s 00000000 00:01 9      /memfd:a b (deleted)",
         (0x1000, 0x2000, 6, 0, "/memfd:a b (deleted)")),
        (b"1000-2000 rw-p 00000000 00:00 0      [anon:name]", (0x1000, 0x2000, 6, 0,
                                                              "[anon:name]")),
        (b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]",
         (0xFFFFFFFFFF600000, 0xFFFFFFFFFF601000, 1, 0, "[vsyscall]")),
        (b"1000-2000 rwxp 00000000 fe:00 99  /\xff\\012b", (0x1000, 0x2000, 7, 0, "/\udcff\nb")),
    ],
)  # fmt: skip
def test_lines(line: bytes, region: tuple[int, int, int, int, str | None]) -> None:
    (found,) = parse_maps(line + b"\n")
    assert tuple(found)[:5] == region


@pytest.mark.parametrize(
    "line",
    [b"", b"nonsense", b"1000-2000", b"1000-2000 r-xp", b"xyz-2000 r-xp 0 0:0 0", b"\0" * 80,
     b"1000-2000 r-xq 00000000 00:00 0", b"1000 2000 r-xp 00000000 00:00 0"],
)  # fmt: skip
def test_lines_that_are_none(line: bytes) -> None:
    good = b"1000-2000 r-xp 00000000 00:00 0"
    assert len(parse_maps(line + b"\n" + good)) == 1
    assert parse_maps(line) == ()


@pytest.mark.parametrize(
    "device", [0, 0x801, 0xFD00, os.makedev(8, 300), os.makedev(4095, 1 << 19)]
)
def test_device_numbers(device: int) -> None:
    assert os_device(os.major(device), os.minor(device)) == device


def test_regions_of_a_core(tmp_path: Path) -> None:
    path = tmp_path / "core"
    rows = [(0x1000, 0x4000, 3, b"/lib/x.so"), (0x9000, 0xA000, 0, b"/gone")]
    data = make_core(
        {0x1000: b"x" * 4096, 0x5000: b"y" * 4096},
        note(b"CORE", NT_FILE, file_note(rows)),
        undumped=[(0x2000, 0x2000)],
    )
    path.write_bytes(data)
    assert core_regions(open_core(str(path))) == (
        Region(0x1000, 0x2000, 6, 0x3000, "/lib/x.so", None),
        Region(0x2000, 0x4000, 5, 0x4000, "/lib/x.so", None),
        Region(0x5000, 0x6000, 6, 0, None, None),
    )


def test_finding_a_region() -> None:
    regions = [Region(0x1000, 0x2000, 7, 0, "a", None), Region(0x3000, 0x4000, 7, 0, "b", None)]
    find = region_finder(regions)
    names = {a: r.path for a in (0xFFF, 0x1000, 0x1FFF, 0x2000, 0x3000, 0x4000) if (r := find(a))}
    assert names == {0x1000: "a", 0x1FFF: "a", 0x3000: "b"}
    assert region_finder([])(0x1000) is None


def test_one_region_is_what_all_of_them_have() -> None:
    text = Path("/proc/self/maps").read_bytes()
    for region in parse_maps(text):
        assert find_region(text, region.start) == region
        assert find_region(text, region.start + 1) is None
    wide = b"0000000000001000-0000000000002000 r-xp 00000000 00:00 0"  # as qemu-user writes them
    assert find_region(wide, 0x1000) == parse_maps(wide)[0]
    assert find_region(b"", 0x1000) is None


def test_paths_below_a_root_of_its_own() -> None:
    assert own_path("/srv/tree/lib/x.so", "/srv/tree") == "/lib/x.so"
    assert own_path("/srv/tree", "/srv/tree") == "/"
    assert own_path("/srv/trees/x.so", "/srv/tree") == "/srv/trees/x.so"
    assert own_path("/lib/x.so", "/") == "/lib/x.so"
    line = (
        b"1000-2000 r-xp 00000000 fe:00 12 /srv/tree/lib/x.so\n2000-3000 rw-p 00000000 00:00 0 \n"
    )
    assert [r.path for r in own_regions(line, "/srv/tree")] == ["/lib/x.so", None]
