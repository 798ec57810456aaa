"""Whether nginx would refuse a module that it opened.

Source: nginx, src/core/ngx_module.h (ngx_module_s, NGX_MODULE_V1, NGX_MODULE_SIGNATURE) and
src/core/ngx_module.c (ngx_add_module), which compares version and signature.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from gdbext.elf.image import PF_W, Image
from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory, read_word
from gdbext.elf.symbols import SymbolTable
from gdbext.findings.opening.dlopen_errors import ABI_MISMATCH, OK, Cause
from gdbext.findings.opening.prospects import Forecast, file_of, refers_to
from gdbext.linker.loaded.modules import Module

_HOST, _LIST = "ngx_core_module", "ngx_modules"
_NAME = re.compile(rb"ngx_\w*_module")
_SIZE = 200  # bytes of ngx_module_t: 25 words
_VERSION = 40  # behind ctx_index, index, name, spare0 and spare1
# sizes of a pointer, of sig_atomic_t and of time_t, and one digit for each feature
_SIGNATURE = re.compile(rb"\0(\d,\d,\d,[01]{20,80})\0")
_LARGEST = 64 << 20


class Signature(NamedTuple):
    """nginx_version as in 1022001, and NGX_MODULE_SIGNATURE; None where it was not found."""

    version: int | None
    features: str | None


def nginx_causes(forecast: Forecast, root: Module, host: Module) -> Iterator[Cause]:
    """Whether the nginx `host` would refuse `root`."""
    tables, own = forecast.tables.of(root), forecast.tables.of(host)
    if tables is None or own is None or own.address_of(_HOST) is None:
        return
    base = file_of(root)
    if tables.address_of(_LIST) is None:
        yield Cause(
            ABI_MISMATCH if refers_to(forecast, root, host) else OK,
            f"{root.path} is no nginx module: it does not export {_LIST}",
            ("nginx looks for that name with dlsym after it opened a module",),
            f"Build {base} with nginx's own configure (--add-dynamic-module).",
        )
        return
    mine = _signature(host.memory, own.image, own.symbols)
    theirs = _signature(root.memory, tables.image, tables.symbols)
    rows = []
    if None not in (mine.version, theirs.version) and mine.version != theirs.version:
        rows.append(f"version: nginx is {mine.version}, {base} was built for {theirs.version}")
    if None not in (mine.features, theirs.features) and mine.features != theirs.features:
        rows.append(f"signature: nginx has {mine.features}, {base} has {theirs.features}")
    if rows:
        yield Cause(
            ABI_MISMATCH,
            f"{root.path} is not binary compatible with this nginx",
            tuple(rows),
            f"Build {base} from the sources of nginx {_release(mine.version)} with the options "
            "that nginx -V shows, or install the package of the same release.",
        )


def _release(version: int | None) -> str:
    if version is None:
        return "of this release"
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"


def _signature(memory: Memory, image: Image, symbols: SymbolTable) -> Signature:
    version: int | None = None
    for name, numbers in symbols.indices_by_name.items():
        entry = symbols.entry(numbers[0]) if _NAME.fullmatch(name) else None
        if entry is not None and entry.shndx and entry.size == _SIZE:
            try:
                version = read_word(memory, image.bias + entry.value + _VERSION)
            except Problem:
                continue  # this part is not in the core
            break
    found: set[bytes] = set()
    for segment in image.loads:
        if segment.flags & PF_W or segment.filesz > _LARGEST:
            continue
        try:
            data = memory.read(image.bias + segment.vaddr, segment.filesz)
        except Problem:
            continue
        found.update(_SIGNATURE.findall(data))
    features = found.pop().decode() if len(found) == 1 else None
    return Signature(version, features)
