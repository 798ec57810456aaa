"""The address that an instruction accesses, from its text and the registers.

Only needed where the target does not say si_addr: qemu-user before 9.0, some stubs.
"""

from __future__ import annotations

import re
from collections.abc import Callable

ReadRegister = Callable[[str], "int | None"]
_X86_64 = re.compile(
    r"(?:%(?P<segment>[fg]s):)?(?P<displacement>-?0x[0-9a-f]+)?"
    r"\((?:%(?P<base>\w+))?(?:,%(?P<index>\w+)(?:,(?P<scale>[1248]))?)?\)"
)
_AARCH64 = re.compile(
    r"\[(?P<base>\w+)(?:, #(?P<displacement>-?(?:0x)?[0-9a-f]+)"
    r"|, (?P<index>[xw]\d+)(?:, (?P<extend>lsl|uxtw|sxtw|sxtx)(?: #(?P<shift>\d))?)?)?\]"
)
_MASK = (1 << 64) - 1


def x86_64_operand(text: str, read: ReadRegister) -> int | None:
    """The memory operand of an instruction in AT&T syntax."""
    match = _X86_64.search(text)
    if match is None or text.startswith(("lea", "nop")):
        return None
    total = int(match["displacement"] or "0", 16)
    terms = [(match["base"], 1), (match["index"], int(match["scale"] or 1))]
    if match["segment"]:
        terms.append((match["segment"] + "_base", 1))
    for name, scale in terms:
        value = read(name) if name else 0
        if value is None or name == "rip":
            return None
        total += value * scale
    return total & _MASK


def aarch64_operand(text: str, read: ReadRegister) -> int | None:
    """The memory operand of an ARM64 instruction; a post-index does not move the access."""
    match = _AARCH64.search(text)
    if match is None:
        return None
    base = read(match["base"])
    if base is None:
        return None
    if match["index"] is None:
        return base + int(match["displacement"] or "0", 0) & _MASK
    index = read("x" + match["index"][1:])
    if index is None:
        return None
    if match["index"].startswith("w"):
        index &= 0xFFFFFFFF
        if match["extend"] == "sxtw" and index >> 31:
            index -= 1 << 32
    return base + (index << int(match["shift"] or 0)) & _MASK


OPERANDS: dict[str, Callable[[str, ReadRegister], int | None]] = {
    "x86-64": x86_64_operand,
    "aarch64": aarch64_operand,
}
