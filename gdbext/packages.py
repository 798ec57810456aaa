"""Where gdbext itself and the packages that it needs lie, as the Python that runs this sees it."""

from __future__ import annotations

import os
from importlib.util import find_spec

# Name to import, name to install.
NEEDS = {"tabulate": "tabulate", "pygments": "Pygments", "elftools": "pyelftools"}


def own_folder() -> str:
    """Give the folder of the package, which holds the script that `source gdbext` reads."""
    return os.path.dirname(os.path.abspath(__file__))


def locate() -> dict[str, str | None]:
    """Give the folder that each needed package is imported from, None where it is not found."""
    return {name: folder_of(name) for name in NEEDS}


def elsewhere() -> list[str]:
    """List the folders of the needed packages that do not lie beside gdbext."""
    folders = dict.fromkeys(folder for folder in locate().values() if folder is not None)
    return [folder for folder in folders if folder != os.path.dirname(own_folder())]


def folder_of(name: str) -> str | None:
    """Give the folder that a package or a module is imported from."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return None
    folder = os.path.dirname(os.path.abspath(spec.origin))
    return os.path.dirname(folder) if spec.submodule_search_locations else folder
