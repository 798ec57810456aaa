"""ld.so's log of what it mapped, as real ones wrote it, and as nobody does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbext.linker.unloaded.filelog import LoggedLoad, read_file_log

# glibc 2.36; process 313 is a child that process 312 forked, so that it writes to the same file.
FORKED = b"""\
       312:\t
       312:\tfile=libc.so.6 [0];  needed by ./t [0]
       312:\tfile=libc.so.6 [0];  generating link map
       312:\t  dynamic: 0x00007f8b8af8db60  base: 0x00007f8b8adbb000   size: 0x00000000001e1f50
       312:\t    entry: 0x00007f8b8ade2410  phdr: 0x00007f8b8adbb040  phnum:                 14
       312:\t
       312:\tcalling init: /lib/x86_64-linux-gnu/libc.so.6
       312:\t
       312:\tfile=libz.so.1 [0];  dynamically loaded by ./t [0]
       312:\tfile=libz.so.1 [0];  generating link map
       312:\t  dynamic: 0x00007f8b8adb6dd0  base: 0x00007f8b8ad99000   size: 0x000000000001e190
       312:\t    entry: 0x00007f8b8ad99000  phdr: 0x00007f8b8ad99040  phnum:                  9
       312:\t
       312:\tcalling init: /lib/x86_64-linux-gnu/libz.so.1
       312:\t
       312:\topening file=/lib/x86_64-linux-gnu/libz.so.1 [0]; direct_opencount=1
       312:\t
       313:\tcalling fini: /lib/x86_64-linux-gnu/libz.so.1 [0]
       313:\t
       313:\tfile=/lib/x86_64-linux-gnu/libz.so.1 [0];  destroying link map
       312:\tfile=/nonexist.so [0];  dynamically loaded by ./t [0]
       312:\tfile=libz.so.1 [1];  dynamically loaded by ./t [0]
       312:\tfile=libz.so.1 [1];  generating link map
       312:\t  dynamic: 0x00007f8b8acd6dd0  base: 0x00007f8b8acb9000   size: 0x000000000001e190
       312:\t    entry: 0x00007f8b8acb9000  phdr: 0x00007f8b8acb9040  phnum:                  9
       312:\t
       312:\tfile=/lib/x86_64-linux-gnu/libz.so.1 [1];  destroying link map
"""
LIBC = LoggedLoad(
    "/lib/x86_64-linux-gnu/libc.so.6", 0, 0x7F8B8ADBB000, 0x7F8B8AF9CF50, 0x7F8B8AF8DB60, False
)
# (release, CPU): one library that came and went. qemu-aarch64 gives ld.so its own process's id.
ONES = {
    "2.31 x86-64": (b"4347", "libm.so.6", 0x7F8ED4A96000, 0x143110, 0x7F8ED4BD8D90),
    "2.36 aarch64": (b"1006", "./libe.so", 0x5502A30000, 0x20020, 0x5502A4FE40),
    "2.43 x86-64": (b"3864", "libm.so.6", 0x7FF1F8225000, 0x115018, 0x7FF1F8339D88),
}


def test_a_log_of_two_processes() -> None:
    found = read_file_log(FORKED.splitlines(keepends=True), 312)
    assert found[0] == LIBC
    assert [(load.path, load.namespace, hex(load.start), load.gone) for load in found[1:]] == [
        ("/lib/x86_64-linux-gnu/libz.so.1", 0, "0x7f8b8ad99000", False),
        ("/lib/x86_64-linux-gnu/libz.so.1", 1, "0x7f8b8acb9000", True),
    ]
    assert read_file_log(FORKED.splitlines(), 314) == []


@pytest.mark.parametrize("release", ONES)
def test_releases(release: str) -> None:
    pid, name, start, size, l_ld = ONES[release]
    own = f"/x/{name.rpartition('/')[2]}" if "/" not in name else name
    said = (
        f"file={name} [0];  dynamically loaded by /tmp/host [0]\n"
        f"file={name} [0];  generating link map\n"
        f"  dynamic: 0x{l_ld:016x}  base: 0x{start:016x}   size: 0x{size:016x}\n"
        f"    entry: 0x{start:016x}  phdr: 0x{start + 64:016x}  phnum:                  7\n\n\n"
        f"calling init: {own}\n\nopening file={own} [0]; direct_opencount=1\n\n\n"
        f"calling fini: {own} [0]\n\n\nfile={own} [0];  destroying link map\n"
    )
    lines = [b"%10s:\t%s" % (pid, line.encode()) for line in said.splitlines()]
    expected = LoggedLoad(own, 0, start, start + size, l_ld, True)
    assert read_file_log(lines, int(pid)) == [expected]


def test_a_first_segment_that_is_not_at_the_load_bias() -> None:
    lines = [
        b"1:\tfile=libhigh.so [0];  generating link map",
        b"1:\t  dynamic: 0x0000000020000e00  base: 0x0000000010000000   size: 0x0000000000004000",
        b"1:\t    entry: 0x0000000020001000  phdr: 0x000000001ffff040  phnum:                 9",
    ]
    (load,) = read_file_log(lines, 1)
    assert (load.start, load.end) == (0x1FFFF000, 0x20003000)


def test_a_map_that_was_never_made() -> None:
    """The file was no library: the lines that follow are another one's."""
    lines = [
        b"1:\tfile=bad.so [0];  generating link map",
        b"1:\tfile=good.so [0];  generating link map",
        b"1:\t  dynamic: 0x0000000000003e00  base: 0x0000000000001000   size: 0x0000000000004000",
    ]
    assert [load.path for load in read_file_log(lines, 1)] == ["good.so"]


def test_two_files_of_one_name() -> None:
    """Each end is that of the right one."""
    made = []
    for name, base in ((b"/a/lib.so", 0x10000), (b"/b/lib.so", 0x20000)):
        made += [
            b"1:\tfile=%s [0];  generating link map" % name,
            b"1:\t  dynamic: 0x%016x  base: 0x%016x   size: 0x%016x" % (base + 8, base, 4096),
        ]
    found = read_file_log([*made, b"1:\tfile=/a/lib.so [0];  destroying link map"], 1)
    assert [(load.path, load.gone) for load in found] == [("/a/lib.so", True), ("/b/lib.so", False)]


LINES = st.sampled_from([line + b"\n" for line in FORKED.splitlines()])


@given(st.lists(st.one_of(LINES, st.binary(max_size=80).map(lambda text: b"312:\t" + text))))
def test_torn_and_foreign_lines_do_no_harm(lines: list[bytes]) -> None:
    for load in read_file_log(lines, 312):
        assert load.start < load.end
