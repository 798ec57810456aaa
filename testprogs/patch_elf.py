"""Copy a shared library with changes that today's linker does not make.

Usage: patch_elf.py FROM TO CHANGE...

symbolic            set DF_SYMBOLIC; the file needs a DT_FLAGS (ld -z origin)
NAME.bind=N         the binding of a dynamic symbol (0 local, 1 global, 2 weak)
NAME.type=N         its type (0 none, 1 object, 2 function, 3 section, 4 file, 5 common, 6 TLS)
NAME.visibility=N   its visibility (0 default, 1 internal, 2 hidden, 3 protected)
NAME.value=N        its value
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

PT_LOAD, PT_DYNAMIC = 1, 2
DT_NULL, DT_STRTAB, DT_SYMTAB, DT_FLAGS = 0, 5, 6, 30
DF_ORIGIN, DF_SYMBOLIC = 1, 2
SYMBOL_SIZE = 24


class Library:
    """The bytes of one 64-bit ELF file; section headers are not used."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        (at,) = struct.unpack_from("<Q", data, 32)  # e_phoff
        size, number = struct.unpack_from("<HH", data, 54)  # e_phentsize, e_phnum
        headers = [struct.unpack_from("<IIQQQQ", data, at + size * n) for n in range(number)]
        self.loads = [(h[3], h[2], h[5]) for h in headers if h[0] == PT_LOAD]
        self.dynamic = next(h[2] for h in headers if h[0] == PT_DYNAMIC)

    def offset(self, address: int) -> int:
        """Where the file has what is at ADDRESS."""
        return next(o + address - v for v, o, size in self.loads if v <= address < v + size)

    def entry(self, tag: int) -> int:
        """The file offset of the dynamic entry TAG's value."""
        at = self.dynamic
        while (found := struct.unpack_from("<Q", self.data, at)[0]) != tag:
            assert found != DT_NULL, f"there is no dynamic entry {tag}"
            at += 16
        return at + 8

    def value(self, tag: int) -> int:
        """The value of the dynamic entry TAG."""
        value: int = struct.unpack_from("<Q", self.data, self.entry(tag))[0]
        return value

    def symbol(self, name: str) -> int:
        """The file offset of a dynamic symbol. ld puts .dynstr right behind .dynsym."""
        strings = self.offset(self.value(DT_STRTAB))
        for at in range(self.offset(self.value(DT_SYMTAB)), strings, SYMBOL_SIZE):
            (start,) = struct.unpack_from("<I", self.data, at)
            if self.data[strings + start :].split(b"\0", 1)[0] == name.encode():
                return at
        raise SystemExit(f"there is no dynamic symbol {name}")

    def change(self, what: str) -> None:
        """Make one change of the command line."""
        if what == "symbolic":
            flags = self.value(DT_FLAGS) & ~DF_ORIGIN | DF_SYMBOLIC
            struct.pack_into("<Q", self.data, self.entry(DT_FLAGS), flags)
            return
        place, _, number = what.partition("=")
        name, _, field = place.rpartition(".")
        at, value = self.symbol(name), int(number, 0)
        if field == "bind":
            self.data[at + 4] = self.data[at + 4] & 15 | value << 4
        elif field == "type":
            self.data[at + 4] = self.data[at + 4] & 240 | value
        elif field == "visibility":
            self.data[at + 5] = value
        else:
            assert field == "value", f"no such change: {what}"
            struct.pack_into("<Q", self.data, at + 8, value)


def main(arguments: list[str]) -> int:
    """Read ARGUMENTS[0], write ARGUMENTS[1] with the changes."""
    source, target = Path(arguments[0]), Path(arguments[1])
    library = Library(source.read_bytes())
    for change in arguments[2:]:
        library.change(change)
    target.write_bytes(library.data)
    target.chmod(source.stat().st_mode)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
