"""A running process as it is at one moment: stopped, copied, and let go on.

GDB reads the core that is made of the copy; it never sees the process itself.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gdbext.elf.core import NT_PRSTATUS, MappedFile
from gdbext.elf.corefile import Stretch, ThreadState, core_file, core_notes
from gdbext.elf.problem import Problem
from gdbext.linker.process.process import Region
from gdbext.linker.process.regions import own_regions
from gdbext.postmortem import ptrace
from gdbext.postmortem.copying import copy_memory, shared_mappings

# By e_machine: NT_PRSTATUS, NT_PRFPREG, NT_ARM_TLS, NT_ARM_PAC_MASK (linux/elf.h).
_REGISTER_SETS = {62: (NT_PRSTATUS, 2), 183: (NT_PRSTATUS, 2, 0x401, 0x406)}
# By e_machine: where SP is in NT_PRSTATUS's registers (struct user_regs_struct, user_pt_regs).
_STACK_POINTER_AT = {62: 152, 183: 248}


class Snapshot(NamedTuple):
    """A process as it was. `seconds`: how long it was stopped; `left_out`: bytes of memory without
    a file that were too many to copy."""

    threads: list[ThreadState]
    auxv: bytes
    files: list[MappedFile]
    stretches: list[Stretch]
    seconds: float
    left_out: int


def take_snapshot(pid: int, machine: int) -> Snapshot:
    """Stop a process, copy it, let it go on.

    Raises Problem if it ends meanwhile, PermissionError where the kernel does not allow it.
    """
    start = time.perf_counter()
    try:
        with ptrace.stopped(pid) as tids:
            inner = len(_ids(pid, pid)) > 1
            threads = [_thread(pid, tid, machine, inner) for tid in tids]
            maps, auxv = _read(pid, "maps"), _read(pid, "auxv")
            regions = list(_own_regions(pid, maps))
            pointers = _stack_pointers(threads, machine)
            copied, left_out = copy_memory(pid, regions, shared_mappings(maps), pointers)
    except (FileNotFoundError, ProcessLookupError, KeyError) as error:
        raise Problem(f"process {pid} ended while it was looked at") from error
    seconds = time.perf_counter() - start
    threads = [one._replace(name=_name(pid, tid)) for one, tid in zip(threads, tids)]
    return Snapshot(threads, auxv, list(_files(regions)), copied, seconds, left_out)


def write_snapshot(snapshot: Snapshot, machine: int, program: bytes, path: Path) -> None:
    """Write it as a core file, mode 0600; zeros become holes. `program` is its short name."""
    pid = snapshot.threads[0].tid
    notes = core_notes(snapshot.threads, pid, program, snapshot.auxv, snapshot.files)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        end = 0
        for end, data in core_file(machine, notes, snapshot.stretches):
            file.seek(end)
            file.write(data)
        file.truncate(end)


def _own_regions(pid: int, maps: bytes) -> Iterator[Region]:
    """Its mappings without [vsyscall]."""
    root = os.readlink(f"/proc/{pid}/root")
    return (region for region in own_regions(maps, root) if region.start < 1 << 63)


def _files(regions: Sequence[Region]) -> Iterator[MappedFile]:
    for region in regions:
        if region.path and region.path.startswith("/"):
            yield MappedFile(region.start, region.end, region.offset, region.path)


def _thread(pid: int, tid: int, machine: int, inner: bool) -> ThreadState:
    """Its id is the one that the process itself sees, another one than here if it is `inner`."""
    sets = {kind: ptrace.registers(tid, kind) for kind in _REGISTER_SETS[machine]}
    own = _ids(pid, tid)[-1] if inner else tid
    return ThreadState(own, b"", {kind: data for kind, data in sets.items() if data is not None})


def _ids(pid: int, tid: int) -> list[int]:
    """A thread's id in each PID namespace that it is in, from ours inwards."""
    match = re.search(rb"^NSpid:(.*)$", _read(pid, f"task/{tid}/status"), re.MULTILINE)
    return [int(word) for word in match.group(1).split()] if match else [tid]


def _name(pid: int, tid: int) -> bytes:
    """Also read when the process goes on: it is only a name."""
    try:
        return _read(pid, f"task/{tid}/comm").rstrip(b"\n")
    except OSError:
        return b""  # it has ended since


def _stack_pointers(threads: Sequence[ThreadState], machine: int) -> list[int]:
    at = _STACK_POINTER_AT[machine]
    found = (thread.registers[NT_PRSTATUS][at : at + 8] for thread in threads)
    return [int.from_bytes(data, "little") for data in found]


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()
