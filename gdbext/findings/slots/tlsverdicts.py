"""Whether a TLS slot holds what ld.so's relocation of it gives (glibc, elf_machine_rela)."""

from __future__ import annotations

from typing import NamedTuple

from gdbext.elf.arch import DTPMOD, DTPOFF, TLSDESC, TPOFF, Arch
from gdbext.elf.image import PF_X
from gdbext.elf.patterns import DYNAMIC, STATIC
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_word, read_words
from gdbext.linker.loaded.modules import LINKER, Module
from gdbext.linker.lookup.answers import Found
from gdbext.linker.lookup.lookup import Lookup
from gdbext.linker.slots.slots import Slot

_MASK = (1 << 64) - 1
_NO_FIELDS = "TLS modules cannot be told without the linker's private fields"


class Wrong(NamedTuple):
    """Why a slot is not known to be right; `certain`, that it is wrong."""

    certain: bool
    reason: str


def judge_tls(
    memory: Memory, arch: Arch, lookup: Lookup, module: Module, slot: Slot, answer: Found | None
) -> Wrong | None:
    """None if the slot is right. `answer` is the lookup's, None where nothing was found."""
    number = slot.relocation.symbol
    if number and answer is None:
        if slot.kind == TLSDESC:
            return _judge_function(memory, arch, lookup, slot, None)  # _dl_tlsdesc_undefweak
        if not slot.value:
            return None  # weak: no module
        return Wrong(True, "ld.so's lookup finds no definition")
    target = answer.module if answer else module
    private = target.private
    offset = slot.relocation.addend
    if answer is not None:
        offset += answer.symbol.value
    if slot.kind == DTPOFF:
        return _compare(slot.value, offset, target)
    if private is None or private.tls_modid is None or private.tls_offset is None:
        return Wrong(False, _NO_FIELDS)
    if slot.kind == DTPMOD:
        return _compare(slot.value, private.tls_modid, target)
    static = offset + (-private.tls_offset if arch.tls_below_pointer else private.tls_offset)
    if slot.kind == TPOFF:
        return _compare(slot.value, static, target)
    return _judge_descriptor(memory, arch, lookup, slot, target, static, offset)


def _judge_descriptor(
    memory: Memory,
    arch: Arch,
    lookup: Lookup,
    slot: Slot,
    target: Module,
    static: int,
    offset: int,
) -> Wrong | None:
    """{function; argument}: a static offset, or a {module, offset} (glibc, elf/dl-tlsdesc.h)."""
    private = target.private
    assert private is not None
    try:
        argument = read_word(memory, slot.address + 8)
        if argument == static & _MASK and private.tls_offset not in (0, -1):
            return _judge_function(memory, arch, lookup, slot, STATIC)
        if read_words(memory, argument, 2) == (private.tls_modid, offset & _MASK):
            return _judge_function(memory, arch, lookup, slot, DYNAMIC)
    except Unreadable:
        pass  # the argument is no pointer: then it is a static offset, and a wrong one
    return Wrong(True, f"ld.so's lookup leads to the TLS block of {target.path}")


def _judge_function(
    memory: Memory, arch: Arch, lookup: Lookup, slot: Slot, wanted: str | None
) -> Wrong | None:
    """Whether a descriptor's function is one of ld.so's for such an argument."""
    value = slot.value or 0
    place = lookup.linker.find(value)
    if place is None or place[0].kind != LINKER or not place[1].flags & PF_X:
        if not any(m.loads for m in lookup.linker.modules if m.kind == LINKER):
            return Wrong(False, "where ld.so lies is not known here, so neither is its function")
        return Wrong(True, "this TLS descriptor's function is none of ld.so's")
    tables = lookup.tables.of(place[0])
    function = tables.functions.find(value) if tables is not None else None
    if function is not None and function.start != value:
        return Wrong(True, "this TLS descriptor does not lead to the start of a function")
    try:
        kind = arch.tls_descriptor(memory.read(value, 128))
    except Unreadable:
        return None  # a core without its file
    if kind is None or wanted not in (None, kind):
        return Wrong(True, "this TLS descriptor's function is not the one for its argument")
    return None


def _compare(value: int | None, expected: int, target: Module) -> Wrong | None:
    if value == expected & _MASK:
        return None
    return Wrong(True, f"ld.so's lookup leads to the TLS block of {target.path}")
