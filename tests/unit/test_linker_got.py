"""GOT slots, TLS slots and places in a made-up process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdbext.elf.arch import AARCH64, X86_64
from gdbext.elf.relocations import Relocation
from gdbext.linker.loaded.modules import Module, read_linker
from gdbext.linker.loaded.tables import Definition, TableSet
from gdbext.linker.places import Map
from gdbext.linker.slots.got import BOUND, DANGLING, LAZY, NULL, read_slots
from gdbext.linker.tls.tlsslots import tls_target
from tests.unit import glibc
from tests.unit.crafted import FakeProcess, words
from tests.unit.got_process import STACK, made, places


def test_slots() -> None:
    build, process, linker, tables = made()
    user, owner = linker.modules[1:]
    assert user.problem is owner.problem is None
    (found,) = read_slots(process.memory, X86_64, linker, tables, [user])
    assert found.problem is None
    assert found.header == (1, user.map.address, 2)
    assert found.header_address == user.bias + 0x400
    rows = [(s.address - user.bias, s.kind, s.symbol, s.state, s.provider) for s in found.slots]
    assert rows == [
        (0x418, "JUMP_SLOT", "function", BOUND, owner),
        (0x420, "JUMP_SLOT", "function", LAZY, None),
        (0x428, "GLOB_DAT", "variable", BOUND, owner),
        (0x430, "GLOB_DAT", "variable", NULL, None),
        (0x438, "ABSOLUTE", "variable", BOUND, None),
        (0x440, "GLOB_DAT", "variable", DANGLING, None),
        (0x448, "DTPMOD", None, BOUND, owner),
        (0x458, "IRELATIVE", None, BOUND, owner),
        (0x1_0000, "GLOB_DAT", "variable", None, None),
    ]
    by_address = {s.address - user.bias: s for s in found.slots}
    assert by_address[0x418].definition == Definition("function", 0)
    assert by_address[0x428].definition == Definition("variable", 0)
    assert by_address[0x438].reason == "the program keeps a value of its own in this data"
    assert by_address[0x440].reason == "this address is in no loaded module"
    assert by_address[0x1_0000].value is None
    assert by_address[0x1_0000].reason
    assert build.objects[1].base == user.bias


def test_relocations_that_cannot_be_read_are_a_problem_of_their_module() -> None:
    build, _, _, _ = made()
    user = build.objects[1]
    data = build.runs[user.base]
    build.runs[user.base] = data.replace(words(8, 192), words(8, 1 << 40))
    assert build.runs[user.base] != data
    process = build.process()
    linker = read_linker(process)
    tables = TableSet(process.memory, lambda _: None, lambda _: None)
    found = read_slots(process.memory, X86_64, linker, tables, linker.modules)
    assert [m.problem is None for m in found] == [True, False, True]
    assert len(found[1].slots) == 0


# ------------------------------------------------------------------------------------ places


def test_places() -> None:
    space, linker = places()
    user, owner = linker.modules[1:]
    kinds = {
        0: "null", 0xFFFF: "null", 0x900010: "heap", 0x910010: "file", 0x920000: "anonymous",
        0x930000: "unmapped", STACK + 0x1000: "stack", STACK - 8: "below-stack",
        user.bias + 0x500: "module", (1 << 64) - 1: "unmapped",
        # 32 bytes below the thread pointer, 16 long
        STACK + 0x2000 - 32: "tls", STACK + 0x2000 - 17: "tls", STACK + 0x2000 - 16: "stack",
    }  # fmt: skip
    assert {a: space.place(a).kind for a in kinds} == kinds
    block = space.place(STACK + 0x2000 - 32).tls
    assert block is not None
    assert (block.module, block.thread.number) == (owner, 4)
    place = space.place(owner.bias + 0x43)
    assert (place.module, place.definition) == (owner, Definition("function", 3))
    assert place.segment is not None
    thread = space.place(STACK + 8).thread
    assert thread is not None
    assert thread.number == 4
    deep = replace(space, threads=lambda: [thread._replace(stack_pointer=STACK - 64)])
    assert {a: deep.place(a).kind for a in (STACK - 64, STACK - 8, STACK)} == {
        STACK - 64: "below-stack", STACK - 8: "below-stack", STACK: "stack",
    }  # fmt: skip
    # where no mapping has a name, that of a file may be lost
    other, _ = places()
    assert isinstance(other.process, FakeProcess)
    other.process.areas = [r._replace(path=None) for r in other.process.areas]
    assert {other.place(at).kind for at in (0x910010, 0x920000)} == {"mapped"}


def test_slots_and_stubs_by_address() -> None:
    space, linker = places()
    user = linker.modules[1]
    at = space.slot_at(user.bias + 0x428)
    assert at is not None
    assert (at[0], at[1].symbol) == (user, "variable")
    assert space.slot_at(user.bias + 0x429) is None
    assert space.slot_at(0x900000) is None
    for inside in (0, 6, 15):
        stub = space.stub_at(user, user.bias + 0x310 + inside)
        assert stub is not None
        assert stub.address == user.bias + 0x420
    assert space.stub_at(user, user.bias + 0x500) is None
    place = space.place(user.bias + 0x312)
    assert place.stub is not None
    assert place.stub.symbol == "function"


def test_without_a_list_of_mappings() -> None:
    space, _ = places()
    process = space.process
    assert isinstance(process, FakeProcess)
    process.areas = ()
    again = Map(process, X86_64, space.linker, space.tables, space.threads, space.function)
    assert again.place(STACK + 0x1900).kind == "stack"
    assert again.place(0xDEAD0000).kind == "unmapped"
    assert again.place(0x10).kind == "null"


# --------------------------------------------------------------------------------- TLS slots


def target(
    kind: str, value: int, arch_name: str = "2.36-x86-64", before: int = 0, behind: int = 0
) -> Module | None:
    """What a TLS slot with this value, between these words, leads to."""
    made = glibc.make(arch_name)
    made.objects[3].tls_offset = -1
    made.runs[0x900000] = words(before, value, behind)
    made.runs[0x7E0000000000] = words(3, 0)  # a tls_index of _dl_tlsdesc_dynamic
    process = made.process()
    linker = read_linker(process)
    user = linker.modules[1]
    arch = AARCH64 if made.arch is AARCH64 else X86_64
    relocation = Relocation(0x900008 - user.bias, 0, 0, 0, None)
    found, _ = tls_target(process.memory, arch, linker, user, kind, relocation, value)
    return found


@pytest.mark.parametrize(
    ("kind", "value", "words_around", "path"),
    [
        ("DTPMOD", 1, (0, 0), "/bin/main"),
        ("DTPMOD", 3, (0, 0), "/opt/plug.so"),
        ("DTPMOD", 0, (0, 0), None),
        ("DTPMOD", 77, (0, 0), None),
        ("DTPOFF", 16, (2, 0), "/lib/libc.so.6"),
        ("TPOFF", -208, (0, 0), "/lib/libc.so.6"),  # libc's block: 144 bytes from TP - 208 on
        ("TPOFF", -208 + 143, (0, 0), "/lib/libc.so.6"),
        ("TPOFF", -208 + 144, (0, 0), None),
        ("TPOFF", -209, (0, 0), None),
        ("TLSDESC", 0x7000, (0, -208), "/lib/libc.so.6"),
        ("TLSDESC", 0x7000, (0, 0x7E0000000000), "/opt/plug.so"),
    ],
)
def test_tls_slots(kind: str, value: int, words_around: tuple[int, int], path: str | None) -> None:
    wide = value & (1 << 64) - 1
    found = target(kind, wide, before=words_around[0], behind=words_around[1])
    assert (found.path if found else None) == path


def test_static_tls_lies_above_the_pointer_on_arm64() -> None:
    for value, path in ((208, "/lib/libc.so.6"), (351, "/lib/libc.so.6"), (352, None), (207, None)):
        found = target("TPOFF", value, "2.41-aarch64")
        assert (found.path if found else None) == path
