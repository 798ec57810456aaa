"""Where glibc keeps its private link_map fields, located by self-validation.

No version table can do this: distributions backport fields within one version (Debian's 2.36
has two layouts). Instead each group of fields is found by what it must hold: the program
headers' address, a pointer to the object itself, the mapped range, the TLS segment's numbers.
Every object votes, and a group that no majority confirms stays unknown.
Sources: glibc, include/link.h (struct link_map), elf/dl-object.c, elf/dl-load.c.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gdbext.elf.image import PT_GNU_RELRO, PT_TLS, Image
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import PAGE, Memory, read_words

_BLOB = 1400  # more than any known sizeof(struct link_map)
_LEAST = 1000
_MOST_VOTERS = 24
MOST_SCOPES = 4096
_LD = 16  # l_ld (link.h)
REAL, LIBNAME = 40, 56  # l_real and l_libname, the same in every glibc
# offsets from P, the place of l_phdr
PHNUM, SEARCHLIST, SYMBOLIC, LOADER, OPENCOUNT, FLAGS = 16, 24, 40, 56, 112, 116
# offsets from S, the place of l_scope
LOCAL_SCOPE, FILE_ID, INITFINI = 8, 24, 56
# offsets from T, the place of l_tls_initimage
TLS_OFFSET, TLS_MODID = 40, 48


@dataclass(frozen=True)
class Layout:
    """Where the field groups start, in bytes from the link_map's address; None is unknown.

    `phdr`: l_phdr and what follows it. `scope`: l_scope. `map_start`: l_map_start, with
    l_map_end behind it. `tls`: l_tls_initimage. `global_bit`: the bit of l_global in the flag
    word, with l_relocated two and l_init_called one below. `nodelete`: l_nodelete_active.
    """

    phdr: int
    scope: int | None
    map_start: int | None
    tls: int | None
    relro: int | None
    global_bit: int | None
    nodelete: int | None


@dataclass(frozen=True)
class Voter:
    """A link_map with the image that it stands for, None where a core holds no program headers;
    `words` are its first _BLOB bytes, `headers` where its program headers can be, and how many."""

    address: int
    image: Image | None
    words: tuple[int, ...]
    headers: tuple[tuple[int, ...], int]

    def word(self, offset: int) -> int:
        return self.words[offset // 8] if offset // 8 < len(self.words) else 0


def locate(
    memory: Memory, objects: Sequence[tuple[int, Image | None]], headers: tuple[int, int] = (0, 0)
) -> Layout | None:
    """Find the layout from (link_map address, image) pairs, main first; None if it is not glibc's.

    `headers` are AT_PHDR and AT_PHNUM, which tell of main's where it has no image.
    Objects whose l_real is not themselves (ld.so in other namespaces) must not be among them.
    """
    voters = []
    for number, (address, image) in enumerate(objects[:_MOST_VOTERS]):
        if image is not None:
            told = _phdr_addresses(image), len(image.segments)
        else:
            told = (headers[:1], headers[1]) if headers[0] and not number else ((), 0)
        if words := _blob(memory, address):
            voters.append(Voter(address, image, words, told))
    if not voters or any(v.word(REAL) != v.address for v in voters):
        return None
    phdr = _vote(voters, range(600, 900, 8), _is_phdr)
    if phdr is None:
        return None
    lists = {v.address + phdr + at for v in voters for at in (SEARCHLIST, SYMBOLIC)}
    scope = _vote(
        voters,
        range(phdr + 128, phdr + 320, 8),
        lambda v, at: _is_scope(memory, v, at, phdr, lists),
    )
    map_start = tls = relro = nodelete = None
    if scope is not None:
        # l_map_end behind it; l_text_end stood between that and l_scope_mem up to 2.40
        map_start = _vote(voters, (scope - 64, scope - 56), _is_map_start)
        tls = _vote(voters, range(scope + 64, scope + 320, 8), _is_tls)
    if tls is not None:
        # the word in front of it varies: l_relro_addr follows l_tls_dtor_count, if there is one
        relro = _vote(voters, range(tls + 56, tls + 80, 8), _is_relro)
    if map_start is not None and map_start - phdr >= 168:
        nodelete = phdr + FLAGS + 3  # the two bytes made the struct 8 longer (glibc 2.31)
    global_bit = _global_bit(voters[0], phdr)
    return Layout(phdr, scope, map_start, tls, relro, global_bit, nodelete)


def _blob(memory: Memory, address: int) -> tuple[int, ...]:
    """The words of a link_map; fewer when it is at the end of its mapping."""
    for size in range(_BLOB, _LEAST, -8):
        try:
            return read_words(memory, address, size // 8)
        except Unreadable:
            continue
    return ()


def _vote(
    voters: Sequence[Voter],
    offsets: Sequence[int],
    holds: Callable[[Voter, int], bool | None],
) -> int | None:
    """The offset that most voters confirm, if more than half of those who can tell do.

    `holds` says True or False, or None when this object cannot tell.
    """
    votes: Counter[int] = Counter()
    able = 0
    for voter in voters:
        answers = [holds(voter, offset) for offset in offsets]
        if all(answer is None for answer in answers):
            continue
        able += 1
        votes.update(offset for offset, answer in zip(offsets, answers) if answer)
    if not votes:
        return None
    best, count = votes.most_common(1)[0]
    return best if 2 * count > able else None


def _is_phdr(voter: Voter, at: int) -> bool | None:
    places, count = voter.headers
    if not places:
        return None
    return voter.word(at) in places and voter.word(at + PHNUM) & 0xFFFF == count


def _phdr_addresses(image: Image) -> tuple[int, ...]:
    """Where the program headers are: in the loaded segments, or a copy that ld.so made."""
    offset = image.header.phoff
    return tuple(
        image.bias + s.vaddr + offset - s.offset
        for s in image.loads
        if s.offset <= offset < s.offset + s.filesz
    )


def _is_scope(memory: Memory, voter: Voter, at: int, phdr: int, lists: set[int]) -> bool | None:
    if voter.word(at + LOCAL_SCOPE) != voter.address + phdr + SEARCHLIST:
        return False
    if not 4 <= voter.word(at - 8) <= MOST_SCOPES:
        return False
    try:
        return read_words(memory, voter.word(at), 1)[0] in lists
    except Unreadable:
        return False


def _is_map_start(voter: Voter, at: int) -> bool | None:
    start, end = voter.word(at), voter.word(at + 8)
    if voter.image is None:  # an object's dynamic section is in its memory
        return start % PAGE == 0 and start <= voter.word(_LD) < end
    return start // PAGE * PAGE == voter.image.start and start < end <= voter.image.end


def _is_tls(voter: Voter, at: int) -> bool | None:
    segment = voter.image.segment(PT_TLS) if voter.image else None
    if voter.image is None or segment is None or not segment.memsz:
        return None
    image = voter.image.bias + segment.vaddr
    # l_tls_firstbyte_offset behind these holds another number once a dlopened object got static
    # TLS on ARM64 (glibc, elf/dl-reloc.c, _dl_try_allocate_static_tls).
    found = tuple(voter.word(at + 8 * i) for i in range(4))
    return found == (image, segment.filesz, segment.memsz, segment.align)


def _is_relro(voter: Voter, at: int) -> bool | None:
    segment = voter.image.segment(PT_GNU_RELRO) if voter.image else None
    if segment is None:
        return None
    return (voter.word(at), voter.word(at + 8)) == (segment.vaddr, segment.memsz)


def _global_bit(main: Voter, phdr: int) -> int | None:
    """Bit 5 from glibc 2.36 on, when l_dt_relr_ref took bit 2; 4 before. Main is always global."""
    flags = main.word(phdr + FLAGS - 4) >> 32
    if flags & 0x20:
        return 5
    return 4 if flags & 0x10 else None
