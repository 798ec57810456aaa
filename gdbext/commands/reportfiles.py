"""Files that a post-mortem lacks: which builds, of which paths, and how to get them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from gdbext.elf.mapped import dumped_build_id, mapped_programs
from gdbext.elf.notes import read_build_id
from gdbext.linker.loaded.disk import DELETED, MEMORY, REPLACED
from gdbext.linker.loaded.modules import VDSO

if TYPE_CHECKING:
    from gdbext.inferior import Inferior
    from gdbext.linker.needs.links import Link

ABSENT = "absent"


class Missing(NamedTuple):
    """A file that is not here as it was: `state` is ABSENT, REPLACED or DELETED; `build_id` is
    what to look for, None where the process does not tell; `here` is that of the other build."""

    path: str
    kind: str
    build_id: str | None
    state: str
    here: str | None

    @property
    def remedy(self) -> str:
        """What to do next, as a command where there is one."""
        if self.build_id is not None:
            return f"debuginfod-find executable {self.build_id}"
        return f"copy {shlex.quote(self.path)} from that machine into a folder for --sysroot"


def find_missing(inferior: Inferior, links: list[Link] | None) -> list[Missing]:
    """What is missing, by the modules, or, where nobody lists them, by the mapped files."""
    found = _of_modules(inferior, links) if links is not None else _of_mappings(inferior)
    return sorted(found, key=lambda m: m.kind != "main")


def _of_modules(inferior: Inferior, links: list[Link]) -> Iterator[Missing]:
    for link in links:
        module, state = link.module, link.on_disk.state
        if module.kind == VDSO or state in ("same", MEMORY):
            continue
        if inferior.tables.file_of(module) is not None:
            continue
        here = _build_id_here(inferior, module.path)
        if state not in (REPLACED, DELETED):
            state = ABSENT
            if here is not None and link.build_id is not None and here != link.build_id:
                state = REPLACED
        yield Missing(module.path, module.kind, link.build_id, state, here)


def _of_mappings(inferior: Inferior) -> Iterator[Missing]:
    if inferior.core is None:
        return
    main = inferior.main_path()
    for file in mapped_programs(inferior.core):
        build_id = dumped_build_id(inferior.core, file.start)
        if build_id is None or inferior.unchanged_on_disk(file.start):
            continue
        here = _build_id_here(inferior, file.path)
        kind = "main" if file.path == main else "mapped"
        yield Missing(file.path, kind, build_id, REPLACED if here else ABSENT, here)


def _build_id_here(inferior: Inferior, path: str) -> str | None:
    file = inferior.open_file(path)
    return read_build_id(file.memory, file.image) if file is not None else None
