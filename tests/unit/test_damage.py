"""Damaged and truncated files: only Problem comes out, soon, and without much memory."""

from __future__ import annotations

import resource
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdbext.elf.arch import X86_64
from gdbext.elf.core import open_core
from gdbext.elf.file import ElfFile, FileData, open_elf
from gdbext.elf.image import Image, read_image
from gdbext.elf.notes import decode_notes, read_build_id
from gdbext.elf.problem import Problem
from gdbext.elf.reader import BytesMemory, Memory
from gdbext.elf.relocations import read_relocations
from gdbext.elf.requirements import read_definitions, read_requirements
from gdbext.elf.symbols import SymbolTable, read_dynamic_symbols
from gdbext.elf.versions import read_versions
from gdbext.findings.conflicts.conflicts import find_conflicts
from gdbext.findings.conflicts.families import find_families
from gdbext.findings.slots.gotheaders import judge_headers
from gdbext.findings.slots.verdicts import make_judge
from gdbext.findings.symbol import explain
from gdbext.linker.loaded.modules import read_linker
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.needs.cache import read_cache
from gdbext.linker.needs.dependencies import read_dependencies
from gdbext.linker.needs.links import describe_links
from gdbext.linker.needs.search import Searches
from gdbext.linker.needs.versions import read_module_versions
from gdbext.linker.places import Map
from gdbext.linker.process.dumped import DumpedMemory
from gdbext.linker.process.environment import initial_environment
from gdbext.linker.process.regions import core_regions
from gdbext.linker.slots.got import read_slots
from gdbext.linker.threads.threads import Thread
from tests import programs
from tests.unit import crafted, glibc
from tests.unit.crafted import NT_AUXV, NT_FILE, FakeProcess, file_note, make_core, note, words

Damage = Callable[[bytes], bytes]
LIMIT = 10.0  # seconds of CPU time, for one file; a tenth of one is what they take
MEMORY = 1 << 30  # bytes, above what the test process has already


@contextmanager
def bounded() -> Iterator[None]:
    """A block that may neither take long nor take much memory (MemoryError)."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + MEMORY, old[1]))
    start = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
    assert time.process_time() - start < LIMIT


WORDS = st.sampled_from(
    [0, 1, 7, 0xFFFF, 1 << 20, (1 << 31) - 1, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63,
     (1 << 64) - 1, (1 << 64) - 4096]
)  # fmt: skip


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """Some bytes changed, some words replaced by absurd ones, perhaps the end cut off.

    Places are fractions of the file, half of them in its first part, where the headers are.
    """
    place = st.one_of(st.floats(0, 1), st.floats(0, 0.1))
    edits = draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=20))
    absurd = draw(st.lists(st.tuples(place, st.sampled_from([4, 8]), WORDS), max_size=6))
    keep = draw(st.one_of(st.just(1.0), st.just(1.0), st.floats(0, 1)))

    def apply(data: bytes) -> bytes:
        body = bytearray(data)
        for where, byte in edits:
            body[int(where * (len(body) - 1))] = byte
        for where, size, word in absurd:
            at = int(where * (len(body) - 8)) // size * size
            body[at : at + size] = struct.pack("<Q", word)[:size]
        return bytes(body[: int(keep * len(body))])

    return apply


@cache
def library() -> bytes:
    """A small real library with a bit of everything."""
    programs.build()
    return programs.program("tls/libtlsgd.so").path.read_bytes()


def read_everything(memory: Memory, image: Image) -> None:
    """Every reader of one image; a Problem of one does not spare the others."""
    tables = None
    try:
        tables = read_dynamic_symbols(memory, image)
    except Problem:
        pass
    else:
        names = [tables.name(index) for index in range(tables.count)]
        assert len(names) == tables.count
        assert sum(map(len, tables.indices_by_name.values())) == tables.count
        for address in (0, 1, *list(tables.exports)[:50]):
            tables.at(address)
    for read in (
        lambda: read_versions(memory, image, tables.count if tables else 9, b"\0a\0"),
        lambda: read_relocations(memory, image),
        lambda: read_requirements(memory, image),
        lambda: read_definitions(memory, image),
        lambda: read_build_id(memory, image),
    ):
        try:
            read()
        except Problem:
            continue


@given(damages())
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_library(tmp_path: Path, damage: Damage) -> None:
    path = tmp_path / "lib.so"
    data = damage(library())
    path.write_bytes(data)
    with bounded():
        try:
            file = open_elf(str(path))
        except Problem:
            file = None
        if file is not None:
            assert isinstance(file.sections, tuple)
            file.symbols()
            read_everything(file.memory, file.image)
        try:  # the same in a process, its bytes at an address
            memory = BytesMemory({0x7F0000000000: data + bytes(4096)})
            image = read_image(memory, 0x7F0000000000)
        except Problem:
            return
        read_everything(memory, image)


@given(st.binary(max_size=400), st.sampled_from([0, 4, 8, 3]))
@settings(max_examples=200, deadline=None)
def test_random_notes(data: bytes, align: int) -> None:
    assert sum(len(n.data) for n in decode_notes(data, align)) <= len(data)


@cache
def process() -> tuple[glibc.Glibc, bytes]:
    """A process with tables, slots and namespaces, and its core."""
    relocations = crafted.rela(0x100, 7, 1) + crafted.rela(0x108, 6, 1) + crafted.rela(0x110, 16)
    parts = {
        4: struct.pack("<II", 1, 2),
        6: bytes(24) + crafted.symbol(1, 0x40),
        23: relocations,
    }
    objects = glibc.program()
    for each in objects:
        each.parts, each.values = parts, [(2, len(relocations)), (20, 7)]
    made = glibc.make("deb12-x86-64", objects)
    fake = made.process()
    auxv = words(*(w for pair in fake.auxv.items() for w in pair), 0, 0)
    rows = [(o.base, o.base + 0x1000, 0, o.name.encode() or b"/bin/main") for o in objects]
    notes = note(b"CORE", NT_AUXV, auxv) + note(b"CORE", NT_FILE, file_note(rows))
    joined = {r.start: fake.memory.read(r.start, r.end - r.start) for r in fake.areas}
    return made, make_core(joined, notes)


def examine(path: Path) -> int:
    """What the commands do with a core; the number of modules found."""
    core = open_core(str(path))

    def candidates(_: str) -> Iterator[FileData]:
        yield process()[0].objects[0].data

    def no_file(_: object) -> ElfFile | None:
        return None

    def no_symbols(_: object) -> SymbolTable | None:
        return None

    memory = DumpedMemory(core, candidates)
    fake = FakeProcess(memory, core.auxv, X86_64, core_regions(core))
    linker = read_linker(fake)
    tables = TableSet(memory, no_file, no_symbols)
    slots = read_slots(memory, X86_64, linker, tables, linker.modules)
    assert len(slots) <= len(linker.modules)
    judge = make_judge(fake, linker, tables)
    assert [len(j) for j in judge.judge(slots)] == [len(m.slots) for m in slots]
    assert len(judge_headers(memory, X86_64, linker, slots)) == len(slots)
    explain(judge, linker, tables, linker.modules[0], "a", None)
    find_conflicts(memory, X86_64, judge.lookup)
    find_families(judge.lookup)
    searches = Searches(fake, linker, initial_environment(fake), read_cache("/etc/ld.so.cache"))
    links = describe_links(fake, linker, linker.modules, str, searches)
    assert len(links) == len(linker.modules)
    dependencies = read_dependencies(memory, linker)
    assert len(dependencies.roots) <= len(linker.modules)
    assert all(dependencies.ways_to(cycle.modules[0]) for cycle in dependencies.cycles)
    assert len(read_module_versions(memory, linker, dependencies)) <= len(linker.modules)
    thread = Thread(1, 1, 0x7FFF0000, process()[0].objects[0].base)
    space = Map(fake, X86_64, linker, tables, lambda: [thread], lambda _: None)
    for module in linker.modules[:10]:
        for address in (module.bias, module.bias + 0x108, module.map.address):
            space.place(address)
    return len(linker.modules)


def test_the_core_is_good_before_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(process()[1])
    assert examine(path) == 5


@given(damages())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_core(tmp_path: Path, damage: Damage) -> None:
    path = tmp_path / "core"
    path.write_bytes(damage(process()[1]))
    with bounded():
        try:
            examine(path)
        except Problem:
            return


@given(st.data())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_link_maps_and_images(tmp_path: Path, data: st.DataObject) -> None:
    """Damage that hits what is looked at: link_maps, r_debug and dynamic sections."""
    made, core = process()
    body = bytearray(core)
    for each in data.draw(st.lists(st.sampled_from(made.objects), min_size=1, max_size=4)):
        start = body.find(made.runs[each.address][:64])
        image_at = body.find(each.data[:64])
        for _ in range(data.draw(st.integers(1, 4))):
            in_map = data.draw(st.booleans())
            last = len(each.data) // 8 - 1
            fields = st.one_of(st.integers(0, 7), st.integers(80, 150))
            word = data.draw(fields if in_map else st.integers(0, last))
            at = (start if in_map else image_at) + 8 * word
            near = st.sampled_from([a for o in made.objects for a in (o.address, o.base)])
            body[at : at + 8] = words(data.draw(st.one_of(WORDS, near)))
    path = tmp_path / "core"
    path.write_bytes(body)
    with bounded():
        try:
            examine(path)
        except Problem:
            return


def test_the_limits_are_noticed() -> None:
    with pytest.raises(MemoryError), bounded():
        bytearray(MEMORY * 2)
