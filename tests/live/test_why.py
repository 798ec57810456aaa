"""plug-why, against what dlopen itself then says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gdbext.findings.dlopen_errors import classify
from gdbext.findings.failures import _refines
from tests.forge import cut, forge, relr
from tests.harness import Batch, Gdb
from tests.processes import waiting
from tests.programs import Program, marker
from tests.sessions import Sessions

EACH_SET = pytest.mark.parametrize(
    "cpu",
    ["x86_64", pytest.param("aarch64", marks=pytest.mark.arm64), "musl"],
    indirect=True,
)
# What the files of testprogs/why and others end in; {set: {path below build/SET: class}}
EVERYWHERE = {
    "why/libchain.so": "missing_dependency",
    "why/libneedy.so": "missing_dependency",
    "why/libundefined.so": "undefined_symbol",
    "why/libtls.so": "static_tls",
}
WITH_GLIBC = {
    **EVERYWHERE,
    "why/libwants.so": "version_not_found",
    "why/libfuture.so": "version_not_found",
    "why/libnoopen.so": "not_loadable",
    "why/host": "not_loadable",
    "nopie/host": "not_loadable",
}
ALONE = {"x86_64": {"why/libisa.so": "cpu_level"}}


def built(program: Program) -> dict[Path, str]:
    rows = EVERYWHERE if program.set == "musl" else WITH_GLIBC
    rows = {**rows, **ALONE.get(program.set, {})}
    return {program.folder.parent / name: kind for name, kind in rows.items()}


def answers(output: str) -> list[str]:
    """What the host says of each library that it was told to open."""
    # musl puts a line feed where a local variable has no name
    return re.findall(r"^(failed: .*(?:\n: .*)?|opened .*)$", output, re.MULTILINE)


def agrees(said: str, kind: str) -> bool:
    """Whether a class is the one of glibc's own text, or a finer one."""
    if said.startswith("opened"):
        return kind == "ok"
    coarse = classify(said)
    return coarse == kind or _refines(coarse, kind)


@EACH_SET
def test_each_class_is_foreseen_and_then_explained(
    live: Callable[..., Gdb], program: Callable[[str], Program], cpu: str, tmp_path: Path
) -> None:
    """plug-why PATH before it happens, dlopen's words for it, plug-why after it happened."""
    host = program("why/host")
    forged = forge(tmp_path, host.folder / "libplain.so")
    if cpu == "musl":  # it looks at no more than the magic bytes and the program headers
        forged = {p: k for p, k in forged.items() if k in ("not_elf", "truncated")}
    else:
        path = tmp_path / "relr.so"
        path.write_bytes(relr(bytearray(program("loader/libone.so").path.read_bytes())))
        forged[path] = "version_not_found"
    files = {**built(host), **forged, tmp_path / "nowhere.so": "missing_file"}
    opened = [host.folder / "libplain.so", host.folder / "libmagic.so"]
    gdb = live("loader/host", "wait", *(f"now:{path}" for path in [*files, *opened]), until="ready")
    foreseen = {path: gdb.json(f"plug-why {path}") for path in files}
    assert {p.name: d["class"] for p, d in foreseen.items()} == {
        path.name: kind for path, kind in files.items()
    }
    assert [gdb.json(f"plug-why {path}")["class"] for path in opened] == ["ok", "ok"]
    assert all(d["recorded"] is None and d["remedy"] for d in foreseen.values())
    assert "is recorded" in gdb.cmd("plug-why")
    for path, kind in files.items():
        gdb.until(marker("loader", "failed"))
        found = gdb.json("plug-why")
        assert found["class"] == kind, (path, found)
        assert found["recorded"]["thread"] == 1
        assert found["recorded"]["delivered"] is (None if cpu == "musl" else False)
    gdb.until(marker("loader", "loaded"))
    said = answers(gdb.output())
    kinds = [*files.values(), "ok", "ok"]
    assert len(said) == len(kinds)
    assert [text for text, kind in zip(said, kinds) if not agrees(text, kind)] == []
