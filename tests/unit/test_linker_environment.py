"""Arguments and environment on the initial stack: that of a real process, and made-up stacks."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from gdbext.elf.core import decode_auxv
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import BytesMemory
from gdbext.linker.process.environment import initial_arguments, initial_environment
from gdbext.linker.process.process import AT_EXECFN, AT_RANDOM
from tests.unit.crafted import FakeProcess, words


class ProcessMemory:
    """The memory of a child, through /proc."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def read(self, address: int, size: int) -> bytes:
        with open(f"/proc/{self.pid}/mem", "rb", 0) as file:
            try:
                file.seek(address)
                data = file.read(size)
            except (OSError, ValueError, OverflowError) as error:
                raise Unreadable(address, size) from error
        if len(data) < size:
            raise Unreadable(address, size)
        return data


def test_arguments_and_environment_of_a_process() -> None:
    given = {
        "LD_LIBRARY_PATH": "/a:/b b",
        "EMPTY": "",
        "LONG": "x" * 100_000,
        "EQUALS": "a=b=c",
        "BYTES": "\udcff\udcfe",
    }
    pipe = subprocess.PIPE
    line = ["/bin/cat", "-u", "-"]
    with subprocess.Popen(line, stdin=pipe, stdout=pipe, bufsize=0, env=given) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"here\n")
        assert child.stdout.read(5) == b"here\n"  # it runs: its exec is done
        auxv = decode_auxv(Path(f"/proc/{child.pid}/auxv").read_bytes())
        process = FakeProcess(ProcessMemory(child.pid), auxv)
        found, arguments = initial_environment(process), initial_arguments(process)
        child.stdin.close()
    assert found == given
    assert arguments == line


TOP = 0x7FFFFFFFE000


def stack(env: list[bytes], auxv: dict[int, int], size: int = 0x3000) -> dict[int, bytes]:
    """An initial stack as the kernel makes it: strings at the top, the vectors below."""
    strings = b"".join(e + b"\0" for e in env)
    strings_at = TOP - 64 - len(strings)
    pointers, at = [], strings_at
    for each in env:
        pointers.append(at)
        at += len(each) + 1
    auxv[AT_RANDOM], auxv[AT_EXECFN] = strings_at - 16, TOP - 16
    vector = words(1, TOP - 16, 0, *pointers, 0, *(w for pair in auxv.items() for w in pair), 0, 0)
    vector_at = (strings_at - 16 - len(vector)) & ~15
    body = bytearray(size)
    start = TOP - size
    body[vector_at - start : vector_at - start + len(vector)] = vector
    body[strings_at - start : strings_at - start + len(strings)] = strings
    return {start: bytes(body)}


def test_a_made_up_stack() -> None:
    auxv = {3: 0x400040, 6: 4096, 33: 0x7FFF0000}
    runs = stack([b"A=1", b"B", b"LD_PRELOAD=/x.so:y"], auxv)
    found = initial_environment(FakeProcess(BytesMemory(runs), auxv))
    assert found == {"A": "1", "B": "", "LD_PRELOAD": "/x.so:y"}
    assert initial_arguments(FakeProcess(BytesMemory(runs), auxv)) == [""]
    runs = stack([], auxv)
    assert initial_environment(FakeProcess(BytesMemory(runs), auxv)) == {}


def test_the_vector_may_be_anywhere_relative_to_pages() -> None:
    for length in range(0, 4200, 56):
        auxv = {3: 0x400040, 6: 4096}
        runs = stack([b"LONG=" + b"x" * length, b"B=2"], auxv)
        found = initial_environment(FakeProcess(BytesMemory(runs), auxv))
        assert found == {"LONG": "x" * length, "B": "2"}, length


@pytest.mark.parametrize("auxv", [{}, {AT_RANDOM: 0}, {AT_RANDOM: 0x1234}])
def test_without_a_stack_it_is_unknown(auxv: dict[int, int]) -> None:
    process = FakeProcess(BytesMemory({}), auxv)
    assert (initial_environment(process), initial_arguments(process)) == (None, None)


def test_wild_pointers_make_it_unknown() -> None:
    auxv = {3: 0x400040, 6: 4096}
    runs = stack([b"A=1"], auxv)
    ((start, data),) = runs.items()
    pointer = struct.pack("<Q", auxv[AT_RANDOM] + 16)
    wild = data.replace(pointer, words(0xDEAD0000))
    assert wild != data
    assert initial_environment(FakeProcess(BytesMemory({start: wild}), auxv)) is None


def test_a_stack_of_nothing_but_pointers_comes_to_an_end() -> None:
    auxv = {AT_RANDOM: TOP - 32, AT_EXECFN: TOP - 32, 6: 4096}
    text_at = TOP - 16
    count = 100_000
    body = words(*[text_at] * count, AT_RANDOM, TOP - 32, 6, 4096) + b"ab".ljust(16, b"\0")
    pad = -len(body) % 4096
    runs = {TOP - len(body) - pad: words(*[text_at] * (pad // 8)) + body}
    found = initial_environment(FakeProcess(BytesMemory(runs), auxv))
    assert found is None or found == {"ab": ""}
    assert initial_arguments(FakeProcess(BytesMemory(runs), auxv)) is None


def test_own_environment_is_what_it_was() -> None:
    auxv = decode_auxv(Path("/proc/self/auxv").read_bytes())
    raw = Path("/proc/self/environ").read_bytes()
    names = {e.partition(b"=")[0] for e in re.split(rb"\0", raw) if e}
    found = initial_environment(FakeProcess(ProcessMemory(os.getpid()), auxv))
    assert found is not None
    assert {os.fsencode(n) for n in found} == names
