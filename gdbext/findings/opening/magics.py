"""Hosts that look at a library after they opened it, and refuse one that was built for another.

PostgreSQL, src/include/fmgr.h (PG_MODULE_MAGIC, Pg_magic_struct) and
src/backend/utils/fmgr/dfmgr.c (internal_load_library).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from gdbext.elf.image import PF_W
from gdbext.elf.problem import Problem
from gdbext.findings.opening.dlopen_errors import ABI_MISMATCH, OK, Cause
from gdbext.findings.opening.gomagic import go_causes
from gdbext.findings.opening.nginxmagic import nginx_causes
from gdbext.findings.opening.prospects import Forecast, file_of, refers_to
from gdbext.linker.loaded.modules import Module

_MAGIC_FUNCTION = "Pg_magic_func"
_SERVER_NAME = "pg_detoast_datum"  # every PostgreSQL server exports it
_LONGEST_FUNCTION = 32
_LARGEST = 64 << 20
# int len, version, funcmaxargs, indexmaxkeys, namedatalen, float8byval; char abi_extra[32] from 15
_STRUCT = struct.Struct("<6i")
_SIZES = (_STRUCT.size, _STRUCT.size + 32)


class Magic(NamedTuple):
    """PG_MODULE_MAGIC's numbers; `version` is major * 100 (from 10 on), `extra` abi_extra."""

    version: int
    function_arguments: int
    index_keys: int
    name_length: int
    float8_by_value: int
    extra: bytes


def magic_causes(forecast: Forecast) -> Iterator[Cause]:
    """Whether the program would refuse the file after dlopen: PostgreSQL, nginx, Go."""
    root, modules = forecast.prospect.root, forecast.host.linker.modules
    if not modules or root is None:
        return
    if _exports(forecast, modules[0], _SERVER_NAME):
        yield from _postgresql_causes(forecast, root, modules[0])
    yield from nginx_causes(forecast, root, modules[0])
    yield from go_causes(forecast, root, modules[0])


def _postgresql_causes(forecast: Forecast, root: Module, server: Module) -> Iterator[Cause]:
    own = _server_magic(server)
    theirs = _library_magic(forecast, root)
    base = file_of(root)
    if theirs is None:
        if not _exports(forecast, root, _MAGIC_FUNCTION):
            # a library that asks nothing of the server may be there for somebody else
            yield Cause(
                ABI_MISMATCH if refers_to(forecast, root, server) else OK,
                f"{root.path} has no magic block, and PostgreSQL loads no extension without one",
                (f"it does not export {_MAGIC_FUNCTION}",
                 'the server says: incompatible library, missing magic block'),
                f"Put PG_MODULE_MAGIC; into one source of {base} (it is for extensions alone).",
            )  # fmt: skip
        return
    if own is None or own == theirs:
        return
    rows = [
        f"{name}: the server has {a!r}, {base} has {b!r}"
        for name, a, b in zip(Magic._fields, own, theirs)
        if a != b
    ]
    yield Cause(
        ABI_MISMATCH,
        f"{root.path} was built for PostgreSQL {_release(theirs)}, and this server is "
        f"{_release(own)}",
        tuple(rows),
        f"Build {base} with the pg_config of PostgreSQL {_release(own)}, or install its package "
        "for that version.",
    )


def _release(magic: Magic) -> str:
    major, minor = divmod(magic.version, 100)
    return f"{major}" if major >= 10 else f"{major}.{minor}"


def _exports(forecast: Forecast, module: Module, name: str) -> bool:
    tables = forecast.tables.of(module)
    return tables is not None and tables.address_of(name) is not None


def _library_magic(forecast: Forecast, module: Module) -> Magic | None:
    """What Pg_magic_func returns a pointer to, by the address that its code takes."""
    tables, image = forecast.tables.of(module), module.image
    at = tables.address_of(_MAGIC_FUNCTION) if tables else None
    if at is None or image is None:
        return None
    try:
        code = module.memory.read(at, min(_LONGEST_FUNCTION, image.room(at)))
        for address in sorted(forecast.host.arch.taken(code, at).addresses):
            if image.room(address) >= _SIZES[0]:
                found = decode_magic(module.memory.read(address, min(64, image.room(address))))
                if found is not None:
                    return found
    except Problem:
        return None
    return None


def decode_magic(data: bytes) -> Magic | None:
    """The struct at the start of `data`, None where there is none."""
    if len(data) < _STRUCT.size:
        return None
    size, version, arguments, keys, names, by_value = _STRUCT.unpack_from(data)
    plausible = 802 <= version < 10_000 and 8 <= arguments <= 1000 and 8 <= keys <= 1000
    if size not in _SIZES or len(data) < size or not plausible or by_value not in (0, 1):
        return None
    extra = data[_STRUCT.size : size].rstrip(b"\0")
    return Magic(version, arguments, keys, names, by_value, extra)


def _server_magic(server: Module) -> Magic | None:
    """The server's own struct, which has no name: the one thing like it in its constants."""
    image = server.image
    pattern = re.compile(b"|".join(re.escape(struct.pack("<i", size)) for size in _SIZES))
    found: set[Magic] = set()
    for segment in image.loads if image else ():
        if segment.flags & PF_W or segment.filesz > _LARGEST or image is None:
            continue
        try:
            data = server.memory.read(image.bias + segment.vaddr, segment.filesz)
        except Problem:
            continue
        for match in pattern.finditer(data):
            magic = decode_magic(data[match.start() : match.start() + 64])
            if magic is not None and magic.name_length in (32, 64, 128, 256):
                found.add(magic)
    return found.pop() if len(found) == 1 else None
