"""A stack that grew past its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from gdbext.findings.crash.scene import FAULTS, OVERFLOW, Cause, Scene, step_name
from gdbext.linker.places import Place

_ROOM = 1 << 16  # bytes around SP that code writes to without moving it first: calls, probes
_RECURSION = 8  # frames of a recursion, and
_AGAIN = 3  # those of each function that takes part in it
_MOST_NAMES = 4
_OUTSIDE = ("below-stack", "unmapped")


def overflow(scene: Scene) -> Iterator[Cause]:
    """The fault is below the stack that the older frames are on, and so is SP, or near it."""
    fault, stack = scene.fault, scene.stack
    if scene.signal not in FAULTS or fault is None or fault.kind not in _OUTSIDE:
        return
    pointer = scene.stack_pointer
    near = abs(pointer - fault.address) <= _ROOM
    if fault.kind == "below-stack" and fault.thread is not None and near:
        thread = fault.thread.number
    elif (
        stack is not None
        and pointer - _ROOM <= fault.address < stack.caller
        and (stack.end.kind in _OUTSIDE or _is_below(fault.address, stack.end))
    ):
        thread = stack.thread
    else:
        return
    text = f"the stack of thread {thread} overflowed"
    evidence = [f"SP is {pointer:#x}"]
    again = _recursion(scene)
    if again:
        count = sum(again.values())
        them = "it" if len(again) == 1 else "them"
        text += f": {_calling(list(again))}"
        evidence.append(f"{count} of the {len(scene.steps)} innermost frames are in {them}")
    elif stack is not None and stack.caller - stack.end.address > _ROOM:
        size = stack.caller - stack.end.address
        text += f": {step_name(scene.steps[stack.level], scene)} takes {size} bytes of it at once"
        evidence.append(f"SP of its caller is {stack.caller:#x}")
    yield Cause(OVERFLOW, text, tuple(evidence))


def _is_below(address: int, place: Place) -> bool:
    return place.region is not None and address < place.region.start


def _recursion(scene: Scene) -> dict[tuple[str, str], int]:
    """{(function, module): frames} of the functions that call each other again and again."""
    named = [
        (scene.demangle(s.name), s.place.module.file_name if s.place.module else "")
        for s in scene.steps
        if s.name
    ]
    counts = Counter(named).most_common()
    most = counts[0][1] if counts else 0
    again = {name: count for name, count in counts if count >= max(_AGAIN, most // 2)}
    return again if sum(again.values()) >= _RECURSION else {}


def _calling(names: Sequence[tuple[str, str]]) -> str:
    shown = [f"{name} of {module}" if module else name for name, module in names[:_MOST_NAMES]]
    if len(names) == 1:
        return f"{shown[0]} calls itself without end"
    if len(names) > _MOST_NAMES:
        return f"{', '.join(shown)} and {len(names) - _MOST_NAMES} more call each other without end"
    return f"{', '.join(shown[:-1])} and {shown[-1]} call each other without end"
