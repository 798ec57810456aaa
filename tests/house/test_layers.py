"""The layers: facts flow from bytes to text, and every import under gdbext/ runs that way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "gdbext"
FILES = sorted(ROOT.rglob("*.py"))

FACTS = {"elf", "linker", "findings", "render"}
# A layer is a folder or a file of gdbext/. It may import from itself and from these.
MAY_IMPORT: dict[str, set[str]] = {
    "elf": set(),
    "linker": {"elf"},
    "findings": {"elf", "linker"},
    "render": set(),
    "inferior": {"elf", "linker", "loads"},
    "settings": set(),
    "loads": set(),  # at each of GDB's events: it must not load what inferior/ needs
    "commands": FACTS | {"inferior", "settings", "stops"},
    "stops": FACTS | {"inferior", "loads", "settings"},
    # What a user's shell, `source gdbext` and load() start from.
    "packages": set(),
    "gdbinit": set(),
    "doctor": {"gdbinit", "packages"},
    # Runs a GDB, is not run by it.
    "postmortem": {"doctor", "elf", "findings", "linker", "packages"},
    "triage": FACTS | {"postmortem"},  # runs many of them
    "cli": FACTS | {"doctor", "gdbinit", "packages", "postmortem", "triage"},
    "source": {"packages"},
    "__init__": {"commands", "settings", "stops"},
}
# The packages of linker/, each of which imports from those before it alone.
OF_LINKER = (
    *("process", "loaded", "threads", "lookup", "needs", "tls", "slots"),
    *("init", "unloaded", "opening"),
)
WITHOUT_GDB = FACTS | {"cli", "gdbinit", "packages", "postmortem", "triage", "__init__"}
MAY_PRINT = {"cli", "commands", "stops", "doctor"}
ONLY_IN = {"elftools": "elf", "tabulate": "render", "pygments": "render"}


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def imported(path: Path) -> Iterator[str]:
    """Give the dotted name of everything imported, also inside functions: `gdbext.elf.image`."""
    package = ["gdbext", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def own_layers(path: Path) -> set[str]:
    """Give the layers of gdbext that a file imports from; `gdbext.__version__` belongs to none."""
    names = [name.split(".") for name in imported(path)]
    return {name[1] for name in names if name[0] == "gdbext" and len(name) > 1} & set(MAY_IMPORT)


def calls(tree: ast.AST, name: str) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


@pytest.fixture(params=FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_every_file_has_a_layer(path: Path) -> None:
    assert layer_of(path) in MAY_IMPORT


def test_imports_run_downward(path: Path) -> None:
    layer = layer_of(path)
    assert own_layers(path) <= MAY_IMPORT[layer] | {layer}


@pytest.mark.parametrize("place", range(len(OF_LINKER)), ids=OF_LINKER)
def test_imports_run_downward_in_the_linker(place: int) -> None:
    files = list((ROOT / "linker" / OF_LINKER[place]).glob("*.py"))
    names = {name.split(".")[2] for file in files for name in imported(file)
             if name.startswith("gdbext.linker.")}  # fmt: skip
    assert len(files) > 1
    assert names <= set(OF_LINKER[: place + 1])


def test_every_package_of_the_linker_has_its_place() -> None:
    assert {path.parent.name for path in (ROOT / "linker").glob("*/*.py")} == set(OF_LINKER)


def test_only_what_runs_inside_gdb_imports_gdb(path: Path) -> None:
    names = {name.split(".")[0] for name in imported(path)}
    if layer_of(path) in WITHOUT_GDB or (layer_of(path) == "doctor" and path.stem != "probe"):
        assert "gdb" not in names


def test_each_dependency_has_one_home(path: Path) -> None:
    names = {name.split(".")[0] for name in imported(path)}
    assert {ONLY_IN[name] for name in names & set(ONLY_IN)} <= {layer_of(path)}


def test_only_the_edge_prints(path: Path) -> None:
    tree = parsed(path)
    if layer_of(path) not in MAY_PRINT:
        assert calls(tree, "print") == []


def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_bytes().splitlines()) <= 300


def test_no_handler_catches_everything(path: Path) -> None:
    handlers = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.ExceptHandler)]
    caught = {handler.lineno: names_caught(handler) for handler in handlers}
    # `except BaseException` may clean up, if it raises again.
    cleaning = {handler.lineno for handler in handlers if raises_again(handler)}
    assert not {line for line, names in caught.items() if names & {"", "Exception"}}
    assert not {
        line for line, names in caught.items() if "BaseException" in names and line not in cleaning
    }


def names_caught(handler: ast.ExceptHandler) -> set[str]:
    """Give the names behind `except`, dotted ones too; a bare `except` gives the empty name."""
    kind = handler.type
    return {
        ast.unparse(each) if each else ""
        for each in (kind.elts if isinstance(kind, ast.Tuple) else [kind])
    }


def raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_importing_the_package_imports_nothing_else() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_bytes())
    assert not [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
