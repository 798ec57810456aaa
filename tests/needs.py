"""Who needs whom and which versions, as readelf and LD_DEBUG tell it."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from tests.files import local, with_sections
from tests.oracles import PID_PREFIX, said_by
from tests.searches import read_searches

Document = dict[str, Any]


@cache
def readelf_needed(path: str) -> list[str]:
    """DT_NEEDED, in order."""
    return re.findall(r"\(NEEDED\) +Shared library: \[(.*)\]", said_by("readelf", "-dW", path))


@cache
def readelf_versions(path: str) -> tuple[set[tuple[str, str, bool]], set[str]]:
    """({(file, version, weak) that it requires}, {version that it defines})."""
    required: set[tuple[str, str, bool]] = set()
    defined: set[str] = set()
    section = file = ""
    for line in said_by("readelf", "-VW", path).splitlines():
        if line.startswith("Version "):
            section = line
        elif match := re.search(r"Version: \d+  File: (\S+)  Cnt:", line):
            file = match[1]
        elif match := re.search(r"Name: (\S+)  Flags: (.*?)  Version: ", line):
            required.add((file, match[1], "WEAK" in match[2]))
        elif "definition" in section:
            row = r"Rev: \d+  Flags: (?!BASE).*?  Index: \d+  Cnt: \d+  Name: (\S+)"
            defined.update(re.findall(row, line))
    return required, defined


def relocation_dependencies(output: Path) -> set[tuple[str, str]]:
    """{(who, whom)} of LD_DEBUG=files: l_names, both."""
    (written,) = output.parent.glob(f"{output.name}.*")
    text = PID_PREFIX.sub("", written.read_text(errors="surrogateescape"))
    row = r"file=(.*) \[\d+\];  needed by (.*) \[\d+\] \(relocation dependency\)"
    return {(who, whom) for whom, who in re.findall(row, text)}


def judge_needed(document: Document, output: Path, arm64: bool) -> None:
    """A whole document: files by readelf, relocations and searches by LD_DEBUG=files:libs."""
    judge_files(document, lambda path: local(path, arm64))
    paths = {m["link_map"]: os.path.basename(m["path"]) for m in document["modules"]}
    shown = {
        (paths[m["link_map"]], paths[other["link_map"]])
        for m in document["modules"]
        for other in m["relocation_needs"] or ()
    }
    told = {tuple(map(os.path.basename, pair)) for pair in relocation_dependencies(output)}
    assert shown == {pair for pair in told if set(pair) <= set(paths.values())}
    # ld.so is searched for in every other namespace, and turns out to be there already
    real = [m for m in document["modules"] if m["kind"] != "linker"]
    rules = {os.path.basename(m["path"]): m["search"] for m in real}
    searched = {name: rule for name, rule in read_searches(output).items() if name in rules}
    assert {name: rules[name] for name in searched} == searched
    known = {need["link_map"] for m in document["modules"] for need in m["needed"]}
    assert known <= set(paths)


def judge_files(document: Document, local: Any) -> int:  # noqa: ANN401
    """DT_NEEDED and versions of every module against readelf; LOCAL gives each module's file.

    Returns the number of required versions that were compared."""
    compared = 0
    for module in document["modules"]:
        if module["kind"] == "vdso":
            continue
        path = str(with_sections(Path(local(module["path"]))))
        assert [need["name"] for need in module["needed"]] == readelf_needed(path), path
        required, defined = readelf_versions(path)
        shown = {(r["file"], r["version"], r["weak"]) for r in module["versions_required"]}
        assert shown == required, path
        assert set(module["versions_provided"]) == defined, path
        for row in module["versions_required"]:
            there = readelf_versions(str(with_sections(Path(local(row["provider"])))))[1]
            expected = "provided" if row["version"] in there else "missing"
            assert row["state"] == expected, (path, row)
            compared += 1
    return compared
