"""The shell command: what it writes, prints and returns."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from gdbext import __version__, cli, gdbinit, packages
from gdbext.doctor import gdbs, machine, text
from gdbext.doctor.check import Check
from gdbext.doctor.examination import Examination, document

BAD = Check("python", "missing", "GDB 13.1 has no Python", "sudo apt-get install gdb")
LONG = Check("source", "ok", "a long text " * 20)
GDB = gdbs.Gdb("/usr/bin/gdb", "13.1", "3.11.2", True, (LONG,))
FACTS = {
    "version": "13.1",
    "python": "3.11.2",
    "gdbext": "/x/gdbext/__init__.py",
    "sourced": True,
    "packages": {
        "tabulate": {"file": "/x/tabulate.py", "reason": None},
        "pygments": {"file": "/x/pygments/__init__.py", "reason": None},
        "elftools": {"file": None, "reason": "No module named 'elftools'"},
    },
    "architectures": ["i386:x86-64"],
    "features": {"send_packet": False, "corefile": False},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"gdbext {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["instal"], ["install", "--remove", "--auto-load"]])
def test_a_wrong_call_is_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2


def test_install_and_remove_leave_the_home_as_it_was(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["install"]) == 0
    written = (home / ".gdbinit").read_bytes()
    assert f"directory {packages.own_folder()}\n".encode() in written
    assert "source gdbext" in capsys.readouterr().out
    assert cli.main(["install"]) == 0
    assert "already" in capsys.readouterr().out
    assert (home / ".gdbinit").read_bytes() == written
    assert cli.main(["install", "--remove"]) == 0
    assert list(home.iterdir()) == []
    assert cli.main(["install", "--remove"]) == 0
    assert "were not there" in capsys.readouterr().out


def test_both_gdbinits_present(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = home / ".config" / "gdb" / "gdbinit"
    config.parent.mkdir(parents=True)
    config.touch()
    (home / ".gdbinit").touch()
    assert cli.main(["install"]) == 0
    assert gdbinit.BEGIN in config.read_bytes()
    assert (home / ".gdbinit").read_bytes() == b""
    assert "before 11" in capsys.readouterr().err


def test_a_damaged_gdbinit_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gdbinit"
    file.write_bytes(b"# >>> gdbext >>>\n")
    assert cli.main(["install", "--gdbinit", str(file)]) == 2
    assert cli.main(["install", "--gdbinit", str(file), "--remove"]) == 2
    assert file.read_bytes() == b"# >>> gdbext >>>\n"
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 2


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["install", "--gdbinit", str(tmp_path / "no" / "gdbinit")]) == 2
    assert "No such file or directory; nothing was changed" in capsys.readouterr().err


def test_a_package_path_with_a_colon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "own_folder", lambda: "/a:b/gdbext")
    assert cli.main(["install", "--gdbinit", str(tmp_path / "gdbinit")]) == 2
    assert "':'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_package_beside_gdbext_needs_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = str(Path(packages.own_folder()).parent)
    found = {"tabulate": parent, "pygments": "/other", "elftools": None}
    monkeypatch.setattr(packages, "locate", lambda: found)
    assert packages.elsewhere() == ["/other"]


@pytest.mark.parametrize("works", [True, False])
def test_doctor_status_and_document(
    works: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = GDB if works else gdbs.Gdb("gdb", "13.1", None, False, (BAD,))
    found = Examination((first, GDB), (BAD,))
    monkeypatch.setattr("gdbext.doctor.examination.examine", lambda _paths: found)
    assert cli.main(["doctor", "--json"]) == (0 if works else 2)
    answer = json.loads(capsys.readouterr().out)
    schema = Path(packages.own_folder(), "schemas", "doctor.json").read_text()
    jsonschema.validate(answer, json.loads(schema))
    assert answer["works"] is works
    assert cli.main(["doctor"]) == (0 if works else 2)
    assert "mend: sudo apt-get install gdb" in capsys.readouterr().out


def test_doctor_text_fits_80_columns() -> None:
    lines = list(text.lines(Examination((GDB,), (BAD,))))
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "gdbext works in /usr/bin/gdb."


def test_doctor_without_any_gdb() -> None:
    found = Examination((), ())
    assert not found.works
    assert document(found)["gdbs"] == []
    assert any("no gdb on PATH" in line for line in text.lines(found))


def test_doctor_judges_the_answers_of_gdb() -> None:
    checks = {check.name: check for check in gdbs.judge(FACTS, "")}
    assert checks["source"].status == "ok"
    assert checks["pyelftools"].status == "missing"
    assert "pip install" in (checks["pyelftools"].remedy or "")
    assert checks["aarch64"].status == "warning"
    assert checks["send_packet"].status == "warning"
    assert checks["corefile"].status == "ok"


def test_doctor_passes_on_why_sourcing_failed() -> None:
    talk = (
        "x:1: Error in sourced command file:\ngdbext: no tabulate; install with: pip install it\n"
    )
    checks = {check.name: check for check in gdbs.judge({**FACTS, "sourced": False}, talk)}
    assert checks["source"].status == "missing"
    assert checks["source"].remedy == "pip install it"


def test_doctor_says_what_is_no_gdb(tmp_path: Path) -> None:
    assert gdbs.examine(str(tmp_path / "none")).checks[0].status == "missing"
    assert gdbs.examine("/bin/true").checks[0].text == "does not behave like GDB"


def test_doctor_says_that_a_gdb_has_no_python(tmp_path: Path) -> None:
    script = tmp_path / "gdb"
    script.write_text(
        "#!/bin/sh\n"
        'case "$*" in *--version*) echo "GNU gdb (GDB) 12.1"; exit;; esac\n'
        'echo "Python scripting is not supported in this copy of GDB." >&2; exit 1\n'
    )
    script.chmod(0o755)
    found = gdbs.examine(str(script))
    assert (found.version, found.python, found.works) == ("12.1", None, False)
    assert found.checks[0].text == "GDB 12.1 has no Python"


@pytest.mark.parametrize(
    ("scope", "traced", "status"),
    [(None, True, "ok"), ("0", True, "ok"), ("3", False, "missing"), (None, False, "missing")],
)
def test_ptrace(scope: str | None, traced: bool, status: str) -> None:
    assert machine.ptrace(scope, traced).status == status


def test_ptrace_of_children_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert machine.ptrace("1", traced=True).status == "warning"


@pytest.mark.parametrize(
    ("limit", "pattern", "status", "words"),
    [
        (0, "core", "warning", "working directory"),
        (-1, "/var/cores/%p", "ok", "to the folder /var/cores"),
        (1024**2, "core", "warning", "working directory"),
        (0, "|/usr/lib/systemd/systemd-coredump %P", "ok", "coredumpctl"),
        (0, "|/opt/other %P", "ok", "to the program other"),
        (0, "|", "ok", "to the program ?"),
    ],
)
def test_cores(limit: int, pattern: str, status: str, words: str) -> None:
    checks = list(machine.cores(limit, pattern))
    assert checks[0].status == status
    assert words in checks[1].text
