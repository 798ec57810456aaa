"""The classes of failures to load a library, and which one a message of the dynamic linker means.

The messages are N_() texts of glibc's elf/*.c and dlfcn/*.c, untranslated, and those of musl's
ldso/dynlink.c. What dlerror() gives has the object's name in front, and strerror() behind.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.elf.soundness import (
    CANNOT_MAP,
    NOT_ELF,
    NOT_LOADABLE,
    TRUNCATED,
    WRONG_CLASS,
    WRONG_MACHINE,
)

OK, UNKNOWN = "ok", "unknown"
MISSING_FILE, MISSING_DEPENDENCY, WRONG_LIBC = "missing_file", "missing_dependency", "wrong_libc"
UNDEFINED_SYMBOL, VERSION_NOT_FOUND = "undefined_symbol", "version_not_found"
STATIC_TLS, EXECUTABLE_STACK, CPU_LEVEL = "static_tls", "executable_stack", "cpu_level"
NO_PERMISSION, NO_MEMORY = "no_permission", "no_memory"
NAMESPACE_LIMIT, CONSTRUCTOR_CRASHED = "namespace_limit", "constructor_crashed"
ABI_MISMATCH, TOO_MANY_FILES, WRONG_USE = "abi_mismatch", "too_many_files", "wrong_use"
CLASSES = (
    OK, MISSING_FILE, MISSING_DEPENDENCY, NOT_ELF, TRUNCATED, WRONG_CLASS, WRONG_MACHINE,
    WRONG_LIBC, UNDEFINED_SYMBOL, VERSION_NOT_FOUND, STATIC_TLS, EXECUTABLE_STACK, NO_PERMISSION,
    CANNOT_MAP, NO_MEMORY, NOT_LOADABLE, NAMESPACE_LIMIT, CONSTRUCTOR_CRASHED, ABI_MISMATCH,
    CPU_LEVEL, TOO_MANY_FILES, WRONG_USE, UNKNOWN,
)  # fmt: skip


class Cause(NamedTuple):
    """One reason why a file cannot be loaded. `kind` is one of CLASSES."""

    kind: str
    message: str
    evidence: tuple[str, ...]
    remedy: str


@dataclass(frozen=True)
class Recorded:
    """A failure that left its mark. `object` is the file or name that it is about, as ld.so has
    it; `code` an errno or 0; `source` says where it was found; `delivered`, whether dlerror()
    handed it out, None where that is not known. `thread` is GDB's number."""

    object: str
    text: str
    code: int
    source: str
    thread: int | None
    delivered: bool | None


@dataclass(frozen=True)
class Diagnosis:
    """What plug-why has to say of `path`; `recorded` is the failure that happened, None where
    it is a forecast."""

    path: str
    cause: Cause
    recorded: Recorded | None


_TEXTS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"file too short", NOT_ELF),
        (r"invalid ELF header", NOT_ELF),
        (r"wrong ELF class", WRONG_CLASS),
        (r"ELF file data encoding", WRONG_MACHINE),
        (r"cannot read file data", TRUNCATED),
        (r"undefined symbol|symbol not found|, version .* not defined in file", UNDEFINED_SYMBOL),
        (r"version `.*' not found|version lookup error", VERSION_NOT_FOUND),
        (r"GLIBC_ABI_DT_RELR", VERSION_NOT_FOUND),
        (r"static TLS|initial-exec TLS resolves to dynamic|TLS data", STATIC_TLS),
        (r"executable stack", EXECUTABLE_STACK),
        (r"CPU ISA level|IBT|SHSTK|rebuild shared object", CPU_LEVEL),
        (r"no more namespaces", NAMESPACE_LIMIT),
        (r"cannot be dlopen\(\)ed|cannot dynamically load", NOT_LOADABLE),
        (r"only ET_DYN and ET_EXEC|no loadable segments|no dynamic section", NOT_LOADABLE),
        (r"OS ABI|ABI version|phentsize|load command|padding in e_ident|version", NOT_LOADABLE),
        (r"unexpected (?:PLT )?reloc type|[Uu]nsupported relocation", WRONG_MACHINE),
        (r"invalid mode|invalid target namespace|object not open|RTLD_SELF used", WRONG_USE),
        (r"[Ii]nvalid (?:library )?handle|RTLD_NEXT used", WRONG_USE),
        (r"[Ll]ibrary .* is not already loaded", WRONG_USE),
        (r"failed to map|cannot map|zero-fill|writable for relocation", CANNOT_MAP),
        (r"segment prot|memory protection", CANNOT_MAP),
        (r"cannot (?:allocate|create|extend)|[Oo]ut of memory", NO_MEMORY),
        (r"Exec format error", NOT_ELF),
        (r"cannot open shared object|cannot stat|[Ee]rror loading shared library", MISSING_FILE),
    )
)  # fmt: skip
_CODES = {
    errno.EACCES: NO_PERMISSION,
    errno.EPERM: NO_PERMISSION,
    errno.EMFILE: TOO_MANY_FILES,
    errno.ENFILE: TOO_MANY_FILES,
    errno.ENOMEM: NO_MEMORY,
    errno.EISDIR: NOT_ELF,
}
_TAILS = {os.strerror(code): code for code in (*_CODES, errno.ENOENT, errno.ENOEXEC)}
_CODED = (MISSING_FILE, CANNOT_MAP, TRUNCATED)


def classify(text: str, code: int = 0) -> str:
    """The class of a failure by ld.so's text, with or without what dlerror() adds to it.

    "cannot open shared object file" is missing_file even where the file is there: ld.so gives
    this text for a file of another CPU as well.
    """
    if not code:
        code = next((c for tail, c in _TAILS.items() if tail in text), 0)
    for pattern, kind in _TEXTS:
        if pattern.search(text):
            return _CODES.get(code, kind) if kind in _CODED else kind
    return _CODES.get(code, UNKNOWN)


_MUSL = re.compile(r"Error (?:loading shared library|relocating) (?P<object>.*?): ")
_NEEDED_BY = re.compile(r"\(needed by (?P<path>.*)\)$")
_REQUIRED_BY = re.compile(r"\(required by (?P<path>.*?)\)")


def musl_object(text: str) -> str:
    """The file that a message of musl is about."""
    match = _MUSL.match(text)
    return match["object"] if match else ""


def culprit(recorded: Recorded) -> str:
    """The file that could not be loaded: a version is missed in one and required by another."""
    for pattern in (_REQUIRED_BY, _NEEDED_BY):
        match = pattern.search(recorded.text)
        if match:
            return match["path"]
    return recorded.object
