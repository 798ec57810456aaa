"""What the shell commands work out before a GDB is run."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gdbext.elf.problem import Problem
from gdbext.postmortem import corepattern
from tests.unit.crafted import make_core, note

_CORE = make_core({0x1000: b"x"}, note(b"CORE", 3, bytes(24) + (77).to_bytes(4, "little")))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("core", "core"),
        ("core.%p", "core.77"),
        ("%e-%p-%t%%", "host-77-1700000000%"),
        ("core.%", "core."),
        ("[x]/%u.%P.core", "[x]/0.77.core"),
    ],
)
def test_where_a_core_is(
    pattern: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corepattern, "pattern", lambda: pattern)
    there = tmp_path / name
    there.parent.mkdir(exist_ok=True)
    there.write_bytes(_CORE)
    (tmp_path / "core.770").write_bytes(_CORE[:100])
    folders = [str(tmp_path / "none"), str(tmp_path)]
    assert corepattern.find_core(77, folders, 0, tmp_path) == str(there)
    for pid, since in ((78, 0), (77, there.stat().st_mtime + 60)):
        with pytest.raises(Problem, match=f"no core of process {pid} was found"):
            corepattern.find_core(pid, folders, since, tmp_path)


def test_an_absolute_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corepattern, "pattern", lambda: f"{tmp_path}/all/%p")
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "77").write_bytes(_CORE)
    assert corepattern.find_core(77, ["/"], 0, tmp_path) == str(tmp_path / "all" / "77")


def test_cores_that_another_program_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for pattern, text in (
        ("|/usr/share/apport/apport -p%p", "the kernel hands cores to apport"),
        ("|/lib/systemd/systemd-coredump %P", "coredumpctl is not installed"),
    ):
        monkeypatch.setattr(corepattern, "pattern", lambda pattern=pattern: pattern)
        with pytest.raises(Problem, match=text):
            corepattern.find_core(77, ["/"], 0, tmp_path)
    # a coredumpctl that has the core at the second time only, as the real one may
    tool = tmp_path / "coredumpctl"
    tool.write_text(
        '#!/bin/sh\n[ "$*" = "--quiet --output=$0.d/core dump 77" ] || exit 3\n'
        'if [ -e "$0.once" ]; then printf core > "$0.d/core"; else : > "$0.once"; exit 1; fi\n'
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    folder = tmp_path / "coredumpctl.d"
    folder.mkdir()
    found = corepattern.find_core(77, ["/"], 0, folder)
    assert Path(found).read_text() == "core"


def test_programs_that_get_other_rights(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for path in (own, other):
        path.touch()
    own.chmod(0o4755)
    assert not corepattern.gains_rights(str(own))
    os.chown(other, os.getuid() + 1, -1)
    other.chmod(0o4755)
    assert corepattern.gains_rights(str(other))
    assert not corepattern.gains_rights(str(tmp_path / "none"))
