"""Static TLS: the numbers of real glibc builds, told from everything around them."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbext.elf.reader import BytesMemory
from gdbext.linker.tls.statictls import (
    StaticTls,
    find_control,
    find_static,
    planned_control,
    with_surplus,
)
from gdbext.linker.tls.tlsstate import TlsState, Variables
from tests.unit.crafted import words


class Build(NamedTuple):
    """What stood in one build's memory: words behind the list of slots, and those that never
    change; then what must be found."""

    below: bool
    control: int
    lowest: int
    numbers: tuple[int, ...]
    constants: tuple[int, ...]
    size: int
    align: int
    used: int
    left: int


NOISE = (0x7FFFF7FFE2E0, 0, 1, 4096, 0xD30, 64, 6, 100, 1, 2, 0x37F, 0x7FFFF7FE5000)
BUILDS = {
    "2.31-x86-64": Build(True, 2304, 160, (3, 4160, 168, 64, 504), (*NOISE, 1664, *NOISE),
                         4160, 64, 168, 1688),
    "2.36-x86-64": Build(True, 2368, 168, (3, 168, 504), (*NOISE, 4224, 64, 1664, *NOISE),
                         4224, 64, 168, 1688),
    "2.41-x86-64": Build(True, 2368, 200, (3, 200, 504), (*NOISE, 4224, 64, 1664, *NOISE),
                         4224, 64, 200, 1656),
    "2.31-aarch64": Build(False, 0, 184, (3, 1840, 184, 16, 504), (*NOISE, 1664, *NOISE),
                          1840, 16, 184, 1656),
    "2.36-aarch64": Build(False, 0, 184, (3, 184, 504), (*NOISE, 1856, 32, 1664, *NOISE),
                          1856, 32, 184, 1672),
    "2.41-aarch64": Build(False, 0, 232, (3, 232, 504), (*NOISE, 1888, 32, 1664, *NOISE),
                          1888, 32, 232, 1656),
}  # fmt: skip


def find(build: Build) -> StaticTls | None:
    state = TlsState(4, 4, {}, build.numbers)
    variables = Variables((), build.constants)
    return find_static(state, variables, build.below, build.control, build.lowest)


@pytest.mark.parametrize("name", BUILDS)
def test_real_builds(name: str) -> None:
    build = BUILDS[name]
    found = find(build)
    assert found is not None
    assert (found.size, found.align, found.used, found.left) == (
        build.size, build.align, build.used, build.left,
    )  # fmt: skip
    assert found.optional == 504
    assert with_surplus(found, Variables((), build.constants), 160).surplus == 1664


@pytest.mark.parametrize("name", BUILDS)
def test_numbers_that_disagree_are_not_believed(name: str) -> None:
    build = BUILDS[name]
    assert find(build._replace(lowest=build.used + 1)) is None
    assert find(build._replace(numbers=())) is None
    old = len(build.numbers) == 5
    shrunk = (3, build.used - 8, *build.numbers[2:]) if old else (3, 1 << 20, 504)
    assert find(build._replace(numbers=shrunk)) is None
    if not old:
        assert find(build._replace(constants=NOISE)) is None
        twice = (build.size, build.align, 1665)
        both = (*build.constants, *twice)
        assert find(build._replace(constants=both)) is None  # two candidates: neither
    if build.below:
        assert find(build._replace(control=build.control + 8)) is None


def test_surplus_that_is_not_there_stays_unknown() -> None:
    build = BUILDS["2.31-x86-64"]
    found = find(build)
    assert found is not None
    assert with_surplus(found, Variables((), NOISE), 160).surplus is None
    assert with_surplus(found, Variables((), (1660, 1664)), 160).surplus is None


@given(
    st.booleans(),
    st.integers(0, 1856),
    st.integers(0, 3000),
    st.sampled_from([1, 2, 4, 8, 16, 32, 64]),
    st.integers(0, 63),
)
def test_what_fits(below: bool, used: int, size: int, align: int, first: int) -> None:
    area = StaticTls(4224, 64, used, 2368 if below else 0, 1664, 512, below)
    fits = area.fits(size, align, first % align)
    assert area.fits(area.left, 1)
    assert not area.fits(area.left + 1, 1)
    assert not fits or size <= area.left
    assert not fits or area.fits(max(size - 1, 0), align, first % align)
    assert not area.fits(size, 128)
    if size + first % align + align <= area.left:
        assert fits


def control_block(pointer: int, control: int, allocated: int) -> BytesMemory:
    data = bytearray(words(*range(1 << 12)))
    data[control : control + 8] = words(allocated)
    return BytesMemory({pointer: bytes(data)})


def test_control_block_of_an_old_glibc() -> None:
    state = TlsState(4, 4, {}, (3, 4160, 168, 64, 504))
    pointer = 0x7FFFF7DC5B80
    first = pointer + 2304 - 4160
    for padding in (0, 8, 64):
        memory = control_block(pointer, 2304, first - padding)
        assert find_control(memory, pointer, state) == 2304
    assert find_control(control_block(pointer, 2304, first - 72), pointer, state) is None
    assert find_control(control_block(pointer, 2304, first + 8), pointer, state) is None
    assert find_control(BytesMemory({}), pointer, state) is None
    assert find_control(BytesMemory({}), pointer, TlsState(4, 4, {}, (3, 168, 504))) is None


def test_control_block_of_a_static_program() -> None:
    state = TlsState(1, 0, {}, (2, 3264, 96, 64, 512))
    assert planned_control(state, 800, 96) == 2368
    assert planned_control(state, 3200, 96) is None
    assert planned_control(TlsState(1, 0, {}, (2, 3264, 96, 0, 512)), 800, 96) is None


def test_used_at_the_start_is_bounded_by_the_plan() -> None:
    area = StaticTls(4224, 64, 168, 2368, 1664, 504, True)
    assert 160 in area.starts
    assert 128 not in area.starts
    assert 169 not in area.starts
