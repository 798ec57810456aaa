"""The generated docs are what the commands' own help says today, and the help says enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.harness import Batch

ROOT = Path(__file__).resolve().parents[2]
# Other files in that folder hold what commands share.
COMMANDS = {
    path.stem
    for path in (ROOT / "gdbext" / "commands").glob("*.py")
    if "\nclass Plug" in path.read_text()
}


def test_commands_md_is_current(batch: Callable[..., Batch]) -> None:
    done = batch("-ex", "set width 0", "-x", str(ROOT / "docs" / "print_commands.py"))
    assert done.status == 0, done.stderr
    assert done.stdout == (ROOT / "docs" / "commands.md").read_text(), "run: make docs"


def test_every_command_has_usage_and_arguments() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    sections = [s for s in text.split("\n## ") if s.startswith("plug-")]
    assert {s.split("\n", 1)[0] for s in sections} == {f"plug-{name}" for name in COMMANDS}
    for section in sections:
        name = section.split("\n", 1)[0]
        assert f"\nUsage: {name}" in section
        assert max(map(len, section.split("\n"))) <= 80
        for option in ("-json", "-out FILE"):
            assert f"\n  {option} " in section


def test_every_document_has_a_schema() -> None:
    schemas = {path.stem for path in (ROOT / "gdbext" / "schemas").glob("*.json")}
    assert schemas >= COMMANDS
