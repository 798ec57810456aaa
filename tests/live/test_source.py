"""`source gdbext` after a real `pip install`, in GDB, whose Python is not the one of the venv."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
NEEDS = ("tabulate", "Pygments", "pyelftools")
# So that this GDB's own Python finds none of the needed packages, whatever the machine has.
FORGET_PACKAGES = (
    "python import sys; sys.path[:] = [p for p in sys.path if not p.endswith('-packages')]"
)
# A PYTHONPATH that leads to this checkout would win over what is installed.
ENV = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
NAMES_IN_MAIN = "python print('main:', sorted(set(vars()) - before))"

# One worker runs all of these, so that the installation is made once.
pytestmark = [pytest.mark.live, pytest.mark.xdist_group("installation")]


@dataclass(frozen=True)
class Installation:
    """A venv into which pip installed gdbext."""

    root: Path

    @property
    def packages(self) -> Path:
        return next((self.root / "lib").glob("python*/site-packages"))

    def gdbext(self, *arguments: str) -> str:
        command = [str(self.root / "bin" / "gdbext"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENV)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def copy(self, place: Path) -> Installation:
        """Copy it; the scripts in bin/ still start the original, so only GDB may use the copy."""
        shutil.copytree(self.root, place, symlinks=True)
        return Installation(place)


def run(*command: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Install this checkout as a user does, except that the network is not needed."""
    place = tmp_path_factory.mktemp("installation")
    source = place / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    junk = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "gdbext", source / "gdbext", ignore=junk)
    offline = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    wheels = ("--no-build-isolation", "--wheel-dir", place)
    run(sys.executable, "-m", "pip", "wheel", *offline, *wheels, source)
    venv = place / "venv with space"
    run(sys.executable, "-m", "venv", venv)
    run(venv / "bin" / "python", "-m", "pip", "install", *offline, *place.glob("*.whl"))
    found = Installation(venv)
    for name in NEEDS:
        copy_package(name, found.packages)
    return found


def copy_package(name: str, target: Path) -> None:
    """Copy an installed package's modules, as pip would have put them there."""
    for entry in metadata.files(name) or []:
        if entry.parts[0] not in ("..", "/") and "__pycache__" not in entry.parts:
            (target / entry).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(entry.locate(), target / entry)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory that holds a folder named gdbext, as this checkout does."""
    (tmp_path / "work" / "gdbext").mkdir(parents=True)
    return tmp_path / "work"


def gdb(folder: Path, gdbinit: Path | None, *commands: str) -> subprocess.CompletedProcess[str]:
    """Run GDB with the given gdbinit, if any, and these commands."""
    start = ["-x", str(gdbinit)] if gdbinit else []
    lines = [argument for command in commands for argument in ("-ex", command)]
    return subprocess.run(
        ["gdb", "-nx", "-batch", *start, *lines],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=ENV,
    )


def works(done: subprocess.CompletedProcess[str]) -> None:
    # GDB says of the folder that it is one, and goes on to its source path.
    talk = done.stderr.replace("warning: gdbext: Is a directory\n", "")
    assert (done.returncode, talk) == (0, "")


def installed(installation: Installation, folder: Path, *options: str) -> Path:
    gdbinit = folder.parent / "gdbinit"
    gdbinit.write_bytes(b"set width 0")
    installation.gdbext("install", "--gdbinit", str(gdbinit), *options)
    return gdbinit


def test_source_works_beside_a_folder_of_that_name(
    installation: Installation, folder: Path
) -> None:
    gdbinit = installed(installation, folder)
    origin = "python import gdbext; print(gdbext.__file__)"
    done = gdb(folder, gdbinit, "source gdbext", origin, "help plug-links")
    works(done)
    assert str(installation.packages / "gdbext" / "__init__.py") in done.stdout
    assert "link_map" in done.stdout


def test_the_style_and_scripts_of_pages_are_installed(installation: Installation) -> None:
    def names(package: Path) -> set[str]:
        return {path.name for path in (package / "render" / "html").iterdir()} - {"__pycache__"}

    assert names(installation.packages / "gdbext") == names(CHECKOUT / "gdbext")


def test_sourcing_twice_doubles_nothing(installation: Installation, folder: Path) -> None:
    gdbinit = installed(installation, folder)
    look = "python print('path:', len(sys.path), len(set(sys.path)))"
    note = "python import sys; before = set(vars()) | {'before'}"
    done = gdb(
        folder,
        gdbinit,
        note,
        "source gdbext",
        look,
        "source gdbext",
        look,
        NAMES_IN_MAIN,
        "info breakpoints",
        "show plug stop-on-segv",
    )
    works(done)
    first, second = re.findall(r"^path: (\d+ \d+)$", done.stdout, re.MULTILINE)
    assert first == second
    assert "main: []" in done.stdout


def test_reloading_takes_the_package_beside_the_script(
    installation: Installation, folder: Path, tmp_path: Path
) -> None:
    other = installation.copy(tmp_path / "other")
    first, second = (i.packages / "gdbext" for i in (installation, other))
    origin = "python import gdbext.commands; print('origin:', gdbext.commands.__file__)"
    done = gdb(folder, None, f"source {first}/gdbext", origin, f"source {second}/gdbext", origin)
    works(done)
    assert re.findall(r"origin: (.*)", done.stdout) == [
        f"{first}/commands/__init__.py",
        f"{second}/commands/__init__.py",
    ]


def test_a_missing_package_is_one_clear_line_and_a_failure(
    installation: Installation, folder: Path, tmp_path: Path
) -> None:
    broken = installation.copy(tmp_path / "broken's venv")
    shutil.rmtree(broken.packages / "elftools")
    done = gdb(folder, None, FORGET_PACKAGES, f"source {broken.packages}/gdbext/gdbext")
    assert done.returncode != 0
    assert done.stdout == ""
    ours = [line for line in done.stderr.splitlines() if line.startswith("gdbext: ")]
    assert len(ours) == 1
    assert "does not find pyelftools; install with: " in ours[0]
    assert ours[0].endswith("""/broken'"'"'s venv/bin/python' -m pip install pyelftools""")
    assert "Traceback" not in done.stderr


def test_a_package_of_the_right_name_without_code_counts_as_missing(
    installation: Installation, folder: Path, tmp_path: Path
) -> None:
    broken = installation.copy(tmp_path / "broken")
    shutil.rmtree(broken.packages / "elftools")
    (tmp_path / "path" / "elftools").mkdir(parents=True)
    add = f"python sys.path.insert(0, {str(tmp_path / 'path')!r})"
    done = gdb(folder, None, FORGET_PACKAGES, add, f"source {broken.packages}/gdbext/gdbext")
    assert done.returncode != 0
    assert "does not find pyelftools" in done.stderr


def test_packages_elsewhere_are_found_through_the_gdbinit(
    installation: Installation, folder: Path, tmp_path: Path
) -> None:
    """An editable install: gdbext lies in the checkout, and what it needs in some venv."""
    checkout = tmp_path / "check out"
    shutil.copytree(installation.packages / "gdbext", checkout / "gdbext")
    gdbinit = tmp_path / "gdbinit"
    program = "import sys; from gdbext.cli import main; sys.exit(main(sys.argv[1:]))"
    run(
        installation.root / "bin" / "python",
        "-c",
        program,
        "install",
        "--gdbinit",
        gdbinit,
        cwd=checkout,
    )
    assert b"set $gdbext_packages = " in gdbinit.read_bytes()
    works(gdb(folder, gdbinit, FORGET_PACKAGES, "source gdbext"))


def test_auto_load_needs_no_command_and_ignores_a_file_of_that_name(
    installation: Installation, folder: Path
) -> None:
    gdbinit = installed(installation, folder, "--auto-load")
    (folder / "gdbext").rmdir()
    (folder / "gdbext").write_text("echo taken over\\n")
    done = gdb(folder, gdbinit, "help plug-links")
    works(done)
    assert "link_map" in done.stdout
    assert "taken over" not in done.stdout


def test_remove_restores_the_gdbinit(installation: Installation, folder: Path) -> None:
    gdbinit = installed(installation, folder, "--auto-load")
    installation.gdbext("install", "--gdbinit", str(gdbinit), "--remove")
    assert gdbinit.read_bytes() == b"set width 0"


@pytest.mark.parametrize("name", ["spa ce", "quo'te", 'dou"ble', "back\\slash", "dol$cdir", "ünï"])
def test_directory_takes_every_path_that_install_writes(
    name: str, installation: Installation, folder: Path, tmp_path: Path
) -> None:
    package = tmp_path / name / "gdbext"
    package.parent.mkdir()
    package.symlink_to(installation.packages / "gdbext")
    program = (
        "import os, sys; from gdbext import gdbinit; "
        "sys.stdout.buffer.write(b'\\n'.join("
        "gdbinit.block_lines(sys.argv[1], [], auto_load=False)) + b'\\n')"
    )
    python = installation.root / "bin" / "python"
    written = subprocess.run([python, "-c", program, package], capture_output=True, check=True)
    gdbinit = tmp_path / "gdbinit"
    gdbinit.write_bytes(written.stdout)
    works(gdb(folder, gdbinit, "source gdbext"))


def test_a_gdbinit_with_carriage_returns_works(installation: Installation, folder: Path) -> None:
    gdbinit = folder.parent / "gdbinit"
    gdbinit.write_bytes(b"set width 0\r\n")
    installation.gdbext("install", "--gdbinit", str(gdbinit))
    works(gdb(folder, gdbinit, "source gdbext"))


def test_the_doctor_finds_this_gdb_in_order(installation: Installation) -> None:
    answer = installation.gdbext("doctor", "--gdb", "gdb", "--json")
    assert '"works": true' in answer
