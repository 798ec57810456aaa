"""Where to break: the functions that are recorded, and the `ret` instructions that end them.

A breakpoint on each `ret` of dlopen catches every return with one breakpoint that stays where it
is. A breakpoint at each return address would be one for every caller, GDB would set each of
them anew whenever a library comes or goes, and one in a plugin that is gone would damage what
is mapped there next. In glibc 2.31 to 2.43 and musl, x86-64 and ARM64, each of the functions has
one `ret`; its other ways out are jumps for statically linked programs, or lead to another
function of the same library, which is searched as well (musl: dlclose, dlsym).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import gdb

from gdbext.elf.problem import Problem
from gdbext.elf.reader import Memory
from gdbext.elf.symbols import read_dynamic_symbols
from gdbext.elf.unwind import Functions
from gdbext.stops.recorder.modules import Record

_LARGEST = 1 << 14  # bytes of one function
_MOST_JUMPS = 4
# soname or file name, as each libc calls what holds these functions
HOLDERS = ("libc.so", "libdl.so", "libpthread.so", "ld-musl-", "libc.musl-")
LINKERS = ("ld-linux", "ld.so", "ld-")
_RETURNS = {
    "i386:x86-64": (b"\xc3", b"\xf3\xc3", b"\xf2\xc3"),
    # ret, retaa, retab (Arm ARM C6.2)
    "aarch64": (b"\xc0\x03\x5f\xd6", b"\xff\x0b\x5f\xd6", b"\xff\x0f\x5f\xd6"),
}


class Site(NamedTuple):
    """A function: its entry and its returns."""

    name: str
    entry: int
    returns: tuple[int, ...]


def holds(path: str, names: tuple[str, ...]) -> bool:
    """Whether a file is one of the libraries that these names begin."""
    return path.rpartition("/")[2].startswith(names)


def find_entries(memory: Memory, record: Record, names: frozenset[str]) -> dict[int, str]:
    """{address: name} of the functions that a module defines, several versions at one address."""
    image = record.image
    found: dict[int, str] = {}
    if image is None:
        return found
    try:
        symbols = read_dynamic_symbols(memory, image)
        for name in sorted(names):
            for index in symbols.indices_by_name.get(name.encode(), ()):
                entry = symbols.entry(index)
                if entry.shndx and entry.value:
                    found.setdefault(entry.address(image.bias), name)
    except Problem:
        pass  # its tables cannot be read: it has nothing to offer
    return found


def find_site(memory: Memory, record: Record, entry: int, name: str) -> Site:
    """The function at `entry` of a module with its returns."""
    returns: dict[int, None] = {}
    functions = Functions(memory, record.image) if record.image else None
    todo: list[int] = [entry]
    seen: set[int] = set()
    while todo and len(seen) < _MOST_JUMPS:
        start = todo.pop(0)
        if start in seen:
            continue
        seen.add(start)
        end = _end(functions, memory, record, start)
        for address, code in _instructions(start, end):
            if code in _RETURNS.get(_arch_name(), ()):
                returns[address] = None
            target = _jump(address, code)
            outside = target is not None and not start <= target < end
            if target is not None and outside and record.start <= target < record.end:
                todo.append(target)
    return Site(name, entry, tuple(returns))


def _arch_name() -> str:
    return str(gdb.selected_inferior().architecture().name())


def _end(functions: Functions | None, memory: Memory, record: Record, start: int) -> int:
    """Behind the function that begins at `start`: by the unwind tables, by its symbol, by flow."""
    found = functions.find(start) if functions else None
    if found is not None and found.start == start and found.end is not None:
        return min(found.end, start + _LARGEST)
    try:
        symbols = read_dynamic_symbols(memory, record.image) if record.image else None
        index = symbols.exports.get(start - record.bias) if symbols else None
        size = symbols.entry(index).size if symbols and index is not None else 0
    except Problem:
        size = 0
    return start + min(size, _LARGEST) if size > 8 else _end_by_flow(start, record.end)


def _end_by_flow(start: int, limit: int) -> int:
    """Behind the first return or jump away that no earlier jump leads past (musl's internals)."""
    furthest = start
    returns = _RETURNS.get(_arch_name(), ())
    for address, code in _instructions(start, min(start + _LARGEST, limit)):
        target = _branch(address, code)
        if target is not None and start <= target < start + _LARGEST:
            furthest = max(furthest, target)
        ends = code in returns or _jump(address, code) is not None
        if ends and address >= furthest:
            return address + len(code)
    return start


def _instructions(start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """(address, bytes) of each instruction; GDB's disassembler says how long they are."""
    if end <= start:
        return
    inferior = gdb.selected_inferior()
    try:
        data = bytes(inferior.read_memory(start, end - start))
        rows = inferior.architecture().disassemble(start, end - 1)
    except gdb.error:
        return
    for row in rows:
        at = int(row["addr"]) - start
        yield int(row["addr"]), data[at : at + int(row["length"])]


def _jump(address: int, code: bytes) -> int | None:
    """The target of an unconditional direct jump: `jmp rel8`, `jmp rel32`, `b`."""
    if _arch_name() == "aarch64":
        word = int.from_bytes(code, "little")
        return address + _signed(word, 26) * 4 if word & 0xFC000000 == 0x14000000 else None
    if (len(code) == 2 and code[0] == 0xEB) or (len(code) == 5 and code[0] == 0xE9):
        return address + len(code) + int.from_bytes(code[1:], "little", signed=True)
    return None


def _branch(address: int, code: bytes) -> int | None:
    """The target of any direct jump inside a function, conditional or not."""
    if _arch_name() == "aarch64":
        word = int.from_bytes(code, "little")
        if word & 0xFF000010 == 0x54000000 or word & 0x7E000000 == 0x34000000:  # b.cond, cbz
            return address + _signed(word >> 5, 19) * 4
        if word & 0x7E000000 == 0x36000000:  # tbz, tbnz
            return address + _signed(word >> 5, 14) * 4
        return _jump(address, code)
    if len(code) == 2 and 0x70 <= code[0] <= 0x7F:
        return address + 2 + int.from_bytes(code[1:], "little", signed=True)
    if len(code) == 6 and code[0] == 0x0F and code[1] & 0xF0 == 0x80:
        return address + 6 + int.from_bytes(code[2:], "little", signed=True)
    return _jump(address, code)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
