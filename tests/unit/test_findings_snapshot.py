"""Snapshots as files: round trips, bad ones, and damage of every kind by way of `gdbext diff`."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdbext import cli
from gdbext.elf.problem import Problem
from gdbext.findings.snapshots import fields, snapshot_file
from gdbext.findings.snapshots.snapshot import Slots, snapshot_json, to_document
from gdbext.findings.snapshots.snapshot_document import decode_snapshot
from gdbext.findings.snapshots.snapshot_file import read_snapshot
from gdbext.render.archive import write_archive
from tests.harness import validated
from tests.unit.snapshots import snapshot

PLAIN = snapshot_json(snapshot()).encode()


def bundle() -> bytes:
    file = io.BytesIO()
    write_archive(file, {"snapshot.json": PLAIN, "manifest.json": b"{}\n", "report.txt": b"text"})
    return file.getvalue()


FORMS = {"plain": PLAIN, "gzip": gzip.compress(PLAIN, mtime=0), "bundle": bundle()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two levels deep, so that a file that got out would be seen."""
    made = tmp_path_factory.mktemp("outside") / "inside"
    made.mkdir()
    (made / "good").write_bytes(PLAIN)
    return made


def diff(folder: Path, data: bytes, *options: str) -> tuple[int, str, str]:
    """`gdbext diff good bad`: (status, standard output, standard error)."""
    (folder / "bad").write_bytes(data)
    before = everything(folder)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(["diff", str(folder / "good"), str(folder / "bad"), *options])
    assert everything(folder) == before
    return status, written(out), written(err)


def written(file: io.TextIOWrapper) -> str:
    file.seek(0)
    return file.read()


def everything(folder: Path) -> list[Path]:
    return sorted(folder.parent.rglob("*"))


def survives(folder: Path, data: bytes) -> int:
    """Either an answer or one clear line, and its status."""
    status, out, err = diff(folder, data)
    if status == 2:
        assert (out, err.count("\n")) == ("", 1), err
        assert err.startswith("gdbext: "), err
    else:
        assert (status, err) == (0, ""), err
        assert out.startswith("Before: ")
    return status


@pytest.mark.parametrize("form", FORMS)
def test_round_trip(folder: Path, form: str) -> None:
    (folder / "file").write_bytes(FORMS[form])
    assert read_snapshot(str(folder / "file")) == snapshot()
    (folder / "file").unlink()
    assert diff(folder, FORMS[form], "--exit-code")[0] == 0
    validated(json.loads(diff(folder, FORMS[form], "--json")[1]))


def test_the_document_fits_its_schema() -> None:
    validated(to_document(snapshot()))
    assert json.loads(PLAIN) == to_document(snapshot())


def test_exit_status(folder: Path) -> None:
    other = snapshot_json(snapshot(cpu="aarch64")).encode()
    assert diff(folder, other)[0] == 0
    status, out, _ = diff(folder, other, "--exit-code")
    assert status == 1
    assert "cpu x86-64 → aarch64" in out


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "it is a list, not an object"),
        (b"{}", "it has no schema"),
        (b'{"schema": "gdbext/links/1"}', "its schema is 'gdbext/links/1'"),
        (b'{"schema": "gdbext/snapshot/2"}', "another version"),
        (b'{"schema": "gdbext/snapshot/1"}', "words is missing"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"[]," * 4_000_001, "too many lists"),
        (b'{"schema": ' + b"9" * 100_000 + b"}", "not JSON"),
        (b'{"schema": NaN}', "it has no schema"),
        (PLAIN[:-20], "not JSON"),
        (FORMS["gzip"][:-20], "damaged gzip"),
        (FORMS["bundle"][:-30], "damaged zip"),
    ],
)  # fmt: skip
def test_what_is_no_snapshot(folder: Path, data: bytes, words: str) -> None:
    assert survives(folder, data) == 2
    assert words in diff(folder, data)[2]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("words",), [1], "words is not a list of texts"),
        (("modules", 0, "path"), 7, "modules[0].path is a number, not a text"),
        (("modules", 0, "kind"), "other", "modules[0].kind is none of"),
        (("modules", 0, "namespace"), -1, "a whole number from 0 on"),
        (("modules", 0, "namespace"), True, "is true or false, not a whole number"),
        (("modules", 1, "symbols", "names"), [], "the columns of modules[1].symbols differ"),
        (("modules", 1, "symbols", "kinds"), [9999], "whole numbers in their range"),
        (("modules", 1, "symbols", "sizes"), [1 << 64], "whole numbers in their range"),
        (("modules", 1, "dynamic"), [["NEEDED"]], "not a tag and its value"),
        (("modules", 2, "slots", "leads"), [4, 0], "whole numbers in their range"),
        (("threads", 1, "module"), 4, "threads[1].module is no module"),
        (("static_tls", "size"), 1.5, "a whole number"),
        (("modules",), [{}] * 20_001, "more than 20000"),
    ],
)
def test_wrong_values_are_named(
    folder: Path, place: tuple[Any, ...], value: object, words: str
) -> None:
    status, _, err = diff(folder, replaced(place, value))
    assert status == 2
    assert words in err


def replaced(place: tuple[Any, ...], value: object) -> bytes:
    document: Any = json.loads(PLAIN)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return json.dumps(document).encode()


def test_long_numbers_are_refused_by_any_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_PARSE_INT", fields._short_number)
    assert decode_snapshot(PLAIN) == snapshot()
    with pytest.raises(Problem, match="a number of 21 digits"):
        fields.parse(b"[" + b"1" * 21 + b"]")


def test_no_bundle_is_unpacked_without_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_file, "LARGEST", 100_000)
    for write in (lambda f: write_archive(f, {"snapshot.json": bytes(5_000_000)}),
                  lambda f: f.write(gzip.compress(bytes(5_000_000)))):  # fmt: skip
        file = io.BytesIO()
        write(file)
        assert "more than 100000 bytes" in diff(folder, file.getvalue())[2]
    assert "more than 100000 bytes" in diff(folder, bytes(100_001))[2]


def test_archives_that_are_no_bundles(folder: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../evil", "x")
        archive.writestr("/etc/evil", "x")
        archive.writestr("dir/snapshot.json", PLAIN)
    assert "no bundle of gdbext" in diff(folder, file.getvalue())[2]
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(1001):
            archive.writestr(str(number), "")
    assert "too many entries" in diff(folder, many.getvalue())[2]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("snapshot.json", PLAIN)
    assert "packed in another way" in diff(folder, packed.getvalue())[2]


def test_what_is_no_file(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    for name, words in (("none", "cannot open"), (".", "not a regular file"), ("fifo", "regular")):
        with pytest.raises(Problem, match=words):
            read_snapshot(str(folder / name))
    (folder / "fifo").unlink()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(1 << 70), 1 << 70)
    | st.sampled_from([0, 1, -1, -2, 3, 4, "", "ok", "bound", "lazy", "\ud800", "\x1b[31m", "../x"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
QUICKLY = settings(
    max_examples=10 * int(os.environ.get("GDBEXT_DAMAGE", "15")),
    deadline=None,
    derandomize="GDBEXT_DAMAGE_RANDOM" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def places(value: object, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a document are."""
    pairs: Any = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, inner in pairs:
        yield (*way, key)
        yield from places(inner, (*way, key))


@QUICKLY
@given(st.sampled_from(list(places(json.loads(PLAIN)))), VALUES)
def test_any_value_anywhere(folder: Path, place: tuple[Any, ...], value: object) -> None:
    survives(folder, replaced(place, value))


@QUICKLY
@given(st.sampled_from(sorted(FORMS)), st.randoms(use_true_random=False), st.integers(1, 8))
def test_bytes_that_changed(folder: Path, form: str, source: random.Random, times: int) -> None:
    data = bytearray(FORMS[form])
    for _ in range(times):
        data[source.randrange(len(data))] = source.randrange(256)
    survives(folder, bytes(data))


@QUICKLY
@given(st.sampled_from(sorted(FORMS)), st.data())
def test_cut_anywhere(folder: Path, form: str, data: st.DataObject) -> None:
    whole = FORMS[form]
    size = data.draw(st.integers(0, len(whole) - 2))
    survives(folder, whole[:size])


def test_a_name_of_a_column_is_checked() -> None:
    """Nothing is taken for granted of the columns: each must be there."""
    for column in Slots._fields:
        document = to_document(snapshot())
        del document["modules"][0]["slots"][column]
        with pytest.raises(Problem, match=f"slots.{column} is missing"):
            decode_snapshot(json.dumps(document).encode())
