"""The verdict on GOT[1] and GOT[2], through which every lazy call goes.

Sources: psABI x86-64 5.2; glibc, elf_machine_runtime_setup in
sysdeps/{x86_64,aarch64}/dl-machine.h.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

from gdbext.elf.arch import Arch
from gdbext.elf.image import DT_JMPREL, PF_X
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory
from gdbext.findings.slots.verdicts import OK, REDIRECTED, UNVERIFIED
from gdbext.linker.loaded.loading import linked_now, read_got_header
from gdbext.linker.loaded.modules import LINKER, Linker
from gdbext.linker.slots.slots import ModuleSlots

# bytes; _dl_runtime_profile_avx512 of 2.36 needs 0x2c4 until its first `jmp *%r11`
_LONGEST_RESOLVER = 1024


GotHeader = Optional[tuple[int, int, int]]


class HeaderJudgement(NamedTuple):
    """`verdict` is ok, redirected or unverified; `reason` is None for ok."""

    verdict: str
    reason: str | None


_FINE = HeaderJudgement(OK, None)


def judge_headers(
    memory: Memory, arch: Arch, linker: Linker, modules: Sequence[ModuleSlots]
) -> list[HeaderJudgement | None]:
    """A judgement for each of `modules`, None for one without such a table."""
    known = {found.module.map.address: found.header for found in modules}
    resolvers = _resolvers(memory, linker, known)
    usual = resolvers.most_common(1)[0][0] if resolvers else None
    return [_judge(memory, arch, linker, found, resolvers, usual) for found in modules]


def _resolvers(memory: Memory, linker: Linker, known: Mapping[int, GotHeader]) -> Counter[int]:
    """How many modules have each resolver in GOT[2]: one ld.so hands out one, with audit two."""
    found: Counter[int] = Counter()
    for module in linker.modules:
        image = module.image
        if image is not None and image.value(DT_JMPREL) is not None:
            address = module.map.address
            header = known[address] if address in known else read_got_header(memory, image)
            if header is not None and header[1] == address:
                found[header[2]] += 1
    return found


def _judge(
    memory: Memory,
    arch: Arch,
    linker: Linker,
    found: ModuleSlots,
    resolvers: Counter[int],
    usual: int | None,
) -> HeaderJudgement | None:
    module, image, header = found.module, found.module.image, found.header
    if image is None or header is None:
        return None
    private = module.private
    if image.value(DT_JMPREL) is None or (private is not None and private.relocated is False):
        return _FINE  # ld.so does not touch it, or has not yet
    _, link_map, resolver = header
    if not link_map and not resolver:
        return _FINE
    if linked_now(image):
        return HeaderJudgement(
            REDIRECTED, "this module is bound at once, so ld.so leaves GOT[1] and GOT[2] zero"
        )
    if link_map != module.map.address:
        return HeaderJudgement(
            REDIRECTED, f"GOT[1] is not this module's link_map, {module.map.address:#x}"
        )
    wrong = _wrong_resolver(linker, resolver)
    if wrong is not None:
        if not any(m.loads for m in linker.modules if m.kind == LINKER):
            return HeaderJudgement(
                UNVERIFIED, "where ld.so lies is not known here, so neither is where GOT[2] leads"
            )
        return HeaderJudgement(REDIRECTED, wrong)
    if resolver != usual and resolvers[resolver] < resolvers[usual or 0]:
        if _is_audited(linker):
            return _FINE
        return HeaderJudgement(
            REDIRECTED, f"GOT[2] is {usual:#x} in the {resolvers[usual or 0]} other modules"
        )
    if not _looks_right(memory, arch, resolver):
        return HeaderJudgement(
            UNVERIFIED, "GOT[2] leads into ld.so, but its code there does not look like a resolver"
        )
    return _FINE


def _looks_right(memory: Memory, arch: Arch, resolver: int) -> bool:
    """Whether the code there may be a resolver's; where it cannot be read, it may."""
    try:
        return arch.resolver(memory.read(resolver, _LONGEST_RESOLVER))
    except Unreadable:
        return True


def _wrong_resolver(linker: Linker, resolver: int) -> str | None:
    """Why an address is no resolver, None if it is code of ld.so."""
    place = linker.find(resolver)
    if place is None:
        return "GOT[2], the resolver, is an address in no loaded module"
    owner, segment = place
    if owner.kind != LINKER or not segment.flags & PF_X:
        return f"GOT[2], the resolver, leads to {owner.path}, not to ld.so"
    return None


def _is_audited(linker: Linker) -> bool:
    """Whether audit modules may be at work: they live in namespaces of their own."""
    return len(linker.namespaces) > 1
