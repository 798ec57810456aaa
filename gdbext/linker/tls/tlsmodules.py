"""The modules that have thread-local storage: id, size, and whether it is static or dynamic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gdbext.elf.arch import Arch
from gdbext.elf.image import PT_TLS, Segment
from gdbext.elf.reader import Memory
from gdbext.linker.loaded.modules import DLOPENED, LINKER, Linker, Module
from gdbext.linker.loaded.musl import read_dsos
from gdbext.linker.loaded.private import LT_LOADED

STATIC, DYNAMIC, UNDECIDED = "static", "dynamic", "undecided"
_FORCED_DYNAMIC = -1  # glibc, elf/dl-tls.h: FORCED_DYNAMIC_TLS_OFFSET
_LARGEST_STATIC = 1 << 31
MOST_IDS = 1 << 16  # ids are given again, so that no id is larger than modules are loaded

_Row = tuple[Module, Segment]


class TlsModule(NamedTuple):
    """One module with a PT_TLS. Sizes are bytes.

    `id` is what its DTPMOD relocations hold and dlpi_tls_modid says; None: none yet or unknown.
    `offset` is that of its block from the thread pointer, None unless it is static.
    `first_byte` is the segment's address modulo its alignment. `at_start`: it was there before
    the program ran, so that static TLS has room for it in any case.
    """

    module: Module
    id: int | None
    size: int
    file_size: int
    align: int
    first_byte: int
    storage: str | None
    offset: int | None
    at_start: bool

    @property
    def end(self) -> int:
        """How far its static block reaches from the thread pointer, in either direction."""
        if self.offset is None:
            return 0
        return -self.offset if self.offset < 0 else self.offset + self.size


def read_tls_modules(memory: Memory, arch: Arch, linker: Linker) -> list[TlsModule]:
    """Every module with TLS, in the order of the chains. Unknown fields are None."""
    rows = [
        (module, segment)
        for module in linker.modules
        if module.image is not None
        and (segment := module.image.segment(PT_TLS)) is not None
        and segment.memsz
        and not (module.kind == LINKER and module.namespace)  # a proxy of the first one
    ]
    if linker.layout is not None:
        return [_by_glibc(arch, module, segment) for module, segment in rows]
    return _by_musl(memory, arch, linker, rows)


def _describe(
    module: Module, segment: Segment, number: int, storage: str | None, offset: int | None
) -> TlsModule:
    align = max(segment.align, 1)
    return TlsModule(
        module,
        number if 0 < number < MOST_IDS else None,
        segment.memsz,
        segment.filesz,
        align,
        segment.vaddr % align,
        storage,
        offset,
        module.private.type != LT_LOADED if module.private else module.kind != DLOPENED,
    )


def _by_glibc(arch: Arch, module: Module, segment: Segment) -> TlsModule:
    """l_tls_modid and l_tls_offset: 0 not decided yet, -1 dynamic (glibc, include/link.h)."""
    private = module.private
    if private is None or private.tls_modid is None or private.tls_offset is None:
        return _describe(module, segment, 0, None, None)
    offset = private.tls_offset
    if not 0 < offset < _LARGEST_STATIC:
        storage = {0: UNDECIDED, _FORCED_DYNAMIC: DYNAMIC}.get(offset)
        return _describe(module, segment, private.tls_modid, storage, None)
    signed = -offset if arch.tls_below_pointer else offset
    return _describe(module, segment, private.tls_modid, STATIC, signed)


def _by_musl(memory: Memory, arch: Arch, linker: Linker, rows: Sequence[_Row]) -> list[TlsModule]:
    """What comes in with dlopen is reached through the DTV alone: musl refuses initial-exec
    relocations to it (ldso/dynlink.c, do_relocs).
    """
    fields = read_dsos(memory, linker).tls or {}
    found = []
    for module, segment in rows:
        offset, number = fields.get(module.map.address, (0, 0))
        if not 0 < number < MOST_IDS or offset >= _LARGEST_STATIC:
            found.append(_describe(module, segment, 0, None, None))
        elif module.kind == DLOPENED:
            found.append(_describe(module, segment, number, DYNAMIC, None))
        else:
            signed = -offset if arch.tls_below_pointer else offset
            found.append(_describe(module, segment, number, STATIC, signed))
    return found
