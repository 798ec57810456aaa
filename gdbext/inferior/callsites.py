"""What tells GDB's true frames from those that it makes up where it has no unwind information."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gdbext.elf.image import PF_X
from gdbext.elf.problem import Unreadable
from gdbext.inferior.unwinding import Unwinding
from gdbext.linker.process.regions import region_finder

if TYPE_CHECKING:
    from gdbext.inferior import Inferior

_LONGEST_CALL = 8  # bytes; 7 on x86-64 (a memory operand with SIB and 32-bit displacement)


def make_unwinding(inferior: Inferior) -> Unwinding:
    """What makes GDB's frames of this process right."""
    find_region = region_finder(inferior.regions())
    core, memory, arch = inferior.core, inferior.memory, inferior.arch
    main = inferior.main_path()

    def load(addresses: Iterable[int]) -> bool:
        return inferior.symbols is not None and inferior.symbols.load(addresses)

    def has_stack(pointer: int) -> bool:
        region = find_region(pointer)
        if region is not None and region.flags == 0:
            pointer = region.end  # SP went into the stack's guard: what it left is behind that
        return core is None or core.read(pointer, 8) is not None

    def may_be_code(address: int) -> bool:
        region = find_region(arch.code_address(address))
        return region is None or region.flags is None or bool(region.flags & PF_X)

    def may_be_caller(pc: int, caller: int, named: bool, told: bool) -> bool:
        place = arch.code_address(caller)
        if named:
            return True  # GDB has the file, and with it the unwind information
        try:
            return arch.follows_call(memory.read(place - _LONGEST_CALL, _LONGEST_CALL))
        except Unreadable:
            return told or is_readable(pc)  # else nothing confirms the guess

    def is_readable(pc: int) -> bool:
        """Whether GDB can have the code there, which it guesses by."""
        try:
            memory.read(arch.code_address(pc), arch.code_step)
        except Unreadable:
            return False
        return True

    def in_program(address: int) -> bool:
        region = find_region(address)
        return region is not None and region.path is not None and region.path == main

    return Unwinding(
        load,
        has_stack,
        may_be_code,
        may_be_caller,
        in_program,
        inferior.is_other_build,
        arch.sp,
        arch.link_register,
        arch.frame_register is not None,
    )
