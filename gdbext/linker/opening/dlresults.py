"""What the last failure of dlopen, dlsym or dlclose left behind in each thread.

Sources: glibc, dlfcn/dlerror.h and dlfcn/dlerror.c (struct dl_action_result, from 2.34 on in
libc.so.6), dlfcn/dlerror.c of 2.31 (last_result in libdl.so.2, or a thread's own data); musl,
src/ldso/dlerror.c (dlerror_buf in struct pthread).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gdbext.elf.arch import Arch
from gdbext.elf.core import decode_path
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory, read_string, read_word, read_words
from gdbext.elf.symbols import STT_TLS
from gdbext.linker.loaded.modules import Linker, Module
from gdbext.linker.loaded.tables import TableSet
from gdbext.linker.process.process import Process
from gdbext.linker.threads.threads import Thread
from gdbext.linker.tls.tlsmodules import STATIC, read_tls_modules

RESULT_VARIABLE = b"__libc_dlerror_result"
_NONE = (0, (1 << 64) - 1)  # no result, and dl_action_result_malloc_failed
_RESULT = struct.Struct("<iBB2xQQ")  # errcode, errstring_source, returned, objname, errstring
_OLD_RESULT = struct.Struct("<iiB7xQQ")  # errcode, returned, malloced, objname, errstring
_LONGEST = 1 << 17  # bytes of a text: names may be longer than any path
_LARGEST_ERRNO = 4096
_CONTROL = 2560  # bytes; more than struct pthread up to its first block of thread-specific data
_MUSL_CONTROL = 512
_MUSL_TEXT = re.compile(
    rb"Error (?:loading|relocating)|Symbol not found|Library \S.* is not|Invalid library handle|"
    rb"Dynamic loading not|Unsupported"
)
# The registers of a call's first four arguments (psABI x86-64, 3.2.3; AAPCS64, 6.8.2)
ARGUMENTS = {62: ("rdi", "rsi", "rdx", "rcx"), 183: ("x0", "x1", "x2", "x3")}


class DlResult(NamedTuple):
    """A failure: `thread` is GDB's number, `code` an errno or 0, `object` what it is about.

    `returned`: dlerror() gave it out, and `text` then holds all of its message; None: unknown.
    """

    thread: int
    code: int
    object: str
    text: str
    returned: bool | None


def read_dl_results(
    process: Process, arch: Arch, linker: Linker, tables: TableSet, threads: Sequence[Thread]
) -> tuple[list[DlResult], str | None]:
    """The failures that the threads hold, and, where nothing can be known, why."""
    memory = process.memory
    if linker.layout is None:
        return list(_of_musl(memory, arch, threads)), None
    offsets = list(result_offsets(memory, arch, linker, tables))
    if offsets:
        found = [_at(memory, thread, offset) for thread in threads for offset in offsets]
        return [each for each in found if each is not None], None
    libdl = [m for m in linker.modules if m.soname == "libdl.so.2"]
    if libdl:
        return list(_of_libdl(memory, arch, libdl, threads)), None
    return [], "this C library's record of failures (__libc_dlerror_result) was not found"


def read_held(
    memory: Memory, arch: Arch, thread: Thread, offsets: Sequence[int]
) -> DlResult | None:
    """The failure that one thread holds; `offsets` as from result_offsets, none in musl."""
    if not offsets:
        return next(_of_musl(memory, arch, (thread,)), None)
    found = (_at(memory, thread, offset) for offset in offsets)
    return next((each for each in found if each is not None), None)


def result_offsets(memory: Memory, arch: Arch, linker: Linker, tables: TableSet) -> Iterator[int]:
    """Where the variable of each libc.so.6 is, in bytes from the thread pointer."""
    for block in read_tls_modules(memory, arch, linker):
        own = tables.of(block.module) if block.module.soname == "libc.so.6" else None
        if own is None or block.storage != STATIC or block.offset is None:
            continue
        try:
            for index in own.symbols.indices_by_name.get(RESULT_VARIABLE, ()):
                entry = own.symbols.entry(index)
                if entry.type == STT_TLS and entry.shndx:
                    yield block.offset + entry.value
        except Problem:
            continue  # its symbols are not in this core


def _at(memory: Memory, thread: Thread, offset: int) -> DlResult | None:
    if not thread.thread_pointer:
        return None
    try:
        at = read_word(memory, thread.thread_pointer + offset)
        if at in _NONE:
            return None
        code, _, returned, name, text = _RESULT.unpack(memory.read(at, _RESULT.size))
    except Unreadable:
        return None
    return _decoded(memory, thread, code, returned, name, text)


def _decoded(
    memory: Memory, thread: Thread, code: int, returned: int, name: int, text: int
) -> DlResult | None:
    if not 0 <= code < _LARGEST_ERRNO or returned not in (0, 1) or not text:
        return None
    try:
        message = decode_path(read_string(memory, text, _LONGEST))
        about = decode_path(read_string(memory, name, _LONGEST)) if name else ""
    except Unreadable:
        return None
    if not message:
        return None
    if returned and not message.startswith(about or "\0"):
        about = _named(message)
    return DlResult(thread.number, code, about, message, bool(returned))


def _named(message: str) -> str:
    """The object that dlerror() put in front of its message.

    dlerror frees the exception's text when it has made the message, and the object's name with
    it (dlfcn/dlerror.c; elf/dl-exception.c puts both into one block).
    """
    head, found, _ = message.partition(": ")
    return head if found and ("/" in head or " " not in head) else ""


def _of_libdl(
    memory: Memory, arch: Arch, modules: Sequence[Module], threads: Sequence[Thread]
) -> Iterator[DlResult]:
    """2.31: in libdl's own data for a program without threads, else data of each thread."""
    for module in modules:
        image = module.image
        for segment in image.loads if image else ():
            if not segment.flags & 2 or image is None:
                continue
            start = image.bias + segment.vaddr
            for at in range(-(-start // 8) * 8, start + segment.memsz - _OLD_RESULT.size + 1, 8):
                found = _old_result(memory, threads[0], at) if threads else None
                if found is not None:
                    yield found
                    return
    for thread in threads:
        words = _control_words(memory, arch, thread, _CONTROL)
        results = (_old_result(memory, thread, w) for w in words if w > 4096 and not w % 16)
        yield from [each for each in results if each is not None][:1]


def _old_result(memory: Memory, thread: Thread, at: int) -> DlResult | None:
    try:
        code, returned, malloced, name, text = _OLD_RESULT.unpack(memory.read(at, _OLD_RESULT.size))
    except Unreadable:
        return None
    if malloced not in (0, 1) or text < 4096 or name < 4096:
        return None
    found = _decoded(memory, thread, code, returned, name, text)
    return found if found is not None and found.text.isprintable() else None


def _of_musl(memory: Memory, arch: Arch, threads: Sequence[Thread]) -> Iterator[DlResult]:
    """By dlerror_buf, the one pointer to such a text in struct pthread."""
    for thread in threads:
        words = _control_words(memory, arch, thread, _MUSL_CONTROL)
        for word in words:
            try:
                text = read_string(memory, word, _LONGEST) if word > 4096 else b""
            except Unreadable:
                continue
            if _MUSL_TEXT.match(text):
                yield DlResult(thread.number, 0, "", decode_path(text), None)
                break


def signalled(memory: Memory, function: str, values: Sequence[int]) -> tuple[int, str, str] | None:
    """(errno, object, text) of a call of ld.so's error functions with these arguments.

    _dl_signal_error (errcode, object, occasion, text); _dl_signal_exception (errcode, exception,
    occasion), an exception being {object, text}; _dl_exception_create (exception, object, text),
    whose _format takes a format (glibc, elf/dl-error-skeleton.c, elf/dl-exception.c).
    """
    try:
        if function == "_dl_signal_error":
            code, name, text = values[0], values[1], values[3]
        elif function in ("_dl_signal_exception", "__GI__dl_signal_exception"):
            code = values[0]
            name, text = read_words(memory, values[1], 2)
        elif function in ("_dl_exception_create", "_dl_exception_create_format"):
            code, name, text = 0, values[1], values[2]
        else:
            return None
        about = decode_path(read_string(memory, name, _LONGEST)) if name else ""
        return code & 0xFFFFFFFF, about, decode_path(read_string(memory, text, _LONGEST))
    except Unreadable:
        return None


def _control_words(memory: Memory, arch: Arch, thread: Thread, size: int) -> Sequence[int]:
    """The words of a thread's struct pthread, `size` bytes; none if it cannot be read."""
    pointer = thread.thread_pointer
    if not pointer:
        return ()
    try:
        return read_words(memory, pointer if arch.tls_below_pointer else pointer - size, size // 8)
    except Unreadable:
        return ()
