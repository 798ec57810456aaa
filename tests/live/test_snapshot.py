"""plug-snapshot: what it holds is what the other commands say."""

from __future__ import annotations

import gzip
import json
import stat
from collections.abc import Callable
from pathlib import Path

from gdbext.findings.snapshots.snapshot_file import read_snapshot
from tests import oracles
from tests.harness import Gdb, validated
from tests.programs import ARM64_ROOT


def test_a_snapshot(live: Callable[..., Gdb], tmp_path: Path) -> None:
    gdb = live("dlopens/host", until="loaded")
    document = gdb.json("plug-snapshot")
    links = [m for n in gdb.json("plug-links")["namespaces"] for m in n["modules"]]
    assert [m["path"] for m in document["modules"]] == [m["path"] for m in links]
    for module, link, got in zip(document["modules"], links, gdb.json("plug-got -all")["modules"]):
        columns = module["slots"]
        places = [int(slot["address"], 16) - int(link["base"], 16) for slot in got["slots"]]
        assert columns["offsets"] == places
        assert columns["symbols"] == [slot["symbol"] or "" for slot in got["slots"]]
        for slot, leads, target in zip(got["slots"], columns["leads"], columns["targets"]):
            path = slot["provider"] or (slot["expected"] if slot["state"] == "lazy" else None)
            assert path == (links[leads]["path"] if leads >= 0 else None), slot
            if target >= 0:
                assert target + int(links[leads]["base"], 16) == int(slot["value"], 16)
    written = tmp_path / "a b.json"
    assert gdb.cmd(f"plug-snapshot '{written}'").startswith(f"{written}: {len(links)} modules, ")
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert json.loads(written.read_text()) == document
    judge_symbols(written, gdb.arm64)
    gdb.cmd(f"plug-snapshot '{written}.gz'")
    assert gzip.decompress(Path(f"{written}.gz").read_bytes()) == written.read_bytes()
    assert len(list(tmp_path.glob("a b*"))) == 2
    assert "name a FILE" in gdb.cmd("plug-snapshot")


def judge_symbols(file: Path, arm64: bool) -> None:
    """The symbol tables are those that nm reads in the files."""
    judged = []
    for module in read_snapshot(str(file)).modules:
        folders = (Path("/"), ARM64_ROOT) if arm64 else (Path("/"),)
        files = [folder / module.path.lstrip("/") for folder in folders[::-1]]
        path = next((file for file in files if file.is_file()), None)
        if path is None or module.symbols is None:
            continue  # the vDSO
        rows = zip(*module.symbols[:3])
        own = {
            # nm shows a version's own name without the version
            (name if version == f"@@{name}" else name + version, kind.endswith(" UNDEF"))
            for name, version, kind in rows
        }
        assert own == {
            (nm_name(symbol), symbol.kind in "Uwv" and symbol.value is None)
            for symbol in oracles.nm_symbols(path)
        }, path
        judged.append(path.name)
    assert {"host", "libc.so.6"} <= set(judged)


def nm_name(symbol: oracles.NmSymbol) -> str:
    if not symbol.version:
        return symbol.name
    return f"{symbol.name}{'@@' if symbol.default else '@'}{symbol.version}"


def test_no_arguments_and_no_environment(live: Callable[..., Gdb], tmp_path: Path) -> None:
    gdb = live("loader/host", "libone.so", "SECRET-WORD", env={"TOKEN": "SECRET-VALUE"})
    gdb.cmd(f"plug-snapshot {tmp_path}/x.json")
    text = (tmp_path / "x.json").read_text()
    assert validated(json.loads(text))
    assert "SECRET" not in text
