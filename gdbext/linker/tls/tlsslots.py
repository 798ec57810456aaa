"""Which module a TLS slot leads to. Its value is a module id, an offset, or a descriptor.

Sources: psABI x86-64 4.4 and its TLS annex, AAELF64 TLS; glibc, elf/dl-reloc.c,
sysdeps/x86_64/dl-tlsdesc.S and sysdeps/aarch64/dl-tlsdesc.S.
"""

from __future__ import annotations

from gdbext.elf.arch import DTPMOD, DTPOFF, TLSDESC, TPOFF, Arch
from gdbext.elf.image import PT_TLS
from gdbext.elf.reader import Memory, read_word, read_words
from gdbext.elf.relocations import Relocation
from gdbext.linker.loaded.modules import Linker, Module

TLS_KINDS = frozenset({DTPMOD, DTPOFF, TPOFF, TLSDESC})
_LARGEST_OFFSET = 1 << 32  # larger than any static TLS area, smaller than any pointer to a heap


def tls_target(
    memory: Memory,
    arch: Arch,
    linker: Linker,
    module: Module,
    kind: str,
    relocation: Relocation,
    value: int,
) -> tuple[Module | None, str | None]:
    """(module that owns the variable, why it is not known)."""
    if linker.layout is None or linker.layout.tls is None:
        return None, "TLS modules cannot be told without the linker's private fields"
    if kind == DTPMOD:
        return _by_id(linker, value), None
    if kind == DTPOFF:
        # ld.so fills the module id into the word before (psABI, tls_index)
        number = read_word(memory, module.bias + relocation.offset - 8)
        return _by_id(linker, number), None
    if kind == TLSDESC:
        argument = read_word(memory, module.bias + relocation.offset + 8)
        if _LARGEST_OFFSET <= argument < (1 << 64) - _LARGEST_OFFSET:
            # the argument of _dl_tlsdesc_dynamic: a tls_index, its module id first
            return _by_id(linker, read_words(memory, argument, 2)[0]), None
        value = argument
    return _by_offset(arch, linker, value), None


def _by_id(linker: Linker, number: int) -> Module | None:
    if not number:
        return None
    return next((m for m in linker.modules if m.private and m.private.tls_modid == number), None)


def _by_offset(arch: Arch, linker: Linker, value: int) -> Module | None:
    """The module whose static TLS block holds the offset from the thread pointer."""
    offset = value - (1 << 64) if value >> 63 else value
    for module in linker.modules:
        private, image = module.private, module.image
        segment = image.segment(PT_TLS) if image else None
        if private is None or segment is None or private.tls_offset in (None, 0, -1):
            continue
        start = -private.tls_offset if arch.tls_below_pointer else private.tls_offset
        if start <= offset < start + segment.memsz:
            return module
    return None
