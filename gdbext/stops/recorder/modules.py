"""The modules of a traced process as they come and go, kept up to date with a few small reads.

Walking the link_map chain of 500 libraries at each dlopen would take longer than GDB itself does.
glibc keeps the number of each namespace's entries beside the head of its chain (`_ns_nloaded`
behind `_ns_loaded` in `_rtld_global._dl_ns[]`, sysdeps/generic/ldsodefs.h); it is found by its
value. If the number agrees with the known entries, the tail that was added or the one entry
that was taken out, nothing else can have changed; else the whole chain is walked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from gdbext.elf.core import decode_path
from gdbext.elf.image import Image, read_image
from gdbext.elf.notes import find_build_id, read_build_id
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory, read_word, read_words
from gdbext.elf.symbols import read_dynamic_symbols
from gdbext.inferior import Inferior
from gdbext.linker.loaded.images import linker_image, main_image
from gdbext.linker.loaded.linkmaps import LinkMap, read_entry, read_namespaces
from gdbext.linker.loaded.modules import Module
from gdbext.linker.loaded.rendezvous import find_r_debug
from gdbext.linker.process.regions import region_finder

_MOST_NEW = 10_000
_MOST_SEEN = 4096


class Record(NamedTuple):
    """A module, loaded or gone: addresses of its first byte and behind its last one."""

    map: LinkMap
    namespace: int
    path: str
    start: int
    end: int
    bias: int
    build_id: str | None
    image: Image | None

    @property
    def key(self) -> tuple[str, str | None, int]:
        """What stays the same when the same file comes to the same place again."""
        return self.path, self.build_id, self.bias


class _Seen(NamedTuple):
    """A module of an earlier visit: it is here again if its notes with the build-id are."""

    record: Record
    address: int
    notes: bytes


def linker_record(inferior: Inferior) -> Record | None:
    """ld.so before it has made any list: musl's holds dlopen, and GDB announces nothing else."""
    image = linker_image(inferior)
    if image is None:
        return None
    region = region_finder(inferior.regions())(image.start)
    path = region.path if region is not None and region.path else "ld.so"
    build_id = read_build_id(inferior.memory, image)
    link_map = LinkMap(0, image.bias, path.encode(), image.dynamic_address or 0, 0, 0)
    return Record(link_map, 0, path, image.start, image.end, image.bias, build_id, image)


class ModuleBook:
    """The modules of one process, the live ones by link_map."""

    def __init__(self) -> None:
        self.live: dict[int, Record] = {}  # in the order of the chains
        self._order: list[int] = []  # those of the base namespace
        self._others = False  # there is a second namespace: always walk
        self._counter: int | None = None  # the address of _ns_nloaded
        self._seen: dict[tuple[bytes | None, int, int], _Seen] = {}
        self._starts: list[int] = []
        self._sorted: list[Record] = []
        self.generation = 0

    @property
    def several(self) -> bool:
        """Whether there is another namespace than the base one."""
        return self._others

    def owner(self, address: int) -> Record | None:
        """The live module that holds an address."""
        place = bisect_right(self._starts, address) - 1
        if place < 0 or address >= self._sorted[place].end:
            return None
        return self._sorted[place]

    def refresh(
        self, memory: Memory, opened: int | None = None, closed: int | None = None
    ) -> tuple[Sequence[Record], Sequence[Record]]:
        """(came, went) since the last look; `opened` is the link_map that dlopen gave, `closed`
        the one that dlclose was given."""
        if self._others or self._counter is None:
            return self.walk()
        try:
            more = (read_word(memory, self._counter) & 0xFFFFFFFF) - len(self._order)
            if closed is None or closed not in self.live:
                fresh = self._tail(memory, opened if more == 1 else None) if more > 0 else []
                if more == len(fresh):
                    return self._change(memory, fresh, []), []
            elif more == 0:
                return [], []
            elif more == -1 and self._is_out(memory, closed):
                gone = self.live[closed]
                return self._change(memory, [], [closed]), [gone]
        except Unreadable:
            pass  # the chain is not what it was: look at all of it
        return self.walk()

    def _tail(self, memory: Memory, guess: int | None) -> list[LinkMap]:
        """The entries behind the last known one; `guess` is perhaps the only one."""
        if guess and guess not in self.live:
            entry = read_entry(memory, guess)
            if entry.l_prev == self._order[-1] and not entry.l_next:
                return [entry]
        found: list[LinkMap] = []
        address = read_words(memory, self._order[-1], 5)[3]
        while address and address not in self.live and len(found) < _MOST_NEW:
            found.append(read_entry(memory, address))
            address = found[-1].l_next
        return found

    def _is_out(self, memory: Memory, address: int) -> bool:
        place = self._order.index(address)
        following = self._order[place + 1] if place + 1 < len(self._order) else 0
        return bool(place) and read_words(memory, self._order[place - 1], 4)[3] == following

    def walk(self) -> tuple[Sequence[Record], Sequence[Record]]:
        """The same by walking every namespace; nothing where there are none yet."""
        try:
            inferior = Inferior()
            main, _ = main_image(inferior)
            r_debug = find_r_debug(inferior, main)
            linker = linker_image(inferior)
            namespaces = read_namespaces(inferior.memory, r_debug, linker)
        except Problem:
            return [], []
        if any(n.damage for n in namespaces) or not namespaces:
            return [], []
        now = {m.address: (m, n.index) for n in namespaces for m in n.maps}
        went = [
            r
            for a, r in self.live.items()
            if a not in now or (now[a][0].l_addr, now[a][0].l_ld) != (r.map.l_addr, r.map.l_ld)
        ]
        for record in went:
            del self.live[record.map.address]
        fresh = [pair for a, pair in now.items() if a not in self.live]
        came = [self._describe(inferior.memory, inferior, *pair) for pair in fresh]
        self.live.update((record.map.address, record) for record in came)
        self.live = {a: self.live[a] for a in now}
        self._order = [m.address for m in namespaces[0].maps]
        self._others = len(namespaces) > 1
        self._counter = self._find_counter(inferior.memory, linker)
        self._index()
        return came, went

    def _find_counter(self, memory: Memory, linker: Image | None) -> int | None:
        """The address of _ns_nloaded: behind the head of the chain, and equal to its length."""
        try:
            symbols = read_dynamic_symbols(memory, linker) if linker else None
            for index in symbols.indices_by_name.get(b"_rtld_global", ()) if symbols else ():
                entry = symbols.entry(index) if symbols else None
                if entry and linker and 0 < entry.size <= linker.room(linker.bias + entry.value):
                    start = linker.bias + entry.value
                    words = read_words(memory, start, entry.size // 8)
                    for place, (head, count) in enumerate(zip(words, words[1:])):
                        if head == self._order[0] and count & 0xFFFFFFFF == len(self._order):
                            return start + 8 * place + 8
        except Problem:
            pass  # musl, or tables that cannot be read
        return None

    def _change(
        self, memory: Memory, fresh: Sequence[LinkMap], gone: Sequence[int]
    ) -> list[Record]:
        if not fresh and not gone:
            return []
        came = [self._describe(memory, None, link_map, 0) for link_map in fresh]
        for address in gone:
            self._order.remove(address)
            self._take_out(self.live.pop(address))
        for record in came:
            self.live[record.map.address] = record
            self._order.append(record.map.address)
            self._put_in(record)
        self.generation += 1
        return came

    def _index(self) -> None:
        self._sorted = sorted((r for r in self.live.values() if r.end), key=lambda r: r.start)
        self._starts = [r.start for r in self._sorted]
        self.generation += 1

    def _put_in(self, record: Record) -> None:
        if record.end:
            place = bisect_right(self._starts, record.start)
            self._starts.insert(place, record.start)
            self._sorted.insert(place, record)

    def _take_out(self, record: Record) -> None:
        place = bisect_right(self._starts, record.start) - 1
        if place >= 0 and self._sorted[place] is record:
            del self._starts[place], self._sorted[place]
        elif record.end:
            self._index()  # two that begin at one place

    def _describe(
        self, memory: Memory, inferior: Inferior | None, link_map: LinkMap, namespace: int
    ) -> Record:
        """Its record; the one of an earlier visit if the build-id there is still the same."""
        key = (link_map.l_name, link_map.l_addr, link_map.l_ld)
        seen = self._seen.get(key)
        if seen is not None and memory.read(seen.address, len(seen.notes)) == seen.notes:
            return seen.record._replace(map=link_map, namespace=namespace)
        image, path = self._image(memory, inferior, link_map)
        record = Record(
            link_map,
            namespace,
            path,
            image.start if image else 0,
            image.end if image else 0,
            image.bias if image else link_map.l_addr,
            read_build_id(memory, image) if image else None,
            image,
        )
        place = find_build_id(memory, image) if image else None
        if place is not None:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[key] = _Seen(record, *place)
        return record

    def _image(
        self, memory: Memory, inferior: Inferior | None, link_map: LinkMap
    ) -> tuple[Image | None, str]:
        name = decode_path(link_map.l_name) if link_map.l_name else ""
        image: Image | None = None
        try:
            image = read_image(memory, link_map.l_addr)
        except Problem:
            inferior = inferior or Inferior()
            main = main_image(inferior)[0]
            if main is not None and main.dynamic_address == link_map.l_ld:
                image = main
        if not name.startswith("/") and image is not None:
            inferior = inferior or Inferior()
            region = inferior.region_from(image.start)
            if region is not None and (region.path or "").startswith("/"):
                name = region.path or name
            elif not self.live and not name:
                name = inferior.main_path() or name
        return image, name or "?"

    def module(self, record: Record, memory: Memory) -> Module:
        """The record as what reads symbol tables wants it."""
        return Module(
            record.map, record.namespace, record.path, record.path, "", record.image, None, None,
            memory,
        )  # fmt: skip
