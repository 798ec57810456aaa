"""How a module was loaded: binding mode, RELRO, scope flags, who asked for it."""

from __future__ import annotations

from gdbext.elf.image import (
    DF_1_NODELETE,
    DF_1_NOW,
    DF_BIND_NOW,
    DT_BIND_NOW,
    DT_FLAGS,
    DT_FLAGS_1,
    DT_JMPREL,
    DT_PLTGOT,
    PT_GNU_RELRO,
    Image,
)
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_words
from gdbext.linker.loaded.modules import Linker, Module
from gdbext.linker.loaded.private import LT_LOADED

LAZY, NOW = "lazy", "now"


def linked_now(image: Image) -> bool:
    """Whether the object itself asks to be bound at once (gABI, DT_FLAGS; -z now)."""
    return (
        image.value(DT_BIND_NOW) is not None
        or bool((image.value(DT_FLAGS) or 0) & DF_BIND_NOW)
        or bool((image.value(DT_FLAGS_1) or 0) & DF_1_NOW)
    )


def read_got_header(memory: Memory, image: Image) -> tuple[int, int, int] | None:
    """GOT[0..2], at DT_PLTGOT: _DYNAMIC or 0, the link_map, the resolver (psABI, 5.2)."""
    table = image.pointer(DT_PLTGOT)
    if table is None or image.room(table) < 24:
        return None
    try:
        first, second, third = read_words(memory, table, 3)
    except Unreadable:
        return None
    return first, second, third


def binding(memory: Memory, image: Image) -> tuple[str | None, str | None]:
    """("lazy" or "now", None), or (None, why it is neither).

    ld.so fills GOT[1] and GOT[2] only when it leaves the PLT's slots to be resolved by calls
    (glibc, elf_machine_runtime_setup).
    """
    if image.value(DT_JMPREL) is None:
        return None, "it has no PLT"
    if linked_now(image):
        return NOW, None
    header = read_got_header(memory, image)
    if header is None:
        return None, "its GOT cannot be read"
    return (LAZY if header[1] else NOW), None


def relro(image: Image) -> str:
    """`full` (with -z now), `partial` or `none`."""
    if image.segment(PT_GNU_RELRO) is None:
        return "none"
    return "full" if linked_now(image) else "partial"


def nodelete(module: Module) -> bool | None:
    """Whether dlclose never unloads it: by its own flag, by RTLD_NODELETE, by a unique symbol."""
    if module.image and (module.image.value(DT_FLAGS_1) or 0) & DF_1_NODELETE:
        return True
    return module.private.nodelete if module.private else None


def deepbind(memory: Memory, linker: Linker, module: Module) -> bool | None:
    """Whether its own dependencies come before the namespace's global scope (RTLD_DEEPBIND)."""
    private = module.private
    if private is None or linker.layout is None:
        return None
    if private.type != LT_LOADED:
        return False
    first = linker.first(module.namespace)
    if first is module:
        return False
    if private.scopes is None or first.private is None:
        return None
    try:
        scope, following = read_words(memory, private.scopes, 2)
    except Unreadable:
        return None
    if scope == private.local_scope + 16:
        scope = following  # DT_SYMBOLIC's own list, l_symbolic_searchlist, is in front
    return scope not in (0, first.private.local_scope)
