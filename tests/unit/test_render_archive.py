"""Archives that are the same for the same contents, and files that are whole or not there."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from gdbext.render.archive import write_archive
from gdbext.render.files import whole_file

ENTRIES = {"b.json": b"{}\n", "a.txt": b"text" * 1000}


def archive(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    write_archive(file, entries)
    return file.getvalue()


def test_the_order_of_the_entries_does_not_matter() -> None:
    assert archive(ENTRIES) == archive(dict(reversed(ENTRIES.items())))


def test_others_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(archive(ENTRIES))
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None
        assert found.namelist() == ["a.txt", "b.json"]
        assert {n: found.read(n) for n in found.namelist()} == ENTRIES
        modes = {stat.filemode(entry.external_attr >> 16) for entry in found.infolist()}
    assert modes == {"-rw-------"}


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with whole_file(str(path)) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(KeyError), whole_file(str(path)) as file:  # noqa: PT012
        file.write(b"two")
        raise KeyError
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    (tmp_path / "link").symlink_to(target)
    with whole_file(str(tmp_path / "link")) as file:
        file.write(b"new")
    assert target.read_text() == "kept"
    assert (tmp_path / "link").read_text() == "new"
