"""/proc/PID of the selected process, here or on the machine that a remote stub runs on."""

from __future__ import annotations

import gdb

from gdbext.inferior import remote


def read_proc(inferior: gdb.Inferior, target: str, name: str) -> bytes:
    """The file `name` of /proc/PID; b'' where there is none: /proc is not mounted, or the process
    belongs to another PID namespace."""
    path = f"/proc/{inferior.pid}/{name}"
    if target != "native":
        return remote.read_file(inferior, path)
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
