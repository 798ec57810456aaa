"""The addresses that an instruction accesses, from its text and the registers.

Needed where nobody says si_addr: qemu-user's stub, and the general protection faults of x86-64.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

ReadRegister = Callable[[str], "int | None"]
_MASK = (1 << 64) - 1

_X86_64 = re.compile(
    r"(?P<segment>%[cdefgs]s:)?(?P<displacement>-?0x[0-9a-f]+)?"
    r"\((?:%(?P<base>\w+))?(?:,%(?P<index>\w+)(?:,(?P<scale>[1248]))?)?\)"
)
_X86_64_PLAIN = re.compile(r"(?<![$\w-])(?P<segment>%[cdefgs]s:)?(?P<displacement>0x[0-9a-f]+)\b")
_COMMENT = re.compile(r"\s+# (0x[0-9a-f]+)")  # objdump's: where a %rip-relative operand leads
# What only computes an address, or hints (prefetches never fault), or adds more than its text says
# to the address that it shows.
_X86_64_UNTOLD = re.compile(r"lea[wlq]? |nop|prefetch|endbr|xlat|bt[src]?[wlq]? +%")
_X86_64_PREFIXES = re.compile(
    r"^(?:(?:rep[nz]*|lock|bnd|notrack|data16|xacquire|xrelease|rex[.WRXB]*|[cdefgs]s)\s+)*"
)

_AARCH64 = re.compile(
    r"\[(?P<base>x\d+|sp)(?:, #(?P<displacement>-?(?:0x)?[0-9a-f]+)"
    r"|, (?P<index>[xw](?:\d+|zr))(?:, (?P<extend>lsl|uxtw|sxtw|sxtx)(?: #(?P<shift>\d))?)?)?\]"
)
_AARCH64_CACHE = re.compile(r"^(?:dc|ic)\s+\w+, (x\d+)")
_AARCH64_LITERAL = re.compile(r"^ldr(?:sw)?\s+[wxsdq]\d+, (0x[0-9a-f]+)")
_AARCH64_HARMLESS = ("prfm", "prfum", "ldraa", "ldrab")  # hints; and signed bases


def x86_64_operands(text: str, read: ReadRegister) -> list[int]:
    """The memory operands of an instruction in AT&T syntax; without one, what it does to the
    stack."""
    text = _X86_64_PREFIXES.sub("", text.strip())
    mnemonic = text.split(None, 1)[0] if text else ""
    if _X86_64_UNTOLD.match(text):
        return []
    found: list[int | None] = []
    for match in _X86_64.finditer(text.partition(" #")[0]):
        if match["base"] == "rip":
            comment = _COMMENT.search(text)
            found.append(int(comment[1], 16) if comment else None)
        else:
            found.append(_x86_64_address(match, read))
    if not found and not _is_branch(mnemonic):
        plain = _X86_64_PLAIN.search(text.partition(" #")[0])
        if plain is not None:
            base = _segment(plain["segment"], read)
            found.append(None if base is None else base + int(plain["displacement"], 16))
    if not found:
        found.append(_on_stack(mnemonic, read))
    return [address & _MASK for address in found if address is not None]


def _x86_64_address(match: re.Match[str], read: ReadRegister) -> int | None:
    total = _segment(match["segment"], read)
    narrow = False
    for name, scale in ((match["base"], 1), (match["index"], int(match["scale"] or 1))):
        if name is None or name in ("riz", "eiz"):
            continue
        value = read(name)
        if value is None or total is None or name[1:3] == "mm":  # a vector of indices
            return None
        total += value * scale
        narrow = narrow or name[0] == "e" or name.endswith("d")
    if total is None:
        return None
    total += int(match["displacement"] or "0", 16)
    return total & 0xFFFFFFFF if narrow else total


def _segment(segment: str | None, read: ReadRegister) -> int | None:
    """The base of `%fs:` or `%gs:`; those of the others are zero on x86-64."""
    if segment is None or segment[1] not in "fg":
        return 0
    return read(f"{segment[1]}s_base")


def _is_branch(mnemonic: str) -> bool:
    return mnemonic.startswith(("j", "call", "loop", "xbegin"))


def _on_stack(mnemonic: str, read: ReadRegister) -> int | None:
    """What an instruction without a memory operand accesses: the stack, if anything."""
    if mnemonic.startswith(("push", "call", "enter")):
        top = read("rsp")
        return None if top is None else top - 8
    if mnemonic.startswith(("pop", "ret", "iret")):
        return read("rsp")
    return read("rbp") if mnemonic.startswith("leave") else None


def jumps_through(text: str, read: ReadRegister) -> tuple[str, int] | None:
    """Where an indirect jump, call or return of x86-64 takes its target from.

    ("value", target) when it is in a register, ("slot", address) when it is in memory. x86-64
    faults at the jump itself when the target is non-canonical.
    """
    text = _X86_64_PREFIXES.sub("", text.strip())
    mnemonic, _, rest = text.partition(" ")
    if mnemonic.startswith("ret"):
        top = read("rsp")
        return None if top is None else ("slot", top)
    if not mnemonic.startswith(("call", "jmp")) or not rest.lstrip().startswith("*"):
        return None
    register = re.fullmatch(r"\*%(\w+)", rest.strip())
    if register is not None:
        value = read(register[1])
        return None if value is None else ("value", value)
    operands = x86_64_operands(text, read)
    return ("slot", operands[0]) if operands else None


def needs_alignment(text: str) -> bool:
    """Whether an x86-64 instruction faults on an operand that is not aligned: those of SSE."""
    mnemonic = (_X86_64_PREFIXES.sub("", text.strip()).split(None, 1) or [""])[0]
    if mnemonic.startswith("v"):
        return re.match(r"vmov(?:aps|apd|dqa|nt)", mnemonic) is not None
    unaligned = ("movu", "movdqu", "lddqu", "movs", "movl", "movh", "movq", "movd")
    return "%xmm" in text and (mnemonic == "movdqa" or not mnemonic.startswith(unaligned))


def is_canonical(address: int) -> bool:
    """Whether x86-64 can use an address at all: with five-level paging it has 57 bits."""
    return address < 1 << 56 or address >= (1 << 64) - (1 << 56)


def aarch64_operands(text: str, read: ReadRegister) -> list[int]:
    """The memory operands of an ARM64 instruction; a post-index does not move the access."""
    text = text.strip()
    if text.startswith(_AARCH64_HARMLESS):
        return []
    special = _AARCH64_CACHE.match(text)
    if special is not None:
        value = read(special[1])
        return [] if value is None else [value]
    literal = _AARCH64_LITERAL.match(text)
    if literal is not None:
        return [int(literal[1], 16)]
    found = [_aarch64_address(match, read) for match in _AARCH64.finditer(text)]
    return [address & _MASK for address in found if address is not None]


def _aarch64_address(match: re.Match[str], read: ReadRegister) -> int | None:
    base = read(match["base"])
    if base is None or match["index"] is None:
        return None if base is None else base + int(match["displacement"] or "0", 0)
    index = 0 if match["index"][1:] == "zr" else read("x" + match["index"][1:])
    if index is None:
        return None
    if match["index"].startswith("w"):
        index &= 0xFFFFFFFF
        if match["extend"] == "sxtw" and index >> 31:
            index -= 1 << 32
    return base + (index << int(match["shift"] or 0))


JUMPS: dict[str, Callable[[str, ReadRegister], tuple[str, int] | None]] = {
    "x86-64": jumps_through,  # ARM64 faults at the target, not at the jump
}
OPERANDS: dict[str, Callable[[str, ReadRegister], Sequence[int]]] = {
    "x86-64": x86_64_operands,
    "aarch64": aarch64_operands,
}
