"""Why dlclose left a library where it is (glibc, elf/dl-close.c, _dl_close_worker)."""

from __future__ import annotations

from collections.abc import Iterator

from gdbext.elf.image import DF_1_NODELETE, DT_FLAGS_1
from gdbext.elf.problem import Problem, Unreadable
from gdbext.elf.reader import Memory, read_word
from gdbext.findings.tracing.events import Stay
from gdbext.inferior import Inferior
from gdbext.linker.loaded.layout import Layout
from gdbext.linker.loaded.modules import Linker, Module, read_linker
from gdbext.linker.loaded.private import LT_LOADED, read_initfini, read_private
from gdbext.linker.lookup.unique import read_unique_symbols
from gdbext.linker.needs.reldeps import read_relocation_needs

_RTLD_NODELETE = 0x1000  # bits/dlfcn.h
# l_tls_dtor_count stands behind l_tls_modid, 56 from l_tls_initimage (include/link.h, from 2.18)
_TLS_DTORS = 56
_SHOWN = 3


class Stays:
    """What keeps the libraries of one process; the answer is looked for once for each state."""

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._sought = False
        self._known: dict[tuple[int, int, int, bool], tuple[Stay, ...]] = {}

    def why(
        self, memory: Memory, address: int, modes: int, generation: int, others: bool
    ) -> tuple[Stay, ...]:
        """The reasons for the library whose link_map is at `address`.

        `modes` are the flags that it was opened with, `generation` counts changes of the lists.
        `others`: another dlclose runs, around this one or in another thread, and has still to
        look what can go.
        """
        if not self._sought:
            self._sought = True
            try:
                self._layout = read_linker(Inferior()).layout
            except Problem:
                self._layout = None
        if self._layout is None:
            return (Stay("never", "this linker (musl) unloads nothing"),)
        private = read_private(memory, self._layout, address)
        if private is None:
            return (Stay("unknown", "its link_map cannot be read"),)
        # dlclose does not even count down for what is never to go (_dl_close)
        if private.open_count and not private.nodelete:
            left = "once more" if private.open_count == 1 else f"{private.open_count} times more"
            return (Stay("open-count", f"it was opened {left} (open count {private.open_count})"),)
        key = (address, generation, modes, others)
        if key not in self._known:
            if len(self._known) > 1024:
                self._known.clear()
            self._known[key] = self._search(address, modes, others)
        return self._known[key]

    def _search(self, address: int, modes: int, others: bool) -> tuple[Stay, ...]:
        try:
            inferior = Inferior()
            linker = read_linker(inferior)
        except Problem as problem:
            return (Stay("unknown", str(problem)),)
        module = linker.by_map.get(address)
        if module is None or module.private is None:
            return (Stay("unknown", "its link_map cannot be read"),)
        found = list(_reasons(inferior, linker, module, modes))
        if others and not found:
            return (Stay("closing", "another dlclose that runs at this moment decides it"),)
        return tuple(found) or (Stay("unknown", "nothing that is known keeps it"),)


def _reasons(inferior: Inferior, linker: Linker, module: Module, modes: int) -> Iterator[Stay]:
    memory, private = inferior.memory, module.private
    if private is None:
        return
    if private.type != LT_LOADED:
        yield Stay("startup", "the program started with it")
    if module.image and (module.image.value(DT_FLAGS_1) or 0) & DF_1_NODELETE:
        yield Stay("nodelete", "it is linked with -z nodelete (DF_1_NODELETE)")
    elif modes & _RTLD_NODELETE:
        yield Stay("nodelete", "it was opened with RTLD_NODELETE")
    elif private.nodelete:
        unique = _unique(inferior, linker, module)
        if unique:
            yield Stay("unique", f"it defines the GNU_UNIQUE symbol {unique}, which is in use")
        else:
            yield Stay("nodelete", "it is marked as never to be unloaded (l_nodelete_active)")
    count = _destructors(memory, linker.layout, module.map.address)
    if count:
        noun = "destructor" if count == 1 else "destructors"
        yield Stay("tls-destructors", f"{count} thread_local {noun} of it are still to run")
    users = [
        m for m in linker.modules
        if m is not module and m.private is not None
        and module.map.address in (read_initfini(memory, m.private) or ())
    ]  # fmt: skip
    if users:
        yield Stay("needed", f"{_names(users)} needs it")
    needs = read_relocation_needs(memory, linker) or {}
    bound = [m for m in linker.modules if module.map.address in needs.get(m.map.address, ())]
    if bound:
        yield Stay("relocation", f"{_names(bound)} is bound to a symbol of it")


def _names(modules: list[Module]) -> str:
    more = f" and {len(modules) - _SHOWN} more" if len(modules) > _SHOWN else ""
    return ", ".join(m.file_name for m in modules[:_SHOWN]) + more


def _unique(inferior: Inferior, linker: Linker, module: Module) -> str | None:
    """The first unique symbol that ld.so took from it."""
    try:
        symbols = read_unique_symbols(inferior.memory, linker, inferior.tables)
    except Problem:
        return None
    names = sorted(name for (_, name), (at, _) in symbols.items() if at == module.map.address)
    return names[0].decode("utf-8", "surrogateescape") if names else None


def _destructors(memory: Memory, layout: Layout | None, address: int) -> int:
    if layout is None or layout.tls is None:
        return 0
    try:
        count = read_word(memory, address + layout.tls + _TLS_DTORS)
    except Unreadable:
        return 0
    return count if count < 1 << 20 else 0
