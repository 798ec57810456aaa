"""The program of a core, found by its path, by its build-id or beside the core."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gdbext.elf.core import Core, open_core
from gdbext.elf.mapped import dumped_build_id, execution_name, is_program, main_mapping
from gdbext.elf.problem import Problem
from gdbext.elf.storage import kept_paths
from gdbext.postmortem.cores import core_target
from gdbext.postmortem.debugger import Target
from gdbext.postmortem.program import find_program
from tests.unit.crafted import (
    NT_AUXV,
    NT_FILE,
    PT_NOTE,
    file_note,
    make_core,
    make_elf,
    note,
    segment,
    words,
)

BASE, NAME = 0x400000, 0x7000
OWN, OTHER = bytes(range(20)), bytes(range(1, 21))
AT_PHDR, AT_PHNUM, AT_ENTRY, AT_EXECFN = 3, 5, 9, 31
NOTE_AT = 64 + 56 * 4  # the first table of make_elf() with one more segment


def elf(build: bytes | None, more: int = 0) -> bytes:
    """A program with this build-id; `more` dynamic entries make it another one."""
    own = note(b"GNU", 3, build) if build is not None else note(b"GNU", 1, b"")
    extra = [(0x6FFFFE00 + n, n) for n in range(more)]
    return make_elf({0x6FFFFD00: own}, extra, [segment(PT_NOTE, NOTE_AT, len(own), 4, 4)])


def write_core(
    path: Path, program: str, memory: dict[int, bytes], name: str | None = None, files: bool = True
) -> Core:
    """A core of `program`, loaded at BASE, that holds `memory`."""
    auxv = words(AT_PHDR, BASE + 64, AT_PHNUM, 4, AT_ENTRY, BASE, AT_EXECFN, NAME, 0, 0)
    notes = note(b"CORE", NT_AUXV, auxv) + note(b"CORE", 1, bytes(336))
    if files:
        rows = [(BASE, BASE + 0x1000, 0, os.fsencode(program))]
        notes += note(b"CORE", NT_FILE, file_note(rows))
    if name is not None:
        memory = {**memory, NAME: name.encode().ljust(4096, b"\0")}
    path.write_bytes(make_core(memory, notes))
    return open_core(str(path))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for everything, which is the home of the user too."""
    for name in ("DEBUGINFOD_CACHE_PATH", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "cores").mkdir()
    return tmp_path


def test_what_a_core_says(place: Path) -> None:
    core = write_core(place / "core", "/srv/app", {BASE: elf(OWN)}, "./app")
    assert main_mapping(core) == (BASE, "/srv/app", OWN.hex())
    assert execution_name(core) == "./app"
    assert dumped_build_id(core, NAME) is None
    empty = write_core(place / "empty", "/srv/app", {}, files=False)
    assert (main_mapping(empty), execution_name(empty)) == (None, None)


def test_the_same_build(place: Path) -> None:
    core = write_core(place / "core", "/srv/app", {BASE: elf(OWN)})
    main = main_mapping(core)
    assert is_program(core, main, elf(OWN, more=3)) is True  # the build-id decides
    assert is_program(core, main, elf(OTHER)) is False
    assert is_program(core, main, elf(None)) is False
    assert is_program(core, main, b"no ELF") is False


def test_the_same_first_page_or_dynamic_section(place: Path) -> None:
    plain = elf(None)
    core = write_core(place / "core", "/srv/app", {BASE: plain.ljust(4096, b"\0")})
    main = main_mapping(core)
    assert is_program(core, main, plain.ljust(4096, b"\0")) is True
    assert is_program(core, main, elf(None, more=1).ljust(4096, b"\0")) is False
    # qemu-user's cores: neither first page nor mapped files, but the dynamic section
    at = plain.index(words(0x6FFFFD00))
    data = words(0x6FFFFD00, NOTE_AT, 0, 0, 0, 0, 0, 0)
    bare = write_core(place / "bare", "", {BASE + at: data}, files=False)
    assert is_program(bare, None, plain) is True
    assert is_program(bare, None, elf(None, more=1)) is False
    nothing = write_core(place / "nothing", "", {}, files=False)
    assert is_program(nothing, None, plain) is None


def test_found_where_it_was(place: Path) -> None:
    program = place / "bin" / "app"
    program.parent.mkdir()
    core = write_core(place / "cores" / "core", str(program), {BASE: elf(OWN)})
    assert find_program(core, None, None).path is None
    program.write_bytes(elf(OWN))
    assert find_program(core, None, None) == (str(program), None, True)
    root = place / "root"
    copy = root / str(program)[1:]
    copy.parent.mkdir(parents=True)
    copy.write_bytes(elf(OWN))
    assert find_program(core, None, str(root)).path == str(copy)


def test_found_by_its_build_id(place: Path) -> None:
    core = write_core(place / "cores" / "core", "/nonexistent/app", {BASE: elf(OWN)})
    found = find_program(core, None, None)
    assert found.path is None
    assert found.note is not None
    assert OWN.hex() in found.note
    assert "/nonexistent/app is not here" in found.note
    places = [Path(p) for p in kept_paths(OWN.hex(), str(place / "root"), os.environ)]
    cache = place / "home/.cache/debuginfod_client" / OWN.hex() / "executable"
    root = place / "root/usr/lib/debug/.build-id" / OWN.hex()[:2] / OWN.hex()[2:]
    assert places[0] == root
    assert places[-1] == cache
    cache.parent.mkdir(parents=True)
    cache.write_bytes(elf(OTHER))  # whoever put it there was wrong
    assert find_program(core, None, None).path is None
    cache.write_bytes(elf(OWN))
    assert find_program(core, None, None).path == str(cache)


def test_found_beside_the_core(place: Path) -> None:
    core = write_core(place / "cores" / "core", "/nonexistent/app", {BASE: elf(OWN)}, "sub/app")
    beside = place / "cores" / "app"
    beside.write_bytes(elf(OTHER))
    assert find_program(core, None, None).path is None
    beside.write_bytes(elf(OWN))
    assert find_program(core, None, None).path == str(beside)


def test_another_build_is_not_used(place: Path) -> None:
    program = place / "app"
    program.write_bytes(elf(OTHER))
    core = write_core(place / "cores" / "core", str(program), {BASE: elf(OWN)})
    for given in (None, str(program)):
        found = find_program(core, given, None)
        assert found.path is None
        assert found.note is not None
        assert "not used" in found.note
    with pytest.raises(Problem, match="cannot open"):
        find_program(core, str(place / "none"), None)


def test_what_cannot_be_compared_wants_the_users_word(place: Path) -> None:
    program = place / "app"
    program.write_bytes(elf(None))
    core = write_core(place / "cores" / "core", str(program), {})
    found = find_program(core, None, None)
    assert found.path is None
    assert found.note is not None
    assert f"--exe {program} takes it" in found.note
    assert find_program(core, str(program), None) == (str(program), None, False)


def test_truncated_at_any_byte(place: Path) -> None:
    program = place / "app"
    program.write_bytes(elf(OWN))
    core = write_core(place / "cores" / "core", str(program), {BASE: elf(OWN)}, "app")
    data = Path(core.path).read_bytes()
    cut = place / "cores" / "cut"
    told: set[str] = set()
    for size in (*range(700), *range(700, len(data), 61)):
        cut.write_bytes(data[:size])
        problem, target = core_or_problem(cut, place)
        if target is not None:
            assert target.note is None or "not used" in target.note
        assert problem is None or problem.startswith(repr(str(cut)))
        told.add((problem or "").replace(repr(str(cut)), ""))
    assert " does not tell of its threads: it is cut short or damaged" in told


def core_or_problem(core: Path, folder: Path) -> tuple[str | None, Target | None]:
    try:
        return None, core_target(str(core), None, None, folder)
    except Problem as problem:
        return str(problem), None
