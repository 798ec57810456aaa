"""glibc's private link_map fields, located by self-validation.

No version table can do this: distributions backport fields within one version (Debian's 2.36
has two layouts). Instead each group of fields is found by what it must hold: the program
headers' address, a pointer to the object itself, the mapped range, the TLS segment's numbers.
Every object votes, and a group that no majority confirms stays unknown.
Sources: glibc, include/link.h (struct link_map), elf/dl-object.c, elf/dl-load.c.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gdbext.elf.image import PT_GNU_RELRO, PT_TLS, Image
from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import PAGE, Memory, read_string, read_word, read_words

_BLOB = 1400  # more than any known sizeof(struct link_map)
_LEAST = 1000
_MOST_VOTERS = 64
_MOST_NAMES = 64
_MOST_SCOPES = 4096
_LONGEST_LIST = 65536
_REAL, _NS, _LIBNAME = 40, 48, 56  # the same in every glibc
# offsets from P, the place of l_phdr
_PHNUM, _SEARCHLIST, _SYMBOLIC, _LOADER, _OPENCOUNT, _FLAGS = 16, 24, 40, 56, 112, 116
# offsets from S, the place of l_scope
_LOCAL_SCOPE, _FILE_ID, _INITFINI = 8, 24, 56
# offsets from T, the place of l_tls_initimage
_TLS_OFFSET, _TLS_MODID = 40, 48
LT_EXECUTABLE, LT_LIBRARY, LT_LOADED = 0, 1, 2


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
class Private:
    """The private fields of one link_map; None is unknown. Addresses are absolute.

    `type` is LT_*; `libname`, `scopes`, `searchlist` and `initfini` are where the lists start
    that read_names(), read_scopes(), … follow. `tls_offset` is as in the field: 0 none, -1
    dynamic.
    """

    real: int
    libname: int
    type: int
    relocated: bool | None
    init_called: bool | None
    is_global: bool | None
    nodelete: bool | None
    open_count: int
    loader: int
    phdr: int
    searchlist: tuple[int, int]
    scopes: int | None
    local_scope: int
    file_id: tuple[int, int] | None
    initfini: int | None
    map_start: int | None
    map_end: int | None
    tls_modid: int | None
    tls_offset: int | None


@dataclass(frozen=True)
class Voter:
    """A link_map with the image that it stands for; `words` are its first _BLOB bytes."""

    address: int
    image: Image
    words: tuple[int, ...]

    def word(self, offset: int) -> int:
        return self.words[offset // 8] if offset // 8 < len(self.words) else 0


def locate(memory: Memory, objects: Sequence[tuple[int, Image]]) -> Layout | None:
    """Find the layout from (link_map address, image) pairs, main first; None if it is not glibc's.

    Objects whose l_real is not themselves (ld.so in other namespaces) must not be among them.
    """
    voters = [
        Voter(address, image, words)
        for address, image in objects[:_MOST_VOTERS]
        if (words := _blob(memory, address))
    ]
    if not voters or any(v.word(_REAL) != v.address for v in voters):
        return None
    phdr = _vote(voters, range(600, 900, 8), _is_phdr)
    if phdr is None:
        return None
    lists = {v.address + phdr + at for v in voters for at in (_SEARCHLIST, _SYMBOLIC)}
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
        nodelete = phdr + _FLAGS + 3  # the two bytes made the struct 8 longer (glibc 2.31)
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
    image = voter.image
    count = len(image.segments)
    return voter.word(at) in _phdr_addresses(image) and voter.word(at + _PHNUM) & 0xFFFF == count


def _phdr_addresses(image: Image) -> tuple[int, ...]:
    """Where the program headers are: in the loaded segments, or a copy that ld.so made."""
    offset = image.header.phoff
    return tuple(
        image.bias + s.vaddr + offset - s.offset
        for s in image.loads
        if s.offset <= offset < s.offset + s.filesz
    )


def _is_scope(memory: Memory, voter: Voter, at: int, phdr: int, lists: set[int]) -> bool | None:
    if voter.word(at + _LOCAL_SCOPE) != voter.address + phdr + _SEARCHLIST:
        return False
    if not 4 <= voter.word(at - 8) <= _MOST_SCOPES:
        return False
    try:
        return read_words(memory, voter.word(at), 1)[0] in lists
    except Unreadable:
        return False


def _is_map_start(voter: Voter, at: int) -> bool | None:
    start, end = voter.word(at), voter.word(at + 8)
    return start // PAGE * PAGE == voter.image.start and start < end <= voter.image.end


def _is_tls(voter: Voter, at: int) -> bool | None:
    segment = voter.image.segment(PT_TLS)
    if segment is None or not segment.memsz:
        return None
    image = voter.image.bias + segment.vaddr
    first = segment.vaddr & (segment.align - 1) if segment.align else 0
    found = tuple(voter.word(at + 8 * i) for i in range(5))
    return found == (image, segment.filesz, segment.memsz, segment.align, first)


def _is_relro(voter: Voter, at: int) -> bool | None:
    segment = voter.image.segment(PT_GNU_RELRO)
    if segment is None:
        return None
    return (voter.word(at), voter.word(at + 8)) == (segment.vaddr, segment.memsz)


def _global_bit(main: Voter, phdr: int) -> int | None:
    """Bit 5 from glibc 2.36 on, when l_dt_relr_ref took bit 2; 4 before. Main is always global."""
    flags = main.word(phdr + _FLAGS - 4) >> 32
    if flags & 0x20:
        return 5
    return 4 if flags & 0x10 else None


def read_private(memory: Memory, layout: Layout, address: int) -> Private | None:
    """The private fields of the link_map at `address`; None when it cannot be read."""
    last = max(layout.phdr + 128, (layout.scope or 0) + 64, (layout.tls or 0) + 64)
    try:
        blob = memory.read(address, last)
    except Unreadable:
        return None

    def word(offset: int) -> int:
        return int(struct.unpack_from("<Q", blob, offset)[0])

    phdr, scope, tls = layout.phdr, layout.scope, layout.tls
    flags = word(phdr + _FLAGS - 4) >> 32
    bit = layout.global_bit
    start = layout.map_start
    return Private(
        real=word(_REAL),
        libname=word(_LIBNAME),
        type=flags & 3,
        relocated=bool(flags >> (bit - 2) & 1) if bit else None,
        init_called=bool(flags >> (bit - 1) & 1) if bit else None,
        is_global=bool(flags >> bit & 1) if bit else None,
        nodelete=bool(blob[layout.nodelete]) if layout.nodelete is not None else None,
        open_count=word(phdr + _OPENCOUNT) & 0xFFFFFFFF,
        loader=word(phdr + _LOADER),
        phdr=word(phdr),
        searchlist=(word(phdr + _SEARCHLIST), word(phdr + _SEARCHLIST + 8) & 0xFFFFFFFF),
        scopes=word(scope) if scope is not None else None,
        local_scope=address + phdr + _SEARCHLIST,
        file_id=(word(scope + _FILE_ID), word(scope + _FILE_ID + 8)) if scope is not None else None,
        initfini=word(scope + _INITFINI) if scope is not None else None,
        map_start=word(start) if start is not None else None,
        map_end=word(start + 8) if start is not None else None,
        tls_modid=word(tls + _TLS_MODID) if tls is not None else None,
        tls_offset=_signed(word(tls + _TLS_OFFSET)) if tls is not None else None,
    )


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def read_names(memory: Memory, private: Private) -> tuple[bytes, ...]:
    """The names by which it was asked for, the first one first: l_libname,

    struct libname_list {const char *name; struct libname_list *next; …}."""
    names: list[bytes] = []
    seen: set[int] = set()
    node = private.libname
    while node and node not in seen and len(names) < _MOST_NAMES:
        seen.add(node)
        try:
            text, following = read_words(memory, node, 2)
            names.append(read_string(memory, text))
        except Unreadable:
            break
        node = following
    return tuple(names)


def read_searchlist(memory: Memory, private: Private) -> tuple[int, ...]:
    """The link_maps of its own scope, r_scope_elem {link_map **r_list; unsigned r_nlist;}."""
    at, count = private.searchlist
    if not at or count > _LONGEST_LIST:
        return ()
    try:
        return read_words(memory, at, count)
    except Unreadable:
        return ()


def read_scopes(memory: Memory, private: Private) -> tuple[int, ...] | None:
    """The r_scope_elems that its lookups go through, in order; None when they cannot be read."""
    return _until_null(memory, private.scopes, _MOST_SCOPES) if private.scopes else None


def _until_null(memory: Memory, at: int, most: int) -> tuple[int, ...] | None:
    """A NULL-terminated list of pointers; None when it cannot be read."""
    found: list[int] = []
    while len(found) < most:
        try:
            word = read_word(memory, at + 8 * len(found))
        except Unreadable:
            return None
        if not word:
            break
        found.append(word)
    return tuple(found)
