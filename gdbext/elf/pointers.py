"""Whether what a file's dynamic section points to is where the dynamic linker can use it.

Nothing checks this before: ld.so follows these pointers, and dies in what is not there (glibc,
elf/get-dynamic-info.h, which asserts the sizes, elf/dl-reloc.c and elf/dl-init.c).
"""

from __future__ import annotations

from gdbext.elf.image import (
    DT_GNU_HASH,
    DT_HASH,
    DT_INIT,
    DT_INIT_ARRAY,
    DT_JMPREL,
    DT_PLTREL,
    DT_RELA,
    DT_STRTAB,
    DT_SYMTAB,
    DT_VERDEF,
    DT_VERNEED,
    DT_VERSYM,
    PF_X,
    PT_GNU_RELRO,
    Image,
)
from gdbext.elf.reader import PAGE
from gdbext.elf.soundness import CANNOT_MAP, NOT_LOADABLE, Flaw

_DT_RELAENT, _RELA_SIZE = 9, 24
# What is followed while a file is loaded; DT_FINI and DT_FINI_ARRAY have time until it goes.
_TABLES = {
    DT_STRTAB: "DT_STRTAB", DT_SYMTAB: "DT_SYMTAB", DT_HASH: "DT_HASH", DT_RELA: "DT_RELA",
    DT_GNU_HASH: "DT_GNU_HASH", DT_JMPREL: "DT_JMPREL", DT_INIT_ARRAY: "DT_INIT_ARRAY",
    DT_VERSYM: "DT_VERSYM", DT_VERNEED: "DT_VERNEED", DT_VERDEF: "DT_VERDEF",
}  # fmt: skip


def check_pointers(image: Image) -> Flaw | None:
    """The first thing that is wrong with the dynamic section or RELRO of a file."""
    for detail in (_tables(image), _sizes(image), _code(image)):
        if detail is not None:
            return Flaw(NOT_LOADABLE, "", f"its dynamic section is damaged: {detail}")
    relro = image.segment(PT_GNU_RELRO)
    first, last = (relro.vaddr, relro.vaddr + relro.memsz) if relro is not None else (0, 0)
    if first // PAGE < last // PAGE and last // PAGE * PAGE > image.end - image.bias:
        text = "cannot apply additional memory protection after relocation"
        return Flaw(CANNOT_MAP, text, "its PT_GNU_RELRO goes on behind its last segment")
    return None


def _tables(image: Image) -> str | None:
    for tag in (DT_STRTAB, DT_SYMTAB):
        if image.value(tag) is None:
            return f"it has no {_TABLES[tag]}"
    if image.value(DT_VERNEED) is not None and image.value(DT_VERSYM) is None:
        return "it has DT_VERNEED and no DT_VERSYM"
    for tag, name in _TABLES.items():
        value = image.value(tag)
        if value is not None and image.load_at(image.bias + value) is None:
            return f"{name} is {value:#x}, which is in no segment"
    return None


def _sizes(image: Image) -> str | None:
    if image.value(DT_RELA) is not None and image.value(_DT_RELAENT) != _RELA_SIZE:
        return f"DT_RELAENT is {image.value(_DT_RELAENT) or 0}, not {_RELA_SIZE}"
    if image.value(DT_PLTREL) not in (None, DT_RELA):
        return f"DT_PLTREL is {image.value(DT_PLTREL)}, not {DT_RELA} (DT_RELA)"
    return None


def _code(image: Image) -> str | None:
    value = image.value(DT_INIT)
    segment = image.load_at(image.bias + value) if value is not None else None
    if value is None or (segment is not None and segment.flags & PF_X):
        return None
    return f"DT_INIT is {value:#x}, which is no code"
