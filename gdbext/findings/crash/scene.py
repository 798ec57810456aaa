"""What is known of a crash, which the rules of its causes look at, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.findings.crash.calls import BadCall
from gdbext.findings.crash.description import Demangle
from gdbext.findings.slots.writes import JudgedSlot
from gdbext.linker.loaded.modules import Module
from gdbext.linker.places import Place
from gdbext.linker.slots.slots import Slot

NULL_SLOT, WILD_SLOT, CALL_UNLOADED, IN_UNLOADED, UNLOADED_DATA = (
    "null_slot", "wild_slot", "call_into_unloaded", "in_unloaded", "unloaded_data",
)  # fmt: skip
REDIRECTED, INTERPOSITION, WRITE_RELRO, WRITE_READ_ONLY, OVERFLOW = (
    "slot_redirected", "interposition", "write_to_relro", "write_to_read_only", "stack_overflow",
)  # fmt: skip
EXECUTION, CONSTRUCTOR, STRUCTS, RUNTIMES = (
    "execution_of_data", "constructor_order", "struct_mismatch", "duplicate_runtime",
)  # fmt: skip
# What the report of a crash says anyway is no more evidence there.
DIRECT = (
    NULL_SLOT, WILD_SLOT, CALL_UNLOADED, IN_UNLOADED, UNLOADED_DATA, WRITE_RELRO, WRITE_READ_ONLY,
    OVERFLOW, EXECUTION,
)  # fmt: skip
# In order of strength: what the CPU itself stumbled over comes before what lies on the way there.
RULES = (
    NULL_SLOT, WILD_SLOT, CALL_UNLOADED, IN_UNLOADED, UNLOADED_DATA, REDIRECTED, INTERPOSITION,
    WRITE_RELRO, WRITE_READ_ONLY, OVERFLOW, EXECUTION, CONSTRUCTOR, STRUCTS, RUNTIMES,
)  # fmt: skip
FAULTS = ("SIGSEGV", "SIGBUS")


class Cause(NamedTuple):
    """One cause: the rule (one of RULES), a sentence, and what it was told by."""

    rule: str
    text: str
    evidence: tuple[str, ...]


class Step(NamedTuple):
    """One frame of the way to the crash, innermost first. `slot` of `slot_module` is the GOT slot
    through which this frame called the one further in, where it called through one."""

    level: int
    place: Place
    function: str | None
    slot: Slot | None
    slot_module: Module | None

    @property
    def name(self) -> str | None:
        """The function's symbol, GDB's name for it otherwise."""
        return self.place.definition.symbol if self.place.definition else self.function


class Stack(NamedTuple):
    """The stack that the frames are on. `end` is where SP is in the frame `level` of the steps,
    the innermost one whose caller has its SP, `caller`, in memory; `thread` is its number."""

    level: int
    end: Place
    caller: int
    thread: int


@dataclass(frozen=True)
class Scene:
    """What is known of a crash. `sent` says that a program sent the signal (kill, raise, abort):
    then no instruction faulted. `stack_pointer` is that of the innermost frame, `handled` the
    signal whose handler the kernel has just called there."""

    signal: str
    sent: bool
    fault: Place | None
    site: Place
    stack_pointer: int
    call: BadCall | None
    steps: tuple[Step, ...]
    judge: Callable[[int], JudgedSlot | None]
    demangle: Demangle
    handled: str | None = None
    stack: Stack | None = None


Rule = Callable[[Scene], Iterator[Cause]]


def site_name(scene: Scene) -> str:
    """`function in library` of the crash itself."""
    site = scene.site
    module = site.module.file_name if site.module else "code in no module"
    if site.definition is None:
        return module
    return f"{scene.demangle(site.definition.symbol)} in {module}"


def step_name(step: Step, scene: Scene) -> str:
    """`function in library` of a frame."""
    module = step.place.module.file_name if step.place.module else "no module"
    return f"{scene.demangle(step.name)} in {module}" if step.name else module
