"""Variables that an image exports: where they are, and the words in them."""

from __future__ import annotations

from typing import NamedTuple

from gdbext.elf.image import Image
from gdbext.elf.problem import Problem
from gdbext.elf.reader import WORD, Memory, read_words
from gdbext.elf.symbols import SymbolTable, read_dynamic_symbols

_LARGEST = 1 << 16  # bytes; ld.so's `_rtld_global` has some 4,000


class Variable(NamedTuple):
    """`words` are 64-bit and start at `address`."""

    address: int
    words: tuple[int, ...]


def read_variable(
    memory: Memory, image: Image, name: bytes, symbols: SymbolTable | None = None
) -> Variable | None:
    """What .dynsym defines under `name`, by its st_size; None when it is not there or cannot be
    read. `symbols` is the image's .dynsym, if it is known already.
    """
    try:
        table = symbols or read_dynamic_symbols(memory, image)
        for index in table.indices_by_name.get(name, ()):
            entry = table.entry(index)
            address = image.bias + entry.value
            if entry.shndx and 0 < entry.size <= min(image.room(address), _LARGEST):
                return Variable(address, read_words(memory, address, entry.size // WORD))
    except Problem:
        pass  # the tables or the data are damaged, or not in this core
    return None
