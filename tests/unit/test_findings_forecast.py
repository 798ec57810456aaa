"""What files would end in, without a process: every class that files alone decide, and damage."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from gdbext.findings.opening.dlopen_errors import CLASSES, OK
from gdbext.linker.opening.rights import Credentials, Limits, Mount, Rights
from tests import programs
from tests.forge import forge
from tests.unit.forecasts import forecast

NOBODY = Credentials(65534, frozenset({65534}), False)


def built(name: str) -> Path:
    return programs.program(name).path


def test_forged_files(tmp_path: Path) -> None:
    files = forge(tmp_path, built("why/libplain.so"))
    assert {path: forecast(path).kind for path in files} == files


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("why/libplain.so", OK),
        ("why/libchain.so", "missing_dependency"),
        ("why/libwants.so", "version_not_found"),
        ("why/libfuture.so", "version_not_found"),
        ("why/libundefined.so", "undefined_symbol"),
        ("why/libnoopen.so", "not_loadable"),
        ("why/host", "not_loadable"),
        ("nopie/host", "not_loadable"),
        ("loader/host", "not_loadable"),  # also the program itself
    ],
)
def test_built_files(name: str, kind: str) -> None:
    found = forecast(built(name))
    assert found.kind == kind
    assert bool(found.remedy) == (kind != OK)


def test_lazy_binding_defers_functions_alone() -> None:
    assert forecast(built("why/libundefined.so"), lazy=True).kind == OK
    at_once = {"LD_BIND_NOW": "1"}
    found = forecast(built("why/libundefined.so"), lazy=True, environment=at_once)
    assert found.kind == "undefined_symbol"


def test_nearest_name_and_where_the_missing_file_is() -> None:
    found = forecast(built("why/libundefined.so"))
    assert any("libnames_misspelled (in libnames.so)" in line for line in found.evidence)
    assert "libnames_misspelled" in found.remedy
    found = forecast(built("why/libwants.so"))
    assert any(line == "WHY_2 is needed for newer" for line in found.evidence)
    assert not any(line.startswith("further:") for line in found.evidence)
    found = forecast("libtwi.so")
    assert any(line.endswith("/libtwo.so") for line in found.evidence)
    found = forecast("/nonesuch/libx.so")
    assert any("no directory /nonesuch" in line for line in found.evidence)


def test_rights(tmp_path: Path) -> None:
    path = tmp_path / "secret.so"
    path.write_bytes(built("why/libplain.so").read_bytes())
    path.chmod(0o600)
    assert forecast(path, rights=Rights(NOBODY, (), None, None)).kind == "no_permission"
    mount = Mount(str(tmp_path), "tmpfs", frozenset({"rw", "noexec"}))
    found = forecast(path, rights=Rights(None, (mount,), None, None))
    assert found.kind == "no_permission"
    assert "noexec" in found.message


def test_limits() -> None:
    big = built("why/libbig.so")
    limits = Limits(60 << 20, None, None, 50 << 20, 0, 3)
    assert forecast(big, rights=Rights(None, (), limits, None)).kind == "cannot_map"
    limits = limits._replace(address_space=200 << 20)
    assert forecast(big, rights=Rights(None, (), limits, None)).kind == OK
    limits = limits._replace(data=8 << 20)
    assert forecast(big, rights=Rights(None, (), limits, None)).kind == "cannot_map"
    limits = Limits(None, None, 3, 0, 0, 3)
    assert forecast(big, rights=Rights(None, (), limits, None)).kind == "too_many_files"


def test_cpu_levels() -> None:
    path = built("why/libisa.so")
    flags = "cmov cx8 fpu fxsr mmx sse sse2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
    assert forecast(path, cpuinfo=f"flags\t\t: {flags}\n").kind == "cpu_level"
    assert forecast(path).kind == OK  # nobody tells which CPU it is


def test_what_dlopen_alone_refuses(tmp_path: Path) -> None:
    """An executable stack is refused to what is opened since glibc 2.41, not to what starts; the
    room for static TLS is not known before."""
    source, library = tmp_path / "lib.c", tmp_path / "lib.so"
    model = '__attribute__((tls_model("initial-exec")))'
    source.write_text(f"static __thread {model} int x; int *where(void) {{ return &x; }}\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    found = forecast(library, release=41)
    assert found.kind == OK
    (note,) = [line for line in found.evidence if line.startswith("but ")]
    assert "needs 4 bytes of static TLS" in note
    source.write_text("int main(void) { return 0; }\n")
    flags = ["-Wl,-z,execstack", "-Wl,--no-warn-execstack"]
    subprocess.run(["gcc", "-shared", "-fPIC", *flags, "-o", library, source], check=True)
    subprocess.run(["gcc", *flags, "-o", tmp_path / "program", source], check=True)
    kinds = [forecast(library, release=release).kind for release in (40, 41)]
    assert kinds == [OK, "executable_stack"]
    assert forecast(None, tmp_path / "program", release=41).kind == OK
    assert forecast(library, tmp_path / "program", release=41).kind == OK


def test_environment_leads_to_a_library() -> None:
    program = built("search/bare")
    found = forecast("libleaf.so", program=program)
    assert found.kind == "missing_file"
    folder = str(program.parent / "one")
    found = forecast("libleaf.so", program=program, environment={"LD_LIBRARY_PATH": folder})
    assert found.kind == OK
    assert any("LD_LIBRARY_PATH" in line for line in found.evidence)


def test_damaged_files_have_a_class(tmp_path: Path) -> None:
    """Whatever is in a file, a cause comes out, and nothing is raised."""
    chance = random.Random(7)
    sources = ["loader/libone.so", "why/libwants.so", "versions/libnew.so", "why/libtls.so"]
    sound = [p.read_bytes() for n in sources if (p := _maybe(n)) is not None]
    assert len(sound) >= 3
    path = tmp_path / "damaged.so"
    for number in range(240):
        data = bytearray(sound[number % len(sound)])
        reach = 700 if number % 3 else len(data)
        for _ in range(chance.choice((1, 3, 20))):
            data[chance.randrange(reach)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        path.write_bytes(data)
        assert forecast(path).kind in CLASSES


def _maybe(name: str) -> Path | None:
    path = programs.BUILDS / "x86_64" / name
    return path if path.is_file() else None
