"""weak_version.py SOURCE TARGET VERSION: a copy of a library that requires VERSION weakly.

GNU ld 2.40 marks no required version as weak, even if every reference to it is weak. With
VER_FLG_WEAK in vna_flags ld.so only warns of a missing version (LSB core, symbol versioning).
"""

import struct
import sys
from pathlib import Path

DT_STRTAB, DT_VERNEED, DT_VERNEEDNUM, VER_FLG_WEAK = 5, 0x6FFFFFFE, 0x6FFFFFFF, 2
PT_LOAD, PT_DYNAMIC = 1, 2


def main(source: str, target: str, version: str) -> None:
    data = bytearray(Path(source).read_bytes())
    (phoff,) = struct.unpack_from("<Q", data, 32)
    (phnum,) = struct.unpack_from("<H", data, 56)
    headers = [struct.unpack_from("<IIQQQQQQ", data, phoff + 56 * i) for i in range(phnum)]
    loads = [h for h in headers if h[0] == PT_LOAD]

    def place(address: int) -> int:
        return next(a - v + address for _, _, a, v, _, size, *_ in loads if v <= address < v + size)

    (dynamic,) = (h for h in headers if h[0] == PT_DYNAMIC)
    entries = dict(struct.iter_unpack("<QQ", data[dynamic[2] : dynamic[2] + dynamic[5]]))
    strings, at = place(entries[DT_STRTAB]), place(entries[DT_VERNEED])
    marked = 0
    for _ in range(entries[DT_VERNEEDNUM]):
        _, count, _, aux, following = struct.unpack_from("<HHIII", data, at)
        aux_at = at + aux
        for _ in range(count):
            _, flags, _, name, after = struct.unpack_from("<IHHII", data, aux_at)
            end = data.index(b"\0", strings + name)
            if data[strings + name : end] == version.encode():
                struct.pack_into("<H", data, aux_at + 4, flags | VER_FLG_WEAK)
                marked += 1
            aux_at += after
        at += following
    assert marked == 1, f"{version} is required {marked} times"
    Path(target).write_bytes(data)
    Path(target).chmod(0o755)


main(*sys.argv[1:])
