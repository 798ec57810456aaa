"""Waits, deadlocks, system calls and ld.so's locks, on facts made by hand."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from gdbext.elf.arch import AARCH64, X86_64
from gdbext.elf.reader import BytesMemory
from gdbext.findings.threads import (
    LOCK,
    MUTEX,
    OTHER,
    THREAD,
    Frame,
    Spot,
    Thread,
    Wait,
    find_deadlocks,
    find_wait,
    running_constructor,
    wait_text,
    waiting_call,
)
from gdbext.linker.loaded.modules import DLOPENED, LINKER, Module
from gdbext.linker.loaded.tables import Definition
from gdbext.linker.threads.loaderlocks import Mutex, _find, read_mutex_owner
from gdbext.linker.threads.startroutines import Descriptors, StartRoutines
from gdbext.linker.threads.syscalls import INTERFACES, Syscall, decode_syscall
from tests.unit import got_process


def mutex(lock: int = 0, count: int = 0, owner: int = 0, users: int = 0, size: int = 40) -> bytes:
    return struct.pack("<5I", lock, count, owner, users, 1).ljust(size, b"\0")


@pytest.mark.parametrize("size", [40, 48])
def test_the_locks_are_found_by_what_they_hold(size: int) -> None:
    """One mutex alone, as it stands before them in ld.so 2.36, is none of them."""
    alone = mutex(size=size) + struct.pack("<3Q", 5, 6, 7)
    locks = mutex(2, 1, 77, 1, size) + 2 * mutex(size=size)
    data = bytes(40) + alone + locks + struct.pack("<4Q", 1, 2, 3, 4)
    found = _find(data, 0x1000)
    at = 0x1000 + 40 + len(alone)
    assert found == [
        Mutex("_dl_load_lock", at, True, 77),
        Mutex("_dl_load_write_lock", at + size, False, 0),
        Mutex("_dl_load_tls_lock", at + 2 * size, False, 0),
    ]


def test_no_locks() -> None:
    assert _find(bytes(4096), 0) == []
    assert _find(mutex() + b"\1" * 80, 0) == []
    assert _find(mutex(0, 1, 5, 1) + mutex(), 0) == []  # counted, and not locked
    assert _find(mutex()[:30], 0) == []


def test_owner_of_a_mutex() -> None:
    memory = BytesMemory({0x100: mutex(2, 1, 77, 1), 0x200: mutex(9, 1, 77, 1)})
    assert read_mutex_owner(memory, 0x100, {77}) == 77
    assert read_mutex_owner(memory, 0x100, {78}) is None
    assert read_mutex_owner(memory, 0x200, {77}) is None
    assert read_mutex_owner(memory, 0x900, {77}) is None


def test_system_calls() -> None:
    x86, arm = INTERFACES["x86-64"], INTERFACES["aarch64"]
    inside = decode_syscall(x86, b"\0\0\x0f\x05", (202, 0x10, 128))
    assert inside == Syscall(202, "futex", (0x10, 128))
    assert inside.futex == 0x10
    woken = decode_syscall(x86, b"\0\0\x0f\x05", (202, 0x10, 129))  # FUTEX_WAKE_PRIVATE
    assert woken is not None
    assert woken.futex is None
    assert decode_syscall(x86, b"\0\0\x0f\x06", (202, 0, 0)) is None
    assert decode_syscall(x86, b"\0\0\x0f\x05", ((1 << 64) - 1, 0, 0)) is None
    assert decode_syscall(x86, b"\0\0\x0f\x05", (None, 0, 0)) is None
    read = decode_syscall(arm, b"\x01\0\0\xd4", (63, 3, 4))
    assert read is not None
    assert (read.name, read.futex) == ("read", None)
    rare = decode_syscall(arm, b"\x01\0\0\xd4", (400, 3, 4))
    assert rare is not None
    assert rare.name == "syscall 400"


LOCKS = [Mutex("_dl_load_lock", 0x500, True, 11)]
NUMBERS = {11: 1, 12: 2, 13: 3}


def wait(address: int | None, own: int = 12) -> Wait | None:
    return find_wait(
        Syscall(202, "futex", (address, 128)),
        own,
        LOCKS,
        lambda at: 3 if at == 0x600 else None,
        {0x700: 11, 0x708: 12}.get,
        NUMBERS,
    )


def test_waits() -> None:
    assert wait(0x500) == Wait(LOCK, 0x500, 1, "_dl_load_lock")
    assert wait(0x600) == Wait(THREAD, 0x600, 3)
    assert wait(0x700) == Wait(MUTEX, 0x700, 1)
    assert wait(0x708) == Wait(OTHER, 0x708, None)  # its own: a futex that looks like a mutex
    assert wait(0x800) == Wait(OTHER, 0x800, None)
    assert wait(None) is None
    assert find_wait(None, 1, LOCKS, lambda _: None, lambda _: None, NUMBERS) is None
    texts = [wait_text(w) for at in (0x500, 0x600, 0x700, 0x800) if (w := wait(at))]
    assert texts == [
        "the dynamic linker's lock _dl_load_lock, which thread 1 holds",
        "the end of thread 3",
        "a mutex at 0x700, which thread 1 holds",
        "a futex at 0x800",
    ]


def thread(number: int, waits: Wait | None = None, *holds: str) -> Thread:
    return Thread(
        number, 10 + number, None, False, False, None, number == 1, None, None, None, holds, waits
    )


def deadlocks(*threads: Thread) -> list[tuple[tuple[int, ...], bool]]:
    found = find_deadlocks(threads, lambda _: [], lambda t: f"thread {t.number}", str)
    return [(d.threads, d.certain) for d in found]


def test_circles() -> None:
    one = thread(1, Wait(THREAD, 1, 2), "_dl_load_lock")
    two = thread(2, Wait(LOCK, 2, 1, "_dl_load_lock"))
    three = thread(3, Wait(LOCK, 2, 1, "_dl_load_lock"))
    assert deadlocks(two, one) == [((1, 2), True)]
    assert deadlocks(three, one, two) == [((1, 2), True)]  # 3 waits for the circle
    (found,) = find_deadlocks([one, two], lambda _: [], lambda t: f"thread {t.number}", str)
    assert found.text == (
        "thread 1 holds _dl_load_lock and waits for the end of thread 2; "
        "thread 2 waits for the dynamic linker's lock _dl_load_lock, which thread 1 holds"
    )


def test_what_is_no_circle() -> None:
    """A lock that its holder will give back, and a chain of joins."""
    busy = thread(1, None, "_dl_load_lock")
    patient = thread(2, Wait(LOCK, 2, 1, "_dl_load_lock"))
    assert deadlocks(busy, patient) == []
    assert deadlocks(thread(1, Wait(THREAD, 1, 2)), thread(2, Wait(OTHER, 5, None))) == []
    assert deadlocks(thread(1, Wait(OTHER, 5, None), "_dl_load_lock")) == []
    assert deadlocks() == []


def test_a_holder_that_waits_for_somebody_unknown() -> None:
    holder = thread(1, Wait(OTHER, 5, None), "_dl_load_lock")
    others = [thread(n, Wait(LOCK, 2, 1, "_dl_load_lock")) for n in (2, 3, 4, 5, 6)]
    assert deadlocks(holder, *others) == [((1, 2, 3, 4, 5, 6), False)]
    (found,) = find_deadlocks([holder, *others], lambda _: [], lambda t: f"t{t.number}", str)
    assert found.text.endswith("; 2 more wait for it")


def frames() -> tuple[Module, Module, list[Frame]]:
    _, linker = got_process.places()
    plugin = replace(linker.modules[1], kind=DLOPENED)
    loader = replace(linker.modules[2], kind=LINKER)

    def frame(level: int, module: Module, name: str) -> Frame:
        return Frame(level, 1, Spot(1, module, None, Definition(name, 4)), None, None, None)

    rows = [(loader, "wait"), (plugin, "begin"), (loader, "call_init"), (loader, "dlopen")]
    return plugin, loader, [frame(i, *row) for i, row in enumerate(rows)]


def test_a_running_constructor() -> None:
    plugin, _, stack = frames()
    running = running_constructor(stack)
    assert running is not None
    assert (running.what, running.call) == ("constructor", "dlopen")
    assert running.frame.spot.module is plugin
    closing = [*stack[:3], stack[3]._replace(function="dlclose", file="x.c")]
    running = running_constructor(closing)
    assert running is not None
    assert running.what == "destructor"
    lost = stack[2]._replace(spot=Spot(1, None, None, None))  # as GDB sees it without .eh_frame
    assert running_constructor([*stack[:2], lost, *stack[2:]]) is not None
    assert running_constructor(stack[:2]) is None
    assert running_constructor([]) is None
    assert waiting_call(stack) == "wait"
    assert waiting_call(stack[1:]) is None
    names = ("futex_wait", "__GI___pthread_cond_destroy", "__cxa_finalize")
    inside = [stack[0]._replace(function=name, file="x.c") for name in names]
    assert waiting_call([*inside, stack[1]]) == "pthread_cond_destroy"
    assert waiting_call([inside[0], inside[2], stack[1]]) == "cxa_finalize"


def test_start_routines() -> None:
    """By libthread_db's numbers, or by what struct pthread must hold."""
    _, linker = got_process.places()
    plugin = linker.modules[1]
    code = plugin.bias + 0x500
    pointer, size, at = 0x7000_0000_0000, 0x900, 0x640
    block = bytearray(size)
    struct.pack_into("<Q", block, at, code)
    memory = BytesMemory({pointer: bytes(block), pointer - 0x740: bytes(0x740)})

    def routines(numbers: Descriptors, start: int | None = code) -> StartRoutines:
        return StartRoutines(memory, X86_64, linker, numbers, lambda _: start)

    assert routines(Descriptors(size, at)).of(pointer, []) == code
    assert routines(Descriptors(None, None)).of(pointer, [code + 8]) == code
    assert routines(Descriptors(None, None), code + 16).of(pointer, [code + 8]) is None
    assert routines(Descriptors(None, None), None).of(pointer, [code + 8]) is None
    assert routines(Descriptors(size, at)).of(None, []) is None
    assert routines(Descriptors(size, at)).of(pointer + size, []) is None
    arm = StartRoutines(memory, AARCH64, linker, Descriptors(0x740, 0x20), lambda _: None)
    assert arm.of(pointer, []) == 0
