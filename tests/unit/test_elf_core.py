"""Cores and notes, hand-made, also as no kernel writes them; pyelftools judges the sane ones."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from gdbext.elf.core import (
    MappedFile,
    decode_auxv,
    decode_mapped_files,
    decode_path,
    open_core,
)
from gdbext.elf.file import map_file
from gdbext.elf.notes import NT_GNU_BUILD_ID, Note, decode_notes, read_build_id
from gdbext.elf.problem import Problem, Unreadable
from gdbext.linker.process.dumped import DumpedMemory
from tests.unit import crafted
from tests.unit.crafted import NT_AUXV, NT_FILE, file_note, make_core, note, words

FILES = [
    (0x400000, 0x401000, 0, b"/bin/a b"),
    (0x402000, 0x405000, 2, b"/lib/\xff\xfe.so"),
    (0x406000, 0x407000, 0, b"/tmp/new\nline (deleted)"),
]
MEMORY = {0x400000: b"A" * 4096, 0x401000: b"B" * 4096, 0x10000: b"C" * 8192}
NOTES = note(b"CORE", NT_AUXV, words(3, 0x400040, 5, 9, 0, 0)) + note(
    b"CORE", NT_FILE, file_note(FILES)
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "core"
    file.write_bytes(make_core(MEMORY, NOTES, undumped=[(0x402000, 0x3000)]))
    return file


def test_a_core(path: Path) -> None:
    core = open_core(str(path))
    assert core.machine == 62
    assert [hex(s.vaddr) for s in core.loads] == ["0x10000", "0x400000", "0x401000", "0x402000"]
    assert core.auxv == {3: 0x400040, 5: 9}
    assert core.files == (
        (0x400000, 0x401000, 0, "/bin/a b"),
        (0x402000, 0x405000, 8192, "/lib/\udcff\udcfe.so"),
        (0x406000, 0x407000, 0, "/tmp/new\nline (deleted)"),
    )
    assert not core.truncated


def test_pyelftools_sees_the_same_mapped_files(path: Path) -> None:
    with path.open("rb") as stream:
        segment: Any = next(ELFFile(stream).iter_segments("PT_NOTE"))
        files = next(n["n_desc"] for n in segment.iter_notes() if n["n_type"] == "NT_FILE")
    entries = zip(files["Elf_Nt_File_Entry"], files["filename"])
    assert [
        (e["vm_start"], e["vm_end"], e["page_offset"] * 4096, decode_path(name))
        for e, name in entries
    ] == [tuple(f) for f in open_core(str(path)).files]


def test_reads_of_a_core(path: Path) -> None:
    core = open_core(str(path))
    assert core.read(0x10000, 8192) == b"C" * 8192
    assert core.read(0x400FFE, 4) == b"AABB"  # over two segments
    assert core.read(0x400000, 0) == b""
    for address, size in (
        (0x401FFE, 4),  # runs into what was not dumped
        (0x402000, 1),
        (0x405000, 1),
        (0xFFFF, 1),
        (0xFFFF, 2),
        (0x12000, 1),
        (0x10000, 1 << 40),
        (1 << 64, 8),
    ):
        assert core.read(address, size) is None, hex(address)
    undumped = core.load_at(0x402FFF)
    assert undumped is not None
    assert (undumped.vaddr, undumped.filesz) == (0x402000, 0)
    assert core.load_at(0x405000) is core.load_at(0) is None


def test_a_truncated_core_is_opened_and_known_as_such(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-4096])
    core = open_core(str(path))
    assert core.truncated
    assert core.read(0x400000, 8) == b"A" * 8
    assert core.read(0x10000, 4096) == b"C" * 4096
    assert core.read(0x10000, 4097) is None
    assert core.read(0x11000, 1) is None
    path.write_bytes(data[:100])  # in the program headers
    assert (open_core(str(path)).loads, open_core(str(path)).files) == ((), ())


def test_many_segments_are_counted_in_section_0(path: Path) -> None:
    runs = {0x100000 + 0x10000 * n: b"%4d" % n for n in range(300)}
    path.write_bytes(make_core(runs, NOTES, many=True))
    core = open_core(str(path))
    assert len(core.loads) == 300
    assert core.read(0x100000 + 0x10000 * 299, 4) == b" 299"
    assert core.auxv == {3: 0x400040, 5: 9}


@pytest.mark.parametrize("shoff", [1 << 40, (1 << 64) - 8])
def test_section_0_that_is_not_there(path: Path, shoff: int) -> None:
    data = bytearray(make_core(MEMORY, NOTES, many=True))
    struct.pack_into("<Q", data, 40, shoff)
    path.write_bytes(data)
    assert open_core(str(path)).loads == ()


def test_absurd_counts_of_segments_end_with_the_file(path: Path) -> None:
    data = bytearray(make_core(MEMORY, NOTES, many=True))
    struct.pack_into("<I", data, 64 + 56 * 4 + 44, 0xFFFFFFFF)
    path.write_bytes(data)
    assert len(open_core(str(path)).loads) < len(data) // 56


def test_segments_that_are_all_the_same_bytes(path: Path) -> None:
    data = bytearray(make_core({0x1000 * n: b"x" * 4096 for n in range(100)}))
    for n in range(100):
        place = 64 + 56 * (n + 1) + 8
        data[place : place + 8] = words(64 + 56 * 101)
    path.write_bytes(data[: 64 + 56 * 101 + 4096])
    core = open_core(str(path))
    assert core.read(0x1000, 8192) == b"x" * 8192
    assert core.read(0, 100 * 4096) is None  # more than the whole file


def test_note_segments_that_are_all_the_same_bytes(path: Path) -> None:
    big = note(b"CORE", 1, bytes(1 << 20))
    data = make_core({0x1000 * n: b"x" for n in range(1000)}, big)
    headers = data[64 : 64 + 56] * 1001
    path.write_bytes(data[:64] + headers + data[64 + 56 * 1001 :])
    assert sum(len(n.data) for n in open_core(str(path)).notes) <= len(data)


def test_what_is_no_core(path: Path) -> None:
    path.write_bytes(crafted.make_elf())
    with pytest.raises(Problem, match="not a core"):
        open_core(str(path))
    path.write_bytes(b"\x7fELF")
    with pytest.raises(Problem, match="magic"):
        open_core(str(path))


@pytest.mark.parametrize("align", [4, 8])
def test_notes_of_both_alignments(align: int) -> None:
    data = (
        note(b"GNU", 3, b"\1\2\3", align)
        + note(b"LONGER", 0x46494C45, b"", align)
        + note(b"", 7, b"12345678", align)
    )
    assert list(decode_notes(data, align)) == [
        Note(b"GNU", 3, b"\1\2\3"),
        Note(b"LONGER", 0x46494C45, b""),
        Note(b"", 7, b"12345678"),
    ]


@pytest.mark.parametrize("align", [0, 1, 2, 3, 4, 16, 1 << 63])
def test_other_alignments_mean_4(align: int) -> None:
    data = note(b"GNU", 3, b"\1\2\3\4\5") + note(b"GNU", 4, b"")
    assert [n.type for n in decode_notes(data, align)] == [3, 4]


def test_truncated_notes() -> None:
    data = note(b"GNU", 3, b"12345678") + note(b"CORE", 4, b"12345678")
    for size in range(len(data)):
        found = list(decode_notes(data[:size]))
        assert [n.type for n in found] == ([3] if size >= 24 else [])
    assert len(list(decode_notes(data))) == 2


@pytest.mark.parametrize(
    "head",
    [(0xFFFFFFFF, 4, 1), (4, 0xFFFFFFFF, 1), (0xFFFFFFFF, 0xFFFFFFFF, 1), (5, 4, 1)],
)
def test_notes_larger_than_their_segment(head: tuple[int, int, int]) -> None:
    assert list(decode_notes(struct.pack("<III", *head) + b"abcdefgh")) == []


def test_empty_notes_come_to_an_end() -> None:
    assert len(list(decode_notes(bytes(12 * 1000)))) == 1000


def test_build_ids() -> None:
    def build_id(data: bytes, align: int = 4, memsz: int | None = None) -> str | None:
        at = 64 + 56 * 4
        extra = crafted.segment(4, at, len(data), align=align, memsz=memsz)
        memory, image = crafted.load(crafted.make_elf({1 << 32: data}, segments=[extra]))
        return read_build_id(memory, image)

    good = note(b"GNU", NT_GNU_BUILD_ID, b"\xab\xcd")
    assert build_id(good) == "abcd"
    assert build_id(note(b"GNU", 5, b"1234", 8) + note(b"GNU", 3, b"\1", 8), align=8) == "01"
    assert build_id(note(b"Go", 4, b"id") + good) == "abcd"
    assert build_id(note(b"Go", NT_GNU_BUILD_ID, b"id")) is None  # another owner's type 3
    assert build_id(good, memsz=1 << 40) is None
    assert build_id(good, memsz=60000) is None  # runs out of memory


def test_auxv() -> None:
    assert decode_auxv(words(6, 4096, 0, 0, 9, 1)) == {6: 4096}
    assert decode_auxv(words(6, 4096, 9)) == {6: 4096}
    assert decode_auxv(b"") == decode_auxv(bytes(15)) == {}


def test_odd_file_notes() -> None:
    sane = file_note(FILES)
    assert len(decode_mapped_files(sane)) == 3
    assert decode_mapped_files(sane[:15]) == ()
    assert decode_mapped_files(sane[: 16 + 71]) == ()  # in the table
    cut = decode_mapped_files(sane[:-10])
    assert [f.path for f in cut] == ["/bin/a b", "/lib/\udcff\udcfe.so", "/tmp/new\nline "]
    assert decode_mapped_files(words(1 << 62, 4096) + sane[16:]) == ()
    assert decode_mapped_files(words(0, 4096)) == ()
    assert decode_mapped_files(file_note([(1, 2, 3, b"")])) == (MappedFile(1, 2, 12288, ""),)
    far = decode_mapped_files(file_note([(0, 1, (1 << 64) - 1, b"x")], page=(1 << 64) - 1))
    assert far[0].offset == ((1 << 64) - 1) ** 2


def test_paths_keep_their_bytes() -> None:
    for raw in (b"/a", b"/\xff\xc3", "/ünï".encode(), b""):
        assert decode_path(raw).encode("utf-8", "surrogateescape") == raw


def test_zeros_follow_a_files_end_in_its_last_page(tmp_path: Path) -> None:
    file = tmp_path / "lib.so"
    file.write_bytes(b"h" * 4096 + b"strings")
    rows = [(0x1000, 0x2000, 0, b"lib"), (0x2000, 0x4000, 1, b"lib")]
    notes = note(b"CORE", NT_FILE, file_note(rows))
    path = tmp_path / "core"
    path.write_bytes(make_core({0x1000: b"h" * 4096}, notes, undumped=[(0x2000, 0x2000)]))
    memory = DumpedMemory(open_core(str(path)), lambda _: iter([map_file(str(file))]))
    assert memory.read(0x2000, 16) == b"strings" + bytes(9)
    assert memory.read(0x2FFF, 1) == b"\0"
    with pytest.raises(Unreadable, match="past the end of the file"):
        memory.read(0x2FFF, 2)


def test_a_file_name_that_two_paths_have_stands_for_none(tmp_path: Path) -> None:
    """l_name may go through a symbolic link, /lib for /usr/lib, which NT_FILE never shows."""
    rows = {0x1000: b"/guest/libc.so", 0x2000: b"/usr/lib/libc.so", 0x3000: b"/usr/lib/libz.so"}
    notes = file_note([(start, start + 0x1000, 0, name) for start, name in rows.items()])
    memory = {start: bytes([start >> 12]) * 4096 for start in rows}
    path = tmp_path / "core"
    path.write_bytes(make_core(memory, note(b"CORE", NT_FILE, notes)))
    dumped = DumpedMemory(
        open_core(str(path)),
        lambda name: iter([memory[start] for start in rows if rows[start] == name.encode()]),
    )
    assert dumped.matching("/usr/lib/libc.so") == memory[0x2000]
    assert dumped.matching("/lib/libz.so") == memory[0x3000]
    assert dumped.matching("/lib/libc.so") is None
