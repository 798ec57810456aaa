"""Registers and places in phrases and as data."""

from __future__ import annotations

import json

import pytest

from gdbext.elf.arch import X86_64
from gdbext.findings.crash.description import (
    access,
    describe,
    module_offset,
    place_document,
    register_line,
    slot_name,
)
from gdbext.findings.crash.registers import Register, explain_registers
from gdbext.linker.places import Place
from gdbext.linker.process.process import Region
from tests.unit import got_process
from tests.unit.crafted import FakeProcess
from tests.unit.got_process import STACK


def test_registers() -> None:
    space, linker = got_process.places()
    process = space.process
    assert isinstance(process, FakeProcess)
    user = linker.modules[1]
    text_at = user.bias + 0xA01
    values = [
        ("rax", 0),
        ("rbx", text_at),
        ("rcx", None),
        ("rdx", 0xDEAD0000),
        ("rip", user.bias + 0x500),
        ("rsp", STACK + 0x1800),
    ]
    found = {r.name: r for r in explain_registers(values, space)}
    assert found["rax"].place is found["rcx"].place is found["rdx"].place is None
    assert found["rbx"].text == "function"
    assert found["rsp"].text is None
    place = found["rip"].place
    assert place is not None
    assert place.module is user
    lines = [register_line(r, str) for r in found.values()]
    assert lines == [
        "  rax       0x0000000000000000",
        f'  rbx       {text_at:#018x}  user.so+0xa01 (rwx) "function"',
        "  rcx       not available",
        "  rdx       0x00000000dead0000",
        f"  rip       {user.bias + 0x500:#018x}  user.so+0x500 (rwx)",
        f"  rsp       {STACK + 0x1800:#018x}  stack of thread 4",
    ]
    assert register_line(Register("x", 1, None, None), str).endswith("01")


@pytest.mark.parametrize(
    ("flags", "text"), [(None, "???"), (0, "---"), (5, "r-x"), (6, "rw-"), (7, "rwx"), (1, "--x")]
)
def test_access(flags: int | None, text: str) -> None:
    assert access(flags) == text


def test_phrases() -> None:
    space, linker = got_process.places()
    user, owner = linker.modules[1:]
    phrases = {
        0: "null",
        0x20: "null+0x20",
        0x930000: "not mapped",
        0x900010: "heap 0x900000+0x10 (rw-)",
        0x910010: "mapped file /usr/share/x+0x3010 (r--), no loaded module",
        0x920000: "anonymous memory 0x920000+0x0 (rw-)",
        STACK + 0x1000: "stack of thread 4",
        STACK - 8: "0x8 below the stack of thread 4",
        STACK + 0x2000 - 24: "TLS block of own.so+0x8, thread 4",
        owner.bias + 0x43: "own.so+0x43 function()+0x3 (rwx)",
        user.bias + 0x312: "user.so+0x312, PLT entry of function() (rwx)",
        user.bias + 0x500: "user.so+0x500 (rwx)",
    }
    found = {a: describe(space.place(a), lambda n: f"{n}()") for a in phrases}
    assert found == phrases
    for address in phrases:
        document = place_document(space.place(address))
        assert document["address"] == hex(address)
        assert json.loads(json.dumps(document)) == document
    document = place_document(space.place(owner.bias + 0x43))
    assert (document["module"], document["symbol"], document["symbol_offset"]) == (
        "/lib/own.so", "function", 3,
    )  # fmt: skip
    assert (user.file_name, module_offset(user, user.bias + 0x10)) == ("user.so", "user.so+0x10")
    slot = space.slot_at(user.bias + 0x448)
    assert slot is not None
    assert slot_name(slot[1], str) == "R_X86_64_DTPMOD64"
    assert slot_name(slot[1]._replace(symbol="f", version="V1"), str) == "f@V1"


def test_documents_hold_no_surrogates() -> None:
    region = Region(0x1000, 0x2000, 4, 0, "/l\udcff\n", None)
    document = place_document(Place(0x1010, "file", region=region))
    assert document["region"]["path"] == "/l\\xff\n"
    json.dumps(document, ensure_ascii=False).encode()


def test_the_cpu_is_the_one_that_the_process_says() -> None:
    assert got_process.places()[0].arch is X86_64
