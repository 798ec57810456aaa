"""Each thread's dynamic thread vector: where its TLS blocks are."""

from __future__ import annotations

from typing import NamedTuple

from gdbext.elf.arch import Arch
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_word, read_words
from gdbext.linker.tls.tlsmodules import MOST_IDS

_UNALLOCATED = (1 << 64) - 1  # glibc, TLS_DTV_UNALLOCATED


class Dtv(NamedTuple):
    """The addresses of one thread's blocks by module id, as they stand there: an entry may be
    0 or -1, or older than the module that has its id now. `generation` is how far glibc has
    brought it up to date; None for musl, which has none."""

    generation: int | None
    starts: tuple[int, ...]

    def start(self, number: int) -> int | None:
        """The address for module id `number`; None when there is none."""
        if not 0 < number < len(self.starts):
            return None
        return self.starts[number] if self.starts[number] not in (0, _UNALLOCATED) else None


def read_dtv(memory: Memory, arch: Arch, pointer: int, largest: int, musl: bool) -> Dtv | None:
    """The DTV of the thread at `pointer`, up to module id `largest`; None if it is unreadable.

    glibc: the second word of the control block on x86-64, the first on ARM64 (sysdeps/{x86_64,
    aarch64}/nptl/tls.h), leads to dtv[0]; dtv[-1] is the length, dtv[0] the generation, dtv[id]
    {address, to_free}. musl: the second word, or the one before the thread pointer
    (src/internal/pthread_impl.h), leads to a length and an address for each id.
    """
    distance = 8 if arch.tls_below_pointer else (-8 if musl else 0)
    try:
        at = read_word(memory, pointer + distance)
        if musl:
            count = min(read_word(memory, at), largest)
            return Dtv(None, (0, *read_words(memory, at + 8, count)))
        length, _, generation, _ = read_words(memory, at - 16, 4)
        if not 0 < length < 2 * MOST_IDS:
            return None
        words = read_words(memory, at, 2 * (min(length, largest) + 1))
    except Unreadable:
        return None
    return Dtv(generation, (0, *words[2::2]))
