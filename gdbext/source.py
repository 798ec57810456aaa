"""What `source gdbext` does once the package itself is found: find what it needs, then load it.

GDB's Python is seldom the one that pip installed into, so it looks where pip puts packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import gdb

import gdbext
from gdbext.packages import NEEDS

# The convenience variable in which `gdbext install` leaves the folders, as one PATH-like string.
RECORDED = "gdbext_packages"


def load() -> None:
    """Make the needed packages importable and load gdbext; else one GdbError with the remedy."""
    parent = os.path.dirname(os.path.dirname(__file__))
    if missing():
        folders = [*recorded(), parent, *venv_folders(parent)]
        # At the end of the path, so that nothing of the user's is shadowed.
        sys.path += [folder for folder in folders if holds_need(folder) and folder not in sys.path]
        if lacking := missing():
            version = ".".join(map(str, sys.version_info[:2]))
            raise gdb.GdbError(
                f"gdbext: this GDB's Python {version} does not find {', '.join(lacking)}; "
                f"install with: {remedy(folders, parent)} {' '.join(lacking)}"
            )
    gdbext.load()


def missing() -> list[str]:
    """Name, as pip knows them, the needed packages that an import would not find."""
    specs = {installed: find_spec(name) for name, installed in NEEDS.items()}
    # A folder of that name without __init__.py is found too, as a namespace: it has no origin.
    return [name for name, spec in specs.items() if spec is None or spec.origin is None]


def recorded() -> list[str]:
    """List the folders that `gdbext install` wrote into the gdbinit."""
    value = gdb.convenience_variable(RECORDED)
    if not isinstance(value, gdb.Value):
        return []
    return value.string("utf-8", "surrogateescape").split(":")


def venv_folders(checkout: str) -> Iterator[str]:
    """List where the packages lie in a checkout that has its own .venv."""
    versions = os.path.join(checkout, ".venv", "lib")
    for version in sorted(os.listdir(versions)) if os.path.isdir(versions) else ():
        yield os.path.join(versions, version, "site-packages")


def holds_need(folder: str) -> bool:
    """Tell whether at least one needed package lies in the folder."""
    return any(
        os.path.isfile(os.path.join(folder, name, "__init__.py"))
        or os.path.isfile(os.path.join(folder, f"{name}.py"))
        for name in NEEDS
    )


def remedy(folders: list[str], parent: str) -> str:
    """Give the start of the shell command that installs into a folder that is looked at."""
    from shlex import quote  # only a failure needs it

    for folder in folders:
        root = os.path.abspath(os.path.join(folder, "..", "..", ".."))
        if os.path.isfile(os.path.join(root, "pyvenv.cfg")):
            return f"{quote(os.path.join(root, 'bin', 'python'))} -m pip install"
    if os.path.isfile(os.path.join(parent, "pyproject.toml")):
        venv = quote(os.path.join(parent, ".venv"))
        return f"python3 -m venv {venv} && {venv}/bin/python -m pip install"
    return f"python3 -m pip install --target {quote(parent)}"
