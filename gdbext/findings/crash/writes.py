"""Writes to what a module has as read-only."""

from __future__ import annotations

from collections.abc import Iterator

from gdbext.elf.arch import ABSOLUTE
from gdbext.elf.image import PF_R, PF_W, PF_X, PT_GNU_RELRO
from gdbext.findings.crash.description import describe, slot_name
from gdbext.findings.crash.scene import (
    WRITE_READ_ONLY,
    WRITE_RELRO,
    Cause,
    Scene,
    Step,
    site_name,
    step_name,
)
from gdbext.linker.loaded.libc import is_libc
from gdbext.linker.places import Place


def written(scene: Scene) -> Iterator[Cause]:
    """A write to memory of a module that may be read alone."""
    fault, site = scene.fault, scene.site
    if scene.signal != "SIGSEGV" or fault is None or fault.module is None or fault.segment is None:
        return
    if site.module is None or fault.address == site.address:
        return  # it could not execute what is there
    region = fault.region
    if (
        region is not None
        and region.flags is not None
        and (region.flags & PF_W or not region.flags & PF_R)
    ):
        return  # it may be written, or not even be read
    if not fault.segment.flags & PF_W:
        part = "code" if fault.segment.flags & PF_X else "read-only data"
        rule, kind = WRITE_READ_ONLY, fault.section or part
    elif _in_relro(fault):
        rule, kind = WRITE_RELRO, "the RELRO segment"
    else:
        return
    target = describe(fault, scene.demangle)
    if fault.slot is not None:
        what = "pointer to" if fault.slot.kind == ABSOLUTE else "GOT slot of"
        target = f"the {what} {slot_name(fault.slot, scene.demangle)} in {_holder(fault, scene)}"
    elif fault.definition is not None:
        target = f"{scene.demangle(fault.definition.symbol)} in {fault.module.file_name}"
    how = "read-only since relocation (RELRO)" if rule == WRITE_RELRO else "read-only"
    text = f"{site_name(scene)} wrote to {target}, which is {how}"
    behind = _behind_libc(scene)
    if behind is not None:
        doer = f"{step_name(behind, scene)} had {site_name(scene)}"
        text = f"{doer} write to {target}, which is {how}"
    yield Cause(rule, text, (f"{fault.address:#x} lies in {kind} of {fault.module.path}",))


def _holder(fault: Place, scene: Scene) -> str:
    """What a pointer is part of: a table of pointers has a name of its own, the GOT has none."""
    module = fault.module.file_name if fault.module is not None else "no module"
    if fault.definition is None:
        return module
    return f"{scene.demangle(fault.definition.symbol)} of {module}"


def _behind_libc(scene: Scene) -> Step | None:
    """The innermost frame that is not in the C library, where the crash is in that: what it was
    told to do is not its own doing."""
    site = scene.site.module
    if site is None or not is_libc(site):
        return None
    steps = (s for s in scene.steps if s.place.module is not None)
    return next((s for s in steps if s.place.module and not is_libc(s.place.module)), None)


def _in_relro(place: Place) -> bool:
    module = place.module
    segment = module.image.segment(PT_GNU_RELRO) if module and module.image else None
    if segment is None or module is None:
        return False
    return segment.vaddr <= place.address - module.bias < segment.vaddr + segment.memsz
