"""What a file needs of the process besides files and symbols: rights, memory, CPU, static TLS.

Sources: glibc, elf/dl-load.c (_dl_map_segments, _dl_map_object_from_fd), elf/dl-execstack.c,
elf/dl-reloc.c (CHECK_STATIC_TLS, _dl_try_allocate_static_tls), sysdeps/x86/dl-prop.h; the
kernel's mm/mmap.c.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gdbext.elf.arch import TPOFF
from gdbext.elf.image import PF_W, PF_X, PT_TLS, Image, Segment
from gdbext.elf.problem import Problem
from gdbext.elf.properties import missing_levels, read_needed_levels
from gdbext.elf.relocations import read_relocations
from gdbext.elf.soundness import CANNOT_MAP, wants_executable_stack
from gdbext.findings.opening.dlopen_errors import (
    CPU_LEVEL,
    EXECUTABLE_STACK,
    NAMESPACE_LIMIT,
    NO_PERMISSION,
    OK,
    STATIC_TLS,
    TOO_MANY_FILES,
    Cause,
)
from gdbext.findings.opening.prospects import Forecast, file_of
from gdbext.linker.loaded.modules import Module
from gdbext.linker.lookup.matching import PLT
from gdbext.linker.opening.prospect import Arrival
from gdbext.linker.tls.statictls import StaticTls
from gdbext.linker.tls.tlsmodules import STATIC, UNDECIDED, TlsModule

_NAMESPACES = 16  # glibc, sysdeps/generic/ldsodefs.h, DL_NNS
_NO_DLOPEN_STACK = 41  # NEWS of 2.41: dlopen no longer makes stacks executable
_MIB = 1 << 20


def namespace_limit(namespaces: int) -> Iterator[Cause]:
    """Whether dlmopen could make one more namespace."""
    if namespaces >= _NAMESPACES:
        yield Cause(
            NAMESPACE_LIMIT,
            f"all {_NAMESPACES} namespaces of this process are in use",
            (f"{namespaces} link_map chains hold modules; plug-links shows them",),
            "Close a namespace (dlclose all that was opened in it), or open several libraries in "
            "one, by the Lmid_t that dlinfo(RTLD_DI_LMID) gives.",
        )


def mapping_causes(forecast: Forecast, arrival: Arrival) -> Iterator[Cause]:
    """Why the kernel would not map a file."""
    rights, image = forecast.host.rights, arrival.module.image
    if image is None:
        return
    real, whose = arrival.located.contents.real, tuple(forecast.whose(arrival.module))
    mount = rights.mount_of(real)
    if mount is not None and mount.type == "proc":
        mount = None  # /proc/PID/fd/N leads to an open file, which lies elsewhere or nowhere
    code = any(s.flags & PF_X for s in image.loads)
    if mount is not None and "noexec" in mount.options and code:
        yield Cause(
            NO_PERMISSION,
            f"{arrival.module.path} lies on a file system that is mounted noexec",
            (f"{mount.point} is a {mount.type} with {','.join(sorted(mount.options))}", *whose,
             "ld.so's words for it: failed to map segment from shared object"),
            f"Put the file elsewhere, or remount {mount.point} with exec.",
        )  # fmt: skip
    if any(arrival is one for one in forecast.opened):
        yield from _stack_cause(forecast, arrival.module, image)


def limit_causes(forecast: Forecast) -> Iterator[Cause]:
    """Whether all that comes in fits into the limits of the process."""
    limits, arrivals = forecast.host.rights.limits, forecast.prospect.arrivals
    if limits is None or not arrivals:
        return
    images = [a.module.image for a in arrivals if a.module.image is not None]
    space = sum(image.end - image.start for image in images)
    data = sum(s.memsz for image in images for s in image.loads if s.flags & PF_W)
    path = arrivals[0].module.path
    for name, limit, used, more in (
        ("address space (RLIMIT_AS)", limits.address_space, limits.space_used, space),
        ("data (RLIMIT_DATA)", limits.data, limits.data_used, data),
    ):
        if limit is not None and used is not None and used + more > limit:
            yield Cause(
                CANNOT_MAP,
                f"{path} and what it needs take {_size(more)} more, and the limit of {name} is "
                f"{_size(limit)}",
                (f"{_size(used)} are in use ({_size(max(limit - used, 0))} are left)",
                 f"{len(images)} files would be mapped, {_size(space)} of address space"),
                f"Raise the limit of {name}: ulimit, prlimit or the service's configuration.",
            )  # fmt: skip
    if limits.files is not None and (limits.files_used or 0) >= limits.files:
        yield Cause(
            TOO_MANY_FILES,
            f"the process has {limits.files_used} files open, as many as it may",
            ("ld.so needs one more to read a library",),
            "Raise RLIMIT_NOFILE (ulimit -n), or look for descriptors that are never closed.",
        )


def _size(number: int) -> str:
    return f"{number / _MIB:.1f} MiB" if number >= _MIB else f"{-(-number // 1024)} KiB"


def _stack_cause(forecast: Forecast, module: Module, image: Image) -> Iterator[Cause]:
    why = wants_executable_stack(image)
    host = forecast.host
    if why is None or host.musl or host.stack or _starts_with_executable_stack(forecast):
        return
    tunable = "glibc.rtld.execstack=2" in host.tunables.split(":")
    if forecast.release is None or forecast.release < _NO_DLOPEN_STACK or tunable:
        return
    yield Cause(
        EXECUTABLE_STACK,
        f"{module.path} wants executable stacks, which dlopen no longer allows",
        (why, f"this glibc is 2.{forecast.release}; up to 2.40 it made all stacks executable"),
        f"Link {file_of(module)} with -z noexecstack (objects from assembler often miss "
        ".note.GNU-stack), or start the program with GLIBC_TUNABLES=glibc.rtld.execstack=2.",
    )


def _starts_with_executable_stack(forecast: Forecast) -> bool:
    """Whether a program that is about to start, or a library of its start, asks for it."""
    arrivals = forecast.prospect.arrivals
    images = [a.module.image for a in arrivals[: len(arrivals) - len(forecast.opened)]]
    return any(image and wants_executable_stack(image) for image in images)


def cpu_causes(forecast: Forecast) -> Iterator[Cause]:
    """Files that say that they need a CPU with more instructions."""
    levels = forecast.host.levels
    if levels is None or forecast.host.musl:
        return
    for arrival in forecast.prospect.arrivals:
        image = arrival.module.image
        needed = read_needed_levels(arrival.module.memory, image) if image else 0
        missing = missing_levels(needed, levels)
        if missing:
            path = arrival.module.path
            yield Cause(
                CPU_LEVEL,
                f"{path} needs a CPU with {', '.join(missing)}, and this one has it not",
                ("its GNU property X86_ISA_1_NEEDED says so", *forecast.whose(arrival.module)),
                f"Use a build of {os.path.basename(path)} for a lower -march level.",
            )


def tls_causes(forecast: Forecast) -> Iterator[Cause]:
    """Files with initial-exec TLS for which there is no room, the last dependency first."""
    rows = [a.module for a in reversed(forecast.opened)]
    needy = [(module, owner) for module in rows for owner in _owners(forecast, module)]
    if not needy:
        return
    if forecast.host.musl:
        owner = needy[0][1]
        if any(owner is module for module in rows):
            yield _musl_cause(forecast, needy[0][0])
        return
    if forecast.host.starting:
        yield from _untold_room([owner for _, owner in needy if owner in rows])
        return
    room, modules = forecast.host.room()
    area, placed = room.area, {m.module.map.address: m for m in modules}
    done: set[int] = set()
    for module, owner in needy:
        key = owner.map.address
        if key in done or area is None:
            continue
        done.add(key)
        known = placed.get(key)
        if known is not None and known.storage == STATIC:
            continue
        segment = owner.image.segment(PT_TLS) if owner.image else None
        if segment is None:
            continue
        dynamic = known is not None and known.storage != UNDECIDED
        left = None if dynamic else _place(area, segment)
        if left is None:
            yield _tls_cause(forecast, module, owner, segment, area, known)
            return
        area = left


def _untold_room(owners: Sequence[Module]) -> Iterator[Cause]:
    """What libraries need of room that only a process tells."""
    for module in dict.fromkeys(owners):
        segment = module.image.segment(PT_TLS) if module.image else None
        if segment is not None:
            text = f"{module.path} needs {segment.memsz} bytes of static TLS"
            yield Cause(OK, f"{text}; how many are left is known while the program runs", (), "")


def _owners(forecast: Forecast, module: Module) -> list[Module]:
    """The modules whose TLS must be static, by the TPOFF relocations of `module`."""
    kinds = {number: kind for number, (kind, _) in forecast.host.arch.relocations.items()}
    found: dict[int, Module] = {}
    try:
        rows = read_relocations(module.memory, module.image) if module.image else []
        wanted = {row.symbol for row in rows if kinds.get(row.type) == TPOFF}
        for number in wanted:
            answer = forecast.lookup.resolve(module, number, PLT) if number else None
            owner = answer.module if answer else None if number else module
            if owner is not None:
                found[owner.map.address] = owner
    except Problem:
        return list(found.values())  # its tables are damaged, which is said elsewhere
    return list(found.values())


def _place(area: StaticTls, segment: Segment) -> StaticTls | None:
    """`area` with one more block; None where it does not fit."""
    align = max(segment.align, 1)
    first = segment.vaddr % align
    if not area.fits(segment.memsz, align, first):
        return None
    if not area.below:
        start = -(-(area.used - first) // align) * align + first
        return replace(area, used=start + segment.memsz)
    size = segment.memsz + first
    rest = (area.left - size) // align * align
    return replace(area, used=area.used + area.left - rest - first)


def _tls_cause(
    forecast: Forecast,
    module: Module,
    owner: Module,
    segment: Segment,
    area: StaticTls,
    known: TlsModule | None,
) -> Cause:
    if known is not None:
        message = f"{module.path} wants the TLS of {owner.path} at a fixed place, and it has none"
        evidence = [f"{file_of(owner)} is loaded with dynamic TLS already"]
    else:
        message = (
            f"{owner.path} needs {segment.memsz} bytes of static TLS, and {area.left} are left"
        )
        evidence = [f"its alignment is {max(segment.align, 1)}; the area's is {area.align}"]
    evidence += forecast.whose(module)
    used = sorted(forecast.host.room()[1], key=lambda m: -m.size)
    users = [f"{file_of(m.module)} {m.size}" for m in used if m.storage == STATIC][:5]
    evidence.append(f"{area.used} of {area.room} bytes are used")
    if users:
        evidence.append(f"blocks (bytes): {', '.join(users)}; plug-tls shows all")
    return Cause(
        STATIC_TLS, message, tuple(evidence),
        f"Load {file_of(owner)} at the start (link it or LD_PRELOAD it), raise "
        "GLIBC_TUNABLES=glibc.rtld.optional_static_tls, or build it without "
        "-ftls-model=initial-exec.",
    )  # fmt: skip


def _musl_cause(forecast: Forecast, module: Module) -> Cause:
    evidence = ("musl keeps no room for static TLS of what is dlopened", *forecast.whose(module))
    return Cause(
        STATIC_TLS,
        f"{module.path} uses initial-exec TLS, which musl cannot give to a library that is opened",
        evidence,
        f"Link the program with {file_of(module)}, or build it without -ftls-model=initial-exec.",
    )
