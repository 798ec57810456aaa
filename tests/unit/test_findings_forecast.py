"""What files would end in, without a process: every class that files alone decide, and damage."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

from gdbext.elf.file import open_elf
from gdbext.elf.image import DT_INIT, DT_STRTAB, DT_SYMTAB, PT_DYNAMIC, PT_LOAD
from gdbext.findings.opening.dlopen_errors import CLASSES, OK
from gdbext.linker.opening.rights import Credentials, Limits, Mount, Rights
from tests import programs
from tests.forge import forge, segments
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
    path = tmp_path / "private" / "nowhere.so"  # nobody tells those whether it is there
    path.parent.mkdir(mode=0o700)
    assert forecast(path).kind == "missing_file"
    (tmp_path / "way").symlink_to(path.parent / "..")
    for refused in (path, tmp_path / "way" / "secret.so"):
        assert forecast(refused, rights=Rights(NOBODY, (), None, None)).kind == "no_permission"
    path = tmp_path / "secret.so"
    mount = Mount(str(tmp_path), "tmpfs", frozenset({"rw", "noexec"}))
    found = forecast(path, rights=Rights(None, (mount,), None, None))
    assert found.kind == "no_permission"
    assert "noexec" in found.message
    mount = Mount("/proc", "proc", frozenset({"rw", "noexec"}))
    with path.open("rb") as file:  # an open file is not where its link is
        through = f"/proc/{os.getpid()}/fd/{file.fileno()}"
        assert forecast(through, rights=Rights(None, (mount,), None, None)).kind == OK


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
    compiled(library, "int one;", "-Wl,-z,nodlopen")
    subprocess.run(["gcc", "-o", tmp_path / "program", source, "-Wl,--no-as-needed", library])
    assert forecast(library).kind == "not_loadable"
    assert forecast(None, tmp_path / "program").kind == OK
    data = bytearray((tmp_path / "program").read_bytes())
    data[7] = 9  # the OS ABI, at which the kernel does not look
    (tmp_path / "program").write_bytes(data)
    assert forecast(None, tmp_path / "program").kind == OK


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


def compiled(library: Path, source: str, *flags: str | Path) -> Path:
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-x", "none", "-o", library, *flags]
    subprocess.run(command, input=source.encode(), check=True)
    return library


def test_paths_as_the_kernel_walks_them(tmp_path: Path) -> None:
    library = tmp_path / "libplain.so"
    library.write_bytes(built("why/libplain.so").read_bytes())
    (tmp_path / "loop").symlink_to("pool")
    (tmp_path / "pool").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo.so")
    missing = {
        f"{library}/": f"{library} is not a directory",
        f"{library}/../libplain.so": f"{library} is not a directory",
        f"{tmp_path}/none/../libplain.so": f"there is no directory {tmp_path}/none",
        f"{tmp_path}/loop": "is a symbolic link to pool, which leads on through too many links",
        f"{tmp_path}/" + "./" * 2048 + "libplain.so": "bytes, and a path may have 4095",
    }
    for path, why in missing.items():
        found = forecast(path)
        assert found.kind == "missing_file", path
        assert any(why in line for line in found.evidence), found
    assert forecast(tmp_path / "fifo.so").kind == "not_elf"
    assert forecast(f"{tmp_path}/./libplain.so").kind == OK
    assert forecast("/$LIB/libc.so.6").kind == OK
    assert forecast("").kind == OK  # the program


def test_filters(tmp_path: Path) -> None:
    """A filter needs what it stands for, an auxiliary one does without; it comes before both."""
    empty = "int filtered;"
    strict = compiled(tmp_path / "strict.so", empty, "-Wl,-F,libgone.so")
    loose = compiled(tmp_path / "loose.so", empty, "-Wl,-f,libgone.so")
    found = forecast(strict)
    assert found.kind == "missing_dependency"
    assert f"{strict} needs libgone.so (DT_FILTER)" in found.evidence
    assert forecast(loose).kind == OK
    there = compiled(tmp_path / "there.so", "int deep;")
    needy = compiled(tmp_path / "needy.so", "extern int deep; int *where = &deep;")
    assert forecast(needy).kind == "undefined_symbol"
    needy = compiled(
        tmp_path / "needy.so", "extern int deep; int *where = &deep;", f"-Wl,-F,{there}"
    )
    assert forecast(needy).kind == OK


def test_a_file_that_lost_its_versions(tmp_path: Path) -> None:
    """glibc up to 2.36 dies of it, from 2.41 on it warns; in between nobody looked."""
    script = tmp_path / "versions"
    script.write_text("V1 { global: versioned; };")
    library = tmp_path / "libversioned.so"
    soname = "-Wl,-soname,libversioned.so"
    compiled(library, "int versioned;", soname, f"-Wl,--version-script={script}")
    needy = compiled(
        tmp_path / "needy.so",
        "extern int versioned; int *where = &versioned;",
        library,
        "-Wl,-rpath,$ORIGIN",
    )
    assert forecast(needy, release=36).kind == OK
    compiled(library, "int versioned;", soname)
    kinds = [forecast(needy, release=release).kind for release in (36, 38, 41)]
    assert kinds == ["version_not_found", "unknown", OK]


def test_damage_that_nothing_checks(tmp_path: Path) -> None:
    """ld.so dies in these, without a word."""
    path = tmp_path / "damaged.so"
    sound = built("why/libplain.so").read_bytes()
    dynamic = open_elf(str(built("why/libplain.so"))).image
    (segment,) = [s for s in dynamic.segments if s.type == PT_DYNAMIC]
    rows = {tag: segment.offset + 16 * i for i, (tag, _) in enumerate(dynamic.dynamic)}
    for tag, at, value, told in (
        (DT_STRTAB, 0, 0x6FFFFEF0, "it has no DT_STRTAB"),
        (DT_SYMTAB, 8, 1 << 40, "DT_SYMTAB is 0x10000000000, which is in no segment"),
        (DT_INIT, 8, segment.vaddr, "which is no code"),
        (9, 8, 16, "DT_RELAENT is 16, not 24"),
    ):
        data = bytearray(sound)
        struct.pack_into("<Q", data, rows[tag] + at, value)
        path.write_bytes(data)
        found = forecast(path)
        assert (found.kind, told in found.message) == ("not_loadable", True), found
    data = bytearray(sound)
    for at, segment in zip(segments(data), dynamic.segments):
        if segment.type == PT_LOAD and not segment.vaddr:
            struct.pack_into("<Q", data, at + 40, 1 << 20)  # p_memsz, over the next one
    path.write_bytes(data)
    assert forecast(path).kind == "cannot_map"


def test_many_unknown_names_are_a_host_programs(tmp_path: Path) -> None:
    """A similar name is a remedy for one that is misspelled, not for a plugin's."""
    names = [f"host_api_{number}" for number in range(12)]
    names[0] = "wheree"  # which is almost what another library has
    compiled(tmp_path / "near.so", "int wheree_;")
    source = "".join(f"extern int {name}; int *to_{name} = &{name};" for name in names)
    found = forecast(compiled(tmp_path / "plugin.so", source))
    assert "plugin of another program" in found.remedy
    found = forecast(compiled(tmp_path / "one.so", "extern int wheree; int *to = &wheree;"))
    assert "wheree_" in found.remedy
