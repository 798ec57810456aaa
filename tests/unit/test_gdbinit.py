"""The lines in the gdbinit: what is written, and that every other byte stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbext import gdbinit

PACKAGE = "/opt/venv/lib/python3.11/site-packages/gdbext"
LINES = gdbinit.block_lines(PACKAGE, [], auto_load=False)
OTHER = gdbinit.block_lines("/elsewhere/gdbext", ["/needs"], auto_load=True)

# Bytes that a gdbinit may hold, line ends of every kind among them, but no markers yet.
CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from([b"set width 0", b"\xff\xfe", b"", b"\r", b"\n", b"\r\n", b"# x"]),
        max_size=12,
    ).map(b"".join),
).filter(lambda content: b"gdbext" not in content)


@given(CONTENTS)
def test_removing_restores_every_byte(content: bytes) -> None:
    assert gdbinit.without_block(gdbinit.with_block(content, LINES)) == content


@given(CONTENTS)
def test_installing_twice_changes_nothing_more(content: bytes) -> None:
    once = gdbinit.with_block(content, LINES)
    assert gdbinit.with_block(once, LINES) == once


@given(CONTENTS)
def test_an_update_replaces_the_lines_and_can_still_be_removed(content: bytes) -> None:
    updated = gdbinit.with_block(gdbinit.with_block(content, OTHER), LINES)
    assert updated == gdbinit.with_block(content, LINES)
    assert gdbinit.without_block(updated) == content


def test_a_file_that_install_created_is_gone_after_remove() -> None:
    created = gdbinit.with_block(None, LINES)
    assert gdbinit.without_block(gdbinit.with_block(created, OTHER)) is None


def test_a_created_file_with_lines_of_the_user_stays() -> None:
    created = gdbinit.with_block(None, LINES) + b"set width 0\n"
    assert gdbinit.without_block(created) == b"set width 0\n"


def test_lines_added_after_the_block_stay_lines() -> None:
    content = gdbinit.with_block(b"set width 0", LINES) + b"set height 0\n"
    assert gdbinit.without_block(content) == b"set width 0\nset height 0\n"


def test_an_update_leaves_the_block_where_the_user_moved_it() -> None:
    content = gdbinit.with_block(b"", OTHER) + b"set width 0\n"
    updated = gdbinit.with_block(content, LINES)
    assert updated.startswith(gdbinit.BEGIN)
    assert updated.endswith(b"set width 0\n")


def test_the_block_takes_the_line_ends_of_the_file() -> None:
    content = gdbinit.with_block(b"set width 0\r\n", LINES)
    assert content.count(b"\n") == content.count(b"\r\n")


@pytest.mark.parametrize(
    "content",
    [
        b"# >>> gdbext >>>\nset width 0\n",
        b"set width 0\n# <<< gdbext <<<\n",
        b"# <<< gdbext <<<\n# >>> gdbext >>>\n",
        b"# >>> gdbext >>>\n# >>> gdbext >>>\n# <<< gdbext <<<\n",
        b"# >>> gdbext >>>\n# <<< gdbext <<<\n# >>> gdbext >>>\n# <<< gdbext <<<\n",
    ],
)
def test_damaged_markers_are_refused(content: bytes) -> None:
    with pytest.raises(gdbinit.GdbinitError, match="markers are damaged"):
        gdbinit.with_block(content, LINES)
    with pytest.raises(gdbinit.GdbinitError, match="markers are damaged"):
        gdbinit.without_block(content)


@pytest.mark.parametrize(
    ("path", "argument"),
    [
        ("/plain/gdbext", b"/plain/gdbext"),
        ("/with space/gdbext", b'"/with space/gdbext"'),
        ("/o'clock/gdbext", b'"/o\'clock/gdbext"'),
        ('/q"uote/gdbext', b'"/q\\"uote/gdbext"'),
        ("/back\\slash/gdbext", b'"/back\\\\slash/gdbext"'),
        ("/ünï/gdbext", "/ünï/gdbext".encode()),
        (os.fsdecode(b"/\xff/gdbext"), b"/\xff/gdbext"),
    ],
)
def test_directory_argument(path: str, argument: bytes) -> None:
    assert gdbinit.directory_argument(path) == argument


@pytest.mark.parametrize("path", ["/a:b/gdbext", "/a\nb/gdbext", "/a\x1b[31m/gdbext"])
def test_a_path_that_no_gdbinit_can_hold_is_refused(path: str) -> None:
    with pytest.raises(gdbinit.GdbinitError):
        gdbinit.block_lines(path, [], auto_load=False)
    with pytest.raises(gdbinit.GdbinitError):
        gdbinit.block_lines(PACKAGE, [path], auto_load=False)


def test_folders_become_one_c_string_of_ascii() -> None:
    assert gdbinit.c_string(["/a b", "/é", '/"\\']) == rb'"/a b:/\303\251:/\"\\"'


def test_auto_load_names_the_script_by_its_whole_path() -> None:
    lines = gdbinit.block_lines("/with space/gdbext", [], auto_load=True)
    assert lines[-1] == b"source /with space/gdbext/gdbext"


@pytest.mark.parametrize("auto_load", [False, True])
def test_is_current(auto_load: bool) -> None:
    lines = gdbinit.block_lines(PACKAGE, ["/needs"], auto_load=auto_load)
    content = gdbinit.with_block(b"set width 0", lines)
    assert gdbinit.is_current(content, PACKAGE, ["/needs"]) is True
    assert gdbinit.is_current(content, PACKAGE, []) is False
    assert gdbinit.is_current(b"set width 0", PACKAGE, []) is None


def test_the_gdbinit_in_the_configuration_folder_wins(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    assert gdbinit.default_path(environment) == tmp_path / ".gdbinit"
    config = tmp_path / ".config" / "gdb" / "gdbinit"
    config.parent.mkdir(parents=True)
    config.touch()
    assert gdbinit.default_path(environment) == config
    elsewhere = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert gdbinit.default_path(elsewhere) == tmp_path / ".gdbinit"


def test_replacing_keeps_the_link_and_the_mode(tmp_path: Path) -> None:
    target, link = tmp_path / "dotfiles" / "gdbinit", tmp_path / ".gdbinit"
    target.parent.mkdir()
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    gdbinit.replace(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in target.parent.iterdir()] == ["gdbinit"]


def test_a_new_file_gets_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        gdbinit.replace(tmp_path / ".gdbinit", b"new")
    finally:
        os.umask(old)
    assert (tmp_path / ".gdbinit").stat().st_mode & 0o777 == 0o640


def test_a_folder_is_no_gdbinit(tmp_path: Path) -> None:
    with pytest.raises(gdbinit.GdbinitError, match="not a regular file"):
        gdbinit.read(tmp_path)
