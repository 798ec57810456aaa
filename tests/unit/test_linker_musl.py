"""struct dso of musl 1.2.3, made of bytes: its fields, damaged ones, and the orders from them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import pytest

from gdbext.elf.arch import X86_64
from gdbext.elf.image import DT_GNU_HASH, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_VERSYM, read_image
from gdbext.elf.reader import BytesMemory
from gdbext.linker.init.initorder import REVERSE, read_init_order
from gdbext.linker.loaded.linkmaps import LinkMap
from gdbext.linker.loaded.modules import DLOPENED, MAIN, Linker, Module
from gdbext.linker.loaded.musl import Dsos, read_dsos
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.lookup.scopes import GLOBAL, LOCAL, Scopes
from tests.unit import crafted
from tests.unit.crafted import FakeProcess, words

TABLES = (DT_SYMTAB, DT_HASH, DT_GNU_HASH, DT_VERSYM, DT_STRTAB)
MAP, DEPS, DIRECT = 17, 22, 24  # words from the start of struct dso


def dso(number: int) -> int:
    return 0x6000_0000_0000 + 0x1000 * number


def made(
    deps: Sequence[Sequence[int]],
    chain: Sequence[int],
    flags: Mapping[int, bytes] = {},
    changed: Mapping[int, Mapping[int, int]] = {},
) -> tuple[FakeProcess, Linker]:
    """Objects with these direct dependencies, the global ones, and by object: six flags, and
    words that differ from what musl would have there."""
    runs: dict[int, bytes] = {}
    images = []
    for number in range(len(deps)):
        base = 0x7F00_0000_0000 + 0x10_0000 * number
        runs[base] = crafted.make_elf(
            {DT_STRTAB: b"\0", DT_SYMTAB: bytes(24), DT_GNU_HASH: bytes(16 + 8 * number)}, []
        ).ljust(4096, b"\0")
        images.append(read_image(BytesMemory(runs), base))
    for number, (image, needs) in enumerate(zip(images, deps)):
        tables = [image.pointer(tag) or 0 for tag in TABLES]
        place = chain.index(number) + 1 if number in chain else len(chain)
        following = dso(chain[place]) if place < len(chain) else 0
        body = [0x33] * 8 + [*tables, following, 0, 0, 0, image.start, image.end - image.start]
        body += [0x801, 99]
        body += [int.from_bytes(flags.get(number, b"\1\1\0\0\0\0") + b"\xee\xee", "little")]
        body += [0x5000_0000_0000 + 0x1000 * number, 0, len(needs), 0, 0, 0, 0]
        for at, word in changed.get(number, {}).items():
            body[at] = word
        runs[dso(number)] = words(*body, *[0] * 20)
        runs[0x5000_0000_0000 + 0x1000 * number] = words(*map(dso, needs), 0)
    process = FakeProcess(crafted.spread(runs), {}, X86_64, [])
    modules = tuple(
        Module(
            LinkMap(dso(number), image.bias, b"x", 0, 0, 0), 0, f"/lib/{number}.so", "x",
            DLOPENED if number else MAIN, image, None, None, process.memory,
        )
        for number, image in enumerate(images)
    )  # fmt: skip
    return process, Linker((), modules, (), None, ())


def numbers(maps: Sequence[int] | None) -> list[int]:
    return [(each - dso(0)) // 0x1000 for each in maps or ()]


RING: list[list[int]] = [[1], [], [3, 4], [4, 2], [1]]


def read(changed: Mapping[int, Mapping[int, int]]) -> Dsos:
    process, linker = made(RING, [0, 1], changed=changed)
    return read_dsos(process.memory, linker)


def test_the_fields() -> None:
    process, linker = made(RING, [0, 1], {4: b"\1\0\0\0\0\1"})
    dsos = read_dsos(process.memory, linker)
    assert numbers(dsos.global_chain(dso(0))) == [0, 1]
    assert dsos.dependencies is not None
    assert [numbers(dsos.dependencies.direct[dso(n)]) for n in range(5)] == RING
    assert numbers(sorted(dsos.dependencies.constructed)) == [0, 1, 2, 3]
    assert dsos.dependencies.visited == frozenset()
    assert dsos.tls is None  # no object has any


def test_what_dlopen_brought_in_is_looked_up_breadth_first() -> None:
    process, linker = made(RING, [0, 1])
    scopes = Scopes(process.memory, linker)
    assert [s.kind for s in scopes.of(linker.modules[1])] == [GLOBAL]
    for number in (2, 3, 4):
        both = scopes.of(linker.modules[number])
        assert [s.kind for s in both] == [GLOBAL, LOCAL]
        assert [linker.modules.index(m) for m in both[1].modules] == [2, 3, 4, 1]


def test_constructors_run_depth_first() -> None:
    process, linker = made(RING, [0, 1])
    order = read_init_order(
        process, linker, TableSet(process.memory, lambda _: None, lambda _: None)
    )
    assert order.algorithm == REVERSE
    assert numbers(order.starting_with(linker.modules[2])) == [1, 4, 3, 2]


@pytest.mark.parametrize("word", [0, 1 << 40, 0x6000_0000_0008])
def test_one_damaged_object(word: int) -> None:
    """One object with a wrong word does not hide where the others have theirs."""
    dsos = read({3: {MAP: word, 8: word}})
    assert numbers(dsos.global_chain(dso(0))) == [0, 1]
    assert dsos.dependencies is not None
    damaged = read({3: {DEPS: word}})
    assert damaged.dependencies is None
    assert read({3: {DIRECT: (1 << 40) + 1}}).dependencies is None
    assert read({1: {13: word or dso(1)}}).global_chain(dso(0)) is None


def test_another_musl() -> None:
    """Where most objects have other words, nothing is guessed."""
    other = {number: {8: 1, MAP: 1} for number in range(3)}
    dsos = read(other)
    assert (dsos.syms_next, dsos.dependencies) == (None, None)
    flags = struct.unpack("<Q", b"\2" + bytes(7))[0]
    assert read({1: {21: flags}}).dependencies is None
