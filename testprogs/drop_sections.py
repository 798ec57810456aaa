"""Copy an ELF file without its section headers, as packers and some protectors leave it.

Usage: drop_sections.py FROM TO
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

# Offsets of Elf64_Ehdr (gABI, "ELF Header").
E_SHOFF = 40
E_SHNUM = 60
E_SHSTRNDX = 62


def without_sections(image: bytes) -> bytes:
    """IMAGE with a header that knows no section header table."""
    header = bytearray(image)
    struct.pack_into("<Q", header, E_SHOFF, 0)
    struct.pack_into("<HH", header, E_SHNUM, 0, 0)
    return bytes(header)


def main(arguments: list[str]) -> int:
    """Read ARGUMENTS[0], write ARGUMENTS[1] with the same mode."""
    source, target = Path(arguments[0]), Path(arguments[1])
    target.write_bytes(without_sections(source.read_bytes()))
    target.chmod(source.stat().st_mode)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
