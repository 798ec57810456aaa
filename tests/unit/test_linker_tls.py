"""TLS of a process made of bytes: slots, vectors, ids that are used again, damage."""

from __future__ import annotations

import pytest

from gdbext.elf.arch import AARCH64, X86_64, Arch
from gdbext.elf.image import PT_LOAD, PT_TLS, Header, Image, Segment
from gdbext.elf.reader import BytesMemory
from gdbext.linker.loaded.layout import Layout
from gdbext.linker.loaded.linkmaps import LinkMap
from gdbext.linker.loaded.modules import DLOPENED, MAIN, Linker, Module
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.threads.threads import Thread
from gdbext.linker.tls.dtv import Dtv, read_dtv
from gdbext.linker.tls.tls import Tls
from gdbext.linker.tls.tlsmodules import DYNAMIC, STATIC, TlsModule, read_tls_modules
from gdbext.linker.tls.tlsstate import Slot, TlsState, Variables, find_state, read_slots
from tests.unit.crafted import words

NOTHING = BytesMemory({})
LAYOUT = Layout(704, 944, 880, 1104, 1168, 5, 823)
THREAD = Thread(1, 1, 0, 0x7000)


def module(at: int, kind: str = MAIN, tls: tuple[int, int, int] = (4, 8, 4)) -> Module:
    filesz, memsz, align = tls
    image = Image(
        Header(3, 62, 0, 64, 2, 0, 0, 0, 0),
        (
            Segment(PT_LOAD, 6, 0, 0, 0, 0x1000, 0x1000, 4096),
            Segment(PT_TLS, 4, 0x100, 0x100, 0x100, filesz, memsz, align),
        ),
        at * 16,
        (),
        None,
    )
    link_map = LinkMap(at, at * 16, b"", 0, 0, 0)
    return Module(link_map, 0, f"/lib{at:x}.so", "", kind, image, None, None, NOTHING)


def tls_module(at: int, number: int, storage: str, offset: int | None = None) -> TlsModule:
    return TlsModule(module(at), number, 8, 4, 4, 0, storage, offset, False)


def made(*modules: TlsModule, state: TlsState | None, musl: bool = False) -> Tls:
    linker = Linker((), tuple(m.module for m in modules), (), None if musl else LAYOUT, ())
    tables = TableSet(NOTHING, lambda _: None, lambda _: None)
    return Tls(NOTHING, X86_64, linker, tables, modules, state, None)


def slot_list(following: int, *slots: tuple[int, int], length: int | None = None) -> bytes:
    flat = [word for slot in slots for word in slot]
    return words(len(slots) if length is None else length, following, *flat)


def test_slots_run_on_from_list_to_list() -> None:
    memory = BytesMemory(
        {
            0x100: slot_list(0x200, (0, 0), (0, 0x1000)),
            0x200: slot_list(0, (3, 0x2000), (4, 0)),
        }
    )
    assert read_slots(memory, 0x100, 2) == {0: (0, 0), 1: (0, 0x1000), 2: (3, 0x2000)}


@pytest.mark.parametrize("length", [0, 1 << 40, 3])
def test_hostile_lists(length: int) -> None:
    """No length, an absurd one, and one that runs into nothing."""
    memory = BytesMemory({0x100: slot_list(0, (0, 0), (0, 0x1000), length=length)})
    assert read_slots(memory, 0x100, 5) is None


def test_a_list_that_loops_ends() -> None:
    memory = BytesMemory({0x100: slot_list(0x100, (0, 0), (0, 0x1000))})
    assert read_slots(memory, 0x100, 1 << 19) == {0: (0, 0), 1: (0, 0x1000)}


LIST, DTV = 0x7F0000000100, 0x7F0000000900


def variables(*numbers: int, generation: int = 4, largest: int = 2) -> Variables:
    noise = (0, 7, LIST + 8, 2, 0x7F0000000000, 1 << 63)
    return Variables((*noise, largest, LIST, *numbers, DTV, generation, *noise), ())


def test_the_list_of_slots_is_the_one_that_names_the_link_maps() -> None:
    memory = BytesMemory({LIST: slot_list(0, (0, 0), (0, 0x1000), (3, 0x2000))})
    modules = [tls_module(0x1000, 1, STATIC, -8), tls_module(0x2000, 2, DYNAMIC)]
    state = find_state(memory, variables(1, 168, 504), modules)
    assert state == TlsState(2, 4, {0: Slot(0, 0), 1: Slot(0, 0x1000), 2: Slot(3, 0x2000)},
                             (1, 168, 504))  # fmt: skip
    # a dlopen that is under way has set its slot, but not yet the counter
    assert find_state(memory, variables(1, 168, generation=2), modules) is not None
    for wrong in (variables(1, 168, generation=1), variables(1, 168, largest=1), Variables((), ())):
        assert find_state(memory, wrong, modules) is None
    others = [tls_module(0x5000, 1, STATIC, -8), tls_module(0x6000, 2, DYNAMIC)]
    assert find_state(memory, variables(1, 168, 504), others) is None
    assert find_state(memory, variables(1, 168, 504), []) is None


def test_an_id_that_is_used_again_shows_no_old_block() -> None:
    late = tls_module(0x2000, 2, DYNAMIC)
    slots = {1: Slot(0, 0x1000), 2: Slot(4, 0x2000)}
    tls = made(late, state=TlsState(2, 4, slots, ()))
    entries = (0, 0x6000, 0x8000)
    assert tls.block(late, THREAD, Dtv(4, entries)).start == 0x8000
    stale = tls.block(late, THREAD, Dtv(3, entries))
    assert stale.start is None
    assert "not allocated in this thread" in (stale.reason or "")
    assert tls.block(late, THREAD, Dtv(4, (0, 0x6000, (1 << 64) - 1))).start is None
    assert tls.block(late, THREAD, Dtv(4, (0, 0x6000, 0))).start is None
    assert tls.block(late, THREAD, Dtv(4, (0, 0x6000))).start is None
    # the slot is another module's: this one is not in use yet, or not any more
    slots[2] = Slot(4, 0x3000)
    assert tls.block(late, THREAD, Dtv(4, entries)).start is None


def test_what_cannot_be_told_has_a_reason() -> None:
    late, fixed = tls_module(0x2000, 2, DYNAMIC), tls_module(0x1000, 1, STATIC, -8)
    tls = made(late, fixed, state=None)
    assert tls.block(fixed, THREAD, None) == (0x7000 - 8, None)
    assert "module ids was not found" in (tls.block(late, THREAD, Dtv(4, (0, 1, 2))).reason or "")
    assert "cannot be read" in (tls.block(late, THREAD, None).reason or "")
    gone = Thread(1, 1, 0, None)
    assert "thread pointer" in (tls.block(fixed, gone, None).reason or "")
    assert tls.dtv(gone) is None
    nameless = fixed._replace(id=None, storage=None, offset=None)
    assert "id is not known" in (tls.block(nameless, THREAD, None).reason or "")


@pytest.mark.parametrize("arch", [X86_64, AARCH64])
def test_vector_of_glibc(arch: Arch) -> None:
    at = 0x7008 if arch is X86_64 else 0x7000
    vector = words(3, 0, 9, 0, 0x100, 0, 0x200, 0x200, (1 << 64) - 1, 0)
    memory = BytesMemory({at: words(0x9010), 0x9000: vector})
    assert read_dtv(memory, arch, 0x7000, 2, False) == Dtv(9, (0, 0x100, 0x200))
    full = read_dtv(memory, arch, 0x7000, 50, False)
    assert full == Dtv(9, (0, 0x100, 0x200, (1 << 64) - 1))
    assert [full.start(n) for n in range(-1, 5)] == [None, None, 0x100, 0x200, None, None]


@pytest.mark.parametrize("length", [0, 1 << 40, 100])
def test_damaged_vectors(length: int) -> None:
    memory = BytesMemory({0x7008: words(0x9010), 0x9000: words(length, 0, 9, 0, 0x100, 0)})
    assert read_dtv(memory, X86_64, 0x7000, 50, False) is None
    assert read_dtv(NOTHING, X86_64, 0x7000, 50, False) is None


@pytest.mark.parametrize("arch", [X86_64, AARCH64])
def test_musl(arch: Arch) -> None:
    """struct dso as musl 1.2.3 has it: next, image, len, size, align, offset, then the id."""
    modules = [module(0x1000), module(0x2000, DLOPENED, (8, 5000, 8))]
    runs = {}
    for number, one in enumerate(modules, 1):
        tls = one.image.segment(PT_TLS) if one.image else None
        assert tls is not None
        fields = (0, one.bias + tls.vaddr, tls.filesz, tls.memsz, tls.align, 16 * number, number)
        runs[one.map.address] = words(*([0x33] * 50), *fields, *([0x44] * 80))
    linker = Linker((), tuple(modules), (), None, ())
    first, second = read_tls_modules(BytesMemory(runs), arch, linker)
    assert (first.id, first.storage, first.offset) == (1, STATIC, -16 if arch is X86_64 else 16)
    assert (second.id, second.storage, second.offset, second.at_start) == (2, DYNAMIC, None, False)
    at = 0x7008 if arch is X86_64 else 0x6FF8
    memory = BytesMemory({at: words(0x9000), 0x9000: words(2, 0x6FF0, 0x8000)})
    vector = read_dtv(memory, arch, 0x7000, 2, True)
    assert vector == Dtv(None, (0, 0x6FF0, 0x8000))
    assert made(first, second, state=None, musl=True).block(second, THREAD, vector).start == 0x8000
    # nothing there, or not what musl has: the ids are unknown
    for broken in (NOTHING, BytesMemory({at: bytes(len(run)) for at, run in runs.items()})):
        assert [m.id for m in read_tls_modules(broken, arch, linker)] == [None, None]
