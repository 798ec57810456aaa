"""What glibc's ld.so keeps about thread-local storage as a whole, located by self-validation.

Sources: glibc, sysdeps/generic/ldsodefs.h (struct rtld_global and rtld_global_ro), elf/dl-tls.c.
The fields moved between the two structs and within them (2.32, 2.34), so nothing is taken by
offset: the list of slots is the pointer whose entries name the very link_maps of the chain, and
the sizes around it must agree with each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.elf.problem import Unreadable
from gdbext.elf.reader import Memory, read_words
from gdbext.linker.tls.tlsmodules import MOST_IDS, TlsModule

_MOST_TRIES = 16  # lists that are read whole, of a damaged process
_MOST_LISTS = 4096
_NUMBERS = 8  # at most so many words stand between the list of slots and the initial DTV
_LARGEST_NUMBER = 1 << 32  # sizes are smaller, pointers are larger


class Slot(NamedTuple):
    """struct dtv_slotinfo: the generation that set it, and the link_map (0: none)."""

    generation: int
    map: int


_NONE = Slot(0, 0)


@dataclass(frozen=True)
class TlsState:
    """The ids in use. `numbers` are the words between the list of slots and the initial DTV."""

    largest_id: int
    generation: int
    slots: Mapping[int, Slot]
    numbers: tuple[int, ...]


class Variables(NamedTuple):
    """The words of `_rtld_global` and `_rtld_global_ro`."""

    words: tuple[int, ...]
    constants: tuple[int, ...]


def find_state(
    memory: Memory, variables: Variables, modules: Sequence[TlsModule]
) -> TlsState | None:
    """Find the list of slots in `_rtld_global`; None when no word of it is that list."""
    words = variables.words
    owners = {m.id: m.module.map.address for m in modules if m.id is not None}
    if not owners:
        return None
    tries = 0
    for index in range(1, len(words) - 3):
        if words[index] < _LARGEST_NUMBER or not max(owners) <= words[index - 1] < MOST_IDS:
            continue
        # what came first is neither on its way in nor out
        oldest = read_slots(memory, words[index], min(owners))
        if oldest is None or oldest.get(min(owners), _NONE).map != owners[min(owners)]:
            continue
        tries += 1
        slots = read_slots(memory, words[index], words[index - 1])
        if slots is None or not _are_slots(slots, owners):
            continue
        state = _with_numbers(words, index, slots)
        if state is not None or tries > _MOST_TRIES:
            return state
    return None


def _with_numbers(words: Sequence[int], index: int, slots: Mapping[int, Slot]) -> TlsState | None:
    """_dl_initial_dtv is the first pointer behind the list, _dl_tls_generation follows it."""
    behind = words[index + 1 : index + 2 + _NUMBERS]
    count = next((i for i, word in enumerate(behind) if word >= _LARGEST_NUMBER), None)
    if count is None or index + 2 + count >= len(words):
        return None
    generation = words[index + 2 + count]
    newest = max((slot.generation for slot in slots.values()), default=0)
    # a dlopen that is under way has set its slots to the next generation already
    if newest > generation + 1 or generation >= _LARGEST_NUMBER:
        return None
    return TlsState(words[index - 1], generation, slots, tuple(behind[:count]))


def _are_slots(slots: Mapping[int, Slot], owners: Mapping[int, int]) -> bool:
    """Most ids lead to their link_map: all but those whose dlopen or dlclose is under way."""
    right = sum(number in slots and slots[number].map == at for number, at in owners.items())
    return 2 * right > len(owners)


def read_slots(memory: Memory, address: int, largest: int) -> dict[int, Slot] | None:
    """The slots of a struct dtv_slotinfo_list {len, next, {gen, map}[len]}, by module id; ids
    run on from one list to the next. None when this is no such list."""
    slots: dict[int, Slot] = {}
    first = 0
    seen: set[int] = set()
    while address and first <= largest and address not in seen and len(seen) < _MOST_LISTS:
        seen.add(address)
        try:
            length, following = read_words(memory, address, 2)
            if not 0 < length < MOST_IDS:
                return None
            count = min(length, largest + 1 - first)
            entries = read_words(memory, address + 16, 2 * count)
        except Unreadable:
            return None
        for number, pair in enumerate(zip(entries[::2], entries[1::2]), first):
            slots[number] = Slot(*pair)
        address, first = following, first + length
    return slots
