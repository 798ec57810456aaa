"""Dlopen's arguments and callers, over made-up stacks."""

from __future__ import annotations

import os

import pytest

from gdbext.findings.tracing.opens import (
    Request,
    choose_request,
    find_caller,
    find_requests,
    flag_names,
)
from tests.unit import crafted, got_process
from tests.unit.crafted import words


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (os.RTLD_LAZY, "RTLD_LAZY | RTLD_LOCAL"),
        (os.RTLD_NOW | os.RTLD_GLOBAL, "RTLD_NOW | RTLD_GLOBAL"),
        (
            os.RTLD_NOW | os.RTLD_NOLOAD | os.RTLD_DEEPBIND | os.RTLD_NODELETE,
            "RTLD_NOW | RTLD_NOLOAD | RTLD_DEEPBIND | RTLD_NODELETE | RTLD_LOCAL",
        ),
        (0x80000001, "RTLD_LAZY | RTLD_LOCAL"),  # ld.so's own bits are not shown
        (0, "RTLD_LOCAL"),
    ],
)
def test_flags(mode: int, text: str) -> None:
    assert flag_names(mode) == text


CALLER = 0x7F0000101234


def requests(*rows: tuple[int, int, int], **known: list[int] | None) -> list[Request]:
    texts = {0x5000: b"libone.so\0", 0x5100: b"/opt/b c.so\0", 0x5200: b"\0", 0x5300: b"l\xff\0"}
    page = bytearray(4096)
    for at, text in texts.items():
        page[at - 0x5000 : at - 0x5000 + len(text)] = text
    stack = words(7, 7) + b"".join(words(*row) for row in rows)
    runs = {0x5000: bytes(page), 0x10000: stack.ljust(1 << 16, b"\0")}
    return find_requests(crafted.spread(runs), 0x10000, known.get("callers", [CALLER]))


def test_requests_on_the_stack() -> None:
    assert requests((0x5000, 2, CALLER), (0x5100, 0x101, CALLER)) == [
        Request("libone.so", 2),
        Request("/opt/b c.so", 0x101),
    ]
    # the upper half of mode's word is padding
    assert requests((0x5000, 2 | 0xABCD << 32, CALLER)) == [Request("libone.so", 2)]
    assert requests((0x5000, 0x80000002, CALLER)) == [Request("libone.so", 0x80000002)]
    assert requests((0x5300, 1, CALLER)) == [Request("l\udcff", 1)]
    for row in (
        (0x5000, 2, CALLER + 1),  # nobody's return address
        (0x5000, 3, CALLER),  # lazy and now at once
        (0x5000, 0, CALLER),
        (0x5000, 0x202, CALLER),  # a bit that does not exist
        (0x5200, 2, CALLER),  # no name
        (0xDEAD0000, 2, CALLER),
    ):
        assert requests(row) == []
    assert requests((0x5000, 2, 0x1234), callers=None) == [Request("libone.so", 2)]


def test_a_stack_that_ends_soon() -> None:
    text = crafted.spread({0x5000: b"x.so\0".ljust(4096, b"\0")})
    row = words(0x5000, 1, CALLER)
    runs = {0x5000: text.read(0x5000, 4096), 0x10000: row + bytes(0x400)}
    assert find_requests(crafted.spread(runs), 0x10000, [CALLER]) == [Request("x.so", 1)]
    assert find_requests(crafted.spread({0x10000: row}), 0x10000, [CALLER]) == []
    assert find_requests(crafted.spread({}), 0x10000, [CALLER]) == []


def test_the_request_that_names_a_new_module_is_chosen() -> None:
    _, linker = got_process.places()
    fresh = linker.modules[1:]  # user.so and own.so
    old, new = Request("/tmp/other.so", 1), Request("own.so", 2)
    assert choose_request([old, new], fresh) is new
    assert choose_request([old, Request("/x/user.so", 1)], fresh) == Request("/x/user.so", 1)
    assert choose_request([], fresh) is None


def test_the_caller_is_the_first_frame_outside_of_libc() -> None:
    space, linker = got_process.places()
    user, owner = linker.modules[1:]
    frames = [owner.bias + 0x41, user.bias + 0x500, linker.modules[0].bias + 0x50]
    caller = find_caller(linker, space.tables, frames, [None, None, None])
    assert caller is not None
    assert (caller.level, caller.module, caller.function) == (0, owner, None)
    caller = find_caller(linker, space.tables, frames[1:], ["dlopen", "main"])
    assert caller is not None
    assert (caller.module.path, caller.function) == ("/bin/main", "dlopen")
    assert find_caller(linker, space.tables, [0xDEAD0000], [None]) is None
    assert find_caller(linker, space.tables, [], []) is None
