"""What a failed dlopen leaves behind, in memory made by hand."""

from __future__ import annotations

import struct

from gdbext.elf.arch import X86_64
from gdbext.elf.reader import BytesMemory
from gdbext.linker.opening.dlresults import _of_musl, _old_result, signalled
from gdbext.linker.threads.threads import Thread

THREAD = Thread(3, 100, 0x9000, 0x7000)
TEXTS = b"/x.so\0cannot open shared object file\0"
TEXT = 0x5006


def memory(**runs: bytes) -> BytesMemory:
    """{name: bytes} at 0x5000 (texts), 0x6000 (object) and 0x7000 (thread)."""
    places = {"texts": 0x5000, "object": 0x6000, "thread": 0x7000}
    return BytesMemory({places[name]: data.ljust(0x1000, b"\0") for name, data in runs.items()})


def test_result_of_glibc_before_2_34() -> None:
    good = struct.pack("<iiB7xQQ", 2, 0, 1, 0x5000, TEXT)
    found = _old_result(memory(texts=TEXTS, object=good), THREAD, 0x6000)
    assert found is not None
    assert (found.thread, found.code, found.object) == (3, 2, "/x.so")
    assert (found.text, found.returned) == ("cannot open shared object file", False)
    for bad in (
        struct.pack("<iiB7xQQ", -2, 0, 1, 0x5000, TEXT),
        struct.pack("<iiB7xQQ", 2, 7, 1, 0x5000, TEXT),
        struct.pack("<iiB7xQQ", 2, 0, 9, 0x5000, TEXT),
        struct.pack("<iiB7xQQ", 2, 0, 1, 0x5000, 0x8888888),
        b"\0" * 32,
        struct.pack("<iiB7xQQ", 2, 0, 1, 0x5000, 0x5000 + len(TEXTS)),
    ):
        assert _old_result(memory(texts=TEXTS, object=bad), THREAD, 0x6000) is None


def test_the_name_of_a_delivered_failure_is_in_its_text() -> None:
    """Its own place may hold anything by then."""
    texts = b"bash.mo\0/a/x.so: invalid ELF header\0invalid mode for dlopen(): Invalid argument\0"
    for start, name in ((8, "/a/x.so"), (36, "")):
        held = struct.pack("<iiB7xQQ", 0, 1, 1, 0x5000, 0x5000 + start)
        found = _old_result(memory(texts=texts, object=held), THREAD, 0x6000)
        assert found is not None
        assert (found.object, found.returned) == (name, True)


def test_buffer_of_musl() -> None:
    text = b"Error relocating /x.so: f: symbol not found\0"
    control = struct.pack("<64Q", 0x7000, *[0x5000] * 3, *[0] * 40, 0x6000, *[0] * 19)
    found = list(
        _of_musl(memory(texts=b"no error\0" * 9, object=text, thread=control), X86_64, [THREAD])
    )
    assert [each.text for each in found] == ["Error relocating /x.so: f: symbol not found"]
    assert found[0].returned is None
    assert list(_of_musl(memory(texts=TEXTS), X86_64, [THREAD])) == []


def test_arguments_of_the_error_functions() -> None:
    pair = struct.pack("<QQ", 0x5000, TEXT)
    full = memory(texts=TEXTS, object=pair)
    told = ("/x.so", "cannot open shared object file")
    assert signalled(full, "_dl_signal_error", [2, 0x5000, 0, TEXT]) == (2, *told)
    assert signalled(full, "_dl_signal_exception", [2, 0x6000, 0, 0]) == (2, *told)
    assert signalled(full, "_dl_exception_create", [0x6000, 0x5000, TEXT, 0]) == (0, *told)
    assert signalled(full, "_dl_exception_create", [0x6000, 0x5000, 0x123456, 0]) is None
    assert signalled(full, "malloc", [1, 2, 3, 4]) is None
