"""Stopping when dlopen has mapped a library and its constructors have not run.

One silent breakpoint on the function that ld.so calls at each change of its lists (r_brk,
`_dl_debug_state`). It is where GDB itself waits, but it works with `set auto-solib-add off`,
without debug info and before GDB knows the library. At RT_CONSISTENT a new library and all of
its dependencies are mapped, in every glibc and musl, and no constructor has run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gdb

from gdbext import settings
from gdbext.elf.problem import Problem
from gdbext.findings.crash.description import module_offset
from gdbext.findings.tracing.opens import (
    OPENERS,
    Caller,
    Request,
    choose_request,
    find_caller,
    find_requests,
    flag_names,
    search_caller,
)
from gdbext.inferior import Inferior
from gdbext.inferior.frames import (
    Frame,
    demangle,
    function_at,
    read_frames,
    register,
    source_position,
)
from gdbext.linker.loaded.images import linker_image, main_image
from gdbext.linker.loaded.linkmaps import (
    RT_CONSISTENT,
    LinkMap,
    Namespace,
    read_namespaces,
    read_state,
)
from gdbext.linker.loaded.modules import Module, read_linker
from gdbext.linker.loaded.rendezvous import find_r_debug, linker_breakpoint
from gdbext.linker.places import Map
from gdbext.render.printable import printable

_FRAMES = 64

# (link_map, l_addr, l_ld): the address alone may be used again after a dlclose
_MapId = tuple[int, int, int]


class DlopenBreakpoint(gdb.Breakpoint):
    """Stops when the lists hold a library that they did not hold before."""

    def __init__(self, address: int, pattern: str, known: set[_MapId] | None) -> None:
        super().__init__(f"*{address:#x}", internal=True)
        self.silent = True
        self.address = address
        self.pattern = pattern
        self.known = known  # None: the libraries that the program starts with are to come
        self.fresh: list[int] = []

    def stop(self) -> bool:
        """Whether something new is there. Only memory is read: GDB is in the middle of a stop."""
        try:
            namespaces = _consistent_namespaces(Inferior())
        except Problem:
            return False  # too early, or the lists are damaged: GDB's own stop will show it
        if namespaces is None:
            return False
        current = _identities(namespaces)
        before, self.known = self.known, set(current)
        if before is None:
            return False
        fresh = [m for key, m in current.items() if key not in before]
        self.fresh = [m.address for m in fresh]
        if self.pattern == "on":
            return bool(fresh)
        names = [(m.l_name or b"").decode("utf-8", "surrogateescape") for m in fresh]
        return any(re.search(self.pattern, name) for name in names)


def _identities(namespaces: Sequence[Namespace]) -> dict[_MapId, LinkMap]:
    return {(m.address, m.l_addr, m.l_ld): m for n in namespaces for m in n.maps}


def _consistent_namespaces(inferior: Inferior) -> list[Namespace] | None:
    """Every namespace; None while one of them is being changed."""
    r_debug = find_r_debug(inferior, main_image(inferior)[0])
    if read_state(inferior.memory, r_debug) != RT_CONSISTENT:
        return None  # half of all events: no need to walk a thousand entries for them
    namespaces = read_namespaces(inferior.memory, r_debug, linker_image(inferior))
    return namespaces if all(n.state == RT_CONSISTENT for n in namespaces) else None


_current: list[DlopenBreakpoint] = []  # at most one
_connected: list[tuple[Any, Callable[[Any], None]]] = []


def update(pattern: str) -> None:
    """Start, change or end the stopping."""
    disarm()
    if pattern == "off":
        return
    listeners: tuple[tuple[Any, Callable[[Any], None]], ...] = (
        (gdb.events.stop, _on_stop),
        (gdb.events.new_objfile, _on_new_objfile),
        (gdb.events.exited, _forget),
        (gdb.events.clear_objfiles, _forget),  # an exec, or another program
    )
    for registry, listener in listeners:
        registry.connect(listener)
        _connected.append((registry, listener))
    _arm()


def disarm() -> None:
    """Remove the breakpoint and stop listening."""
    while _connected:
        registry, listener = _connected.pop()
        registry.disconnect(listener)
    _forget(None)


def _forget(_event: object) -> None:
    """The process or its program is gone, and with it the address of ld.so."""
    while _current:
        old = _current.pop()
        if old.is_valid():
            old.delete()


def _arm() -> None:
    """Set the breakpoint as soon as ld.so is in memory, which is at the first instruction."""
    if _current and _current[0].is_valid():
        return
    _current.clear()
    try:
        inferior = Inferior()
        if inferior.target == "core":
            return
        address = linker_breakpoint(inferior)
    except Problem:
        return  # no process yet: tried again when there is one
    if address is None:
        return
    try:
        r_debug = find_r_debug(inferior, main_image(inferior)[0])
        namespaces = read_namespaces(inferior.memory, r_debug, linker_image(inferior))
        known: set[_MapId] | None = set(_identities(namespaces))
    except Problem:
        known = None
    _current.append(DlopenBreakpoint(address, settings.stop_on_dlopen(), known))


def _on_new_objfile(_event: object) -> None:
    _arm()


def _on_stop(event: gdb.StopEvent) -> None:
    ours = isinstance(event, gdb.BreakpointEvent) and any(b in _current for b in event.breakpoints)
    if not ours:
        _arm()  # connected to a remote target, or attached: there may be a process now
        return
    try:
        lines = list(_report(Inferior(), _current[0].fresh))
    except Problem as problem:
        lines = [f"[gdbext] a library was loaded, but: {printable(str(problem))}"]
    gdb.write("".join(line + "\n" for line in lines))


def _report(inferior: Inferior, fresh_maps: Sequence[int]) -> Iterator[str]:
    linker = read_linker(inferior)
    fresh = [linker.by_map[a] for a in fresh_maps if a in linker.by_map]
    frames = read_frames(_FRAMES)
    space = inferior.map(linker)
    code = inferior.arch.code_address
    stack = register(inferior.arch.sp) or 0
    caller = find_caller(
        linker, space.tables, [code(f.lookup) for f in frames], [f.function for f in frames]
    )
    request = None
    if linker.layout is not None:  # glibc: musl keeps no record of the arguments
        callers: list[int] | None = None
        if caller is not None and caller.level is not None:
            callers = [code(f.pc) for f in frames[: caller.level + 1]]
            callers.append(caller.module.map.address)
        request = choose_request(find_requests(inferior.memory, stack, callers), fresh)
    caller = caller or search_caller(space, stack)
    opened = _opened(fresh, request)
    yield f"[gdbext] {printable(opened.file_name)} is mapped, its constructors have not run"
    yield f"  library   {printable(opened.path)}"
    if opened.image is not None:
        yield f"  range     {opened.image.start:#x} - {opened.image.end:#x}"
    if opened.namespace:
        yield f"  namespace {opened.namespace}"
    yield f"  asked by  {_caller_text(space, caller, frames)}"
    yield f"  request   {_request_text(caller, request)}"
    others = [printable(m.file_name) for m in fresh if m is not opened]
    yield f"  with it   {', '.join(others) or 'nothing else'}"


def _opened(fresh: Sequence[Module], request: Request | None) -> Module:
    """The library that was asked for; ld.so maps it before what it needs."""
    for module in fresh:
        if request is not None and os.path.basename(request.file) == module.file_name:
            return module
    return fresh[0]


def _caller_text(space: Map, caller: Caller | None, frames: Sequence[Frame]) -> str:
    if caller is None:
        return "unknown: the frames above ld.so cannot be unwound"
    definition = space.tables.name(caller.module, caller.lookup) or function_at(caller.lookup)
    name = demangle(definition.symbol) if definition else None
    if caller.level is not None:
        frame = frames[caller.level]
        address, file, line = frame.pc, frame.file, frame.line
        name = (frame.function or name) if file else (name or frame.function)
    else:
        address, (file, line) = caller.lookup + 1, source_position(caller.lookup)
    text = f"{module_offset(caller.module, address)} {name or '??'}"
    return printable(text + (f" ({os.path.basename(file)}:{line})" if file else ""))


def _request_text(caller: Caller | None, request: Request | None) -> str:
    function = (caller.function if caller else None) or "a call that is not known"
    if request is None:
        return f"by {printable(function)}; its flags are not known: this linker keeps no record"
    name = printable(request.file)
    if function in OPENERS:
        return f'{function.lstrip("_")}("{name}", {flag_names(request.mode)})'
    return f'by {printable(function)}: "{name}", {flag_names(request.mode)}'
