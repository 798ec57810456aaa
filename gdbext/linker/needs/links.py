"""What `plug-links` shows of each module, gathered from the linker's state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gdbext.elf.image import PT_TLS
from gdbext.elf.notes import read_build_id
from gdbext.linker.loaded.disk import OnDisk, on_disk
from gdbext.linker.loaded.loading import binding, deepbind, nodelete, relro
from gdbext.linker.loaded.modules import DLOPENED, Linker, Module
from gdbext.linker.needs.search import Found, Searches
from gdbext.linker.process.process import Process, Region
from gdbext.linker.process.regions import region_finder

NO_LAYOUT = "this dynamic linker's private fields could not be located"
PROXY = "this entry is a proxy of another one"
NO_FIELD = "this field of the dynamic linker could not be located"
# glibc keeps no loader for what dlopen is asked for itself (elf/dl-load.c, __RTLD_CALLMAP).
NO_OPENER = "the dynamic linker does not record who called dlopen"


@dataclass(frozen=True)
class Link:
    """One module as plug-links shows it; None is unknown, `reasons` says why by field name."""

    module: Module
    is_global: bool | None
    deepbind: bool | None
    open_count: int | None
    nodelete: bool | None
    binding: str | None
    relro: str | None
    build_id: str | None
    tls_module_id: int | None
    on_disk: OnDisk
    search: Found | None
    reasons: dict[str, str]


def describe_links(
    process: Process,
    linker: Linker,
    modules: Sequence[Module],
    local_path: Callable[[str], str] | None,
    searches: Searches | None,
) -> list[Link]:
    """A Link for each of `modules`.

    `local_path` tells where a process of this machine has a path, None for any other process.
    With `searches` the rule is added by which each file was found.
    """
    find_region = region_finder(process.regions())
    links = []
    for module in modules:
        found = searches.find(module) if searches else None
        links.append(_describe(process, linker, module, find_region, local_path, found))
    return links


def _describe(
    process: Process,
    linker: Linker,
    module: Module,
    find_region: Callable[[int], Region | None],
    local_path: Callable[[str], str] | None,
    search: Found | None,
) -> Link:
    image, private = module.image, module.private
    reasons: dict[str, str] = {}
    bound = None
    if image is not None:
        bound, why = binding(process.memory, image)
        if why:
            reasons["binding"] = why
    elif module.problem:
        reasons.update(dict.fromkeys(("binding", "relro", "build_id"), module.problem))
    is_global = private.is_global if private else None
    open_count = private.open_count if private else None
    deep = deepbind(process.memory, linker, module)
    kept = nodelete(module)
    number = private.tls_modid if private else None
    if number is None and image is not None and image.segment(PT_TLS) is None:
        number = 0
    # ld.so's entry in another namespace stands for the real one and has no fields of its own
    why = NO_LAYOUT if linker.layout is None else NO_FIELD if private else PROXY
    fields = {
        "global": is_global,
        "open_count": open_count,
        "deepbind": deep,
        "nodelete": kept,
        "tls_module_id": number,
    }
    reasons.update({name: why for name, value in fields.items() if value is None})
    if module.kind == DLOPENED:
        reasons["opened_by"] = NO_OPENER
    region = find_region(image.start) if image else None
    disk = on_disk(process, module, region, local_path)
    if disk.reason:
        reasons["file"] = disk.reason
    return Link(
        module=module,
        is_global=is_global,
        deepbind=deep,
        open_count=open_count,
        nodelete=kept,
        binding=bound,
        relro=relro(image) if image else None,
        build_id=read_build_id(process.memory, image) if image else None,
        tls_module_id=number or None,
        on_disk=disk,
        search=search,
        reasons=reasons,
    )
