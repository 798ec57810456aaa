"""Judging plug-symbol by expect.json and by plug-got, for a program at a stop."""

from __future__ import annotations

import os
from typing import Any

from tests import judges, programs
from tests.harness import Gdb
from tests.programs import Run

Document = dict[str, Any]
# Slots of several kinds, each with a winner of its own: a name alone does not say which.
SEVERAL = ("fixed", "tlsname")


def name(path: str | None) -> str | None:
    return None if path is None else os.path.basename(path)


def winners(document: Document) -> list[str | None]:
    """The modules that the scopes say win: those that define it and are not skipped."""
    return [name(r["module"]) for r in document["scope"] if r["defines"] and not r["skipped"]]


def rows_of(run: Run, index: int) -> list[Document]:
    """The rows of expect.json for a run, without those that this machine's glibc decides."""
    rows = []
    for general in programs.expectations(run.scenario, run.set)["bindings"]:
        row = {**general, **general.get(run.set, {})}
        here = row.get("run", 0) == index and run.set in row.get("builds", programs.SETS)
        if here and "until_glibc" not in row:
            rows.append(row)
    return rows


def path_of(links: Document, module: str) -> str:
    path: str = next(m["path"] for m in judges.modules(links) if name(m["path"]) == module)
    return path


def bound_by_is_what_plug_got_says(document: Document, got: Document) -> None:
    """The slots for the symbol, all of them and no others."""
    keys = ("type", "version", "state", "provider", "expected", "verdict", "reason")
    wanted = {
        (module["path"], slot["address"]): [slot[key] for key in keys]
        for module in got["modules"]
        for slot in module["slots"]
        if slot["symbol"] == document["symbol"] and document["version"] in (None, slot["version"])
    }
    if document["version"] is not None:  # asked for without one, it shows those of all versions
        found = [b for b in document["bound_by"] if b["version"] == document["version"]]
    else:
        found = document["bound_by"]
    assert {(b["module"], b["slot"]): [b[key] for key in keys] for b in found} == wanted


def judge_winners(gdb: Gdb, run: Run, index: int, got: Document, links: Document) -> None:
    """Each rule of the lookup: the winner is what the scenario says."""
    for row in rows_of(run, index):
        if [m["path"] for m in judges.modules(links)].count(path_of(links, row["module"])) > 1:
            continue  # in two namespaces; test_symbol.py's test_namespaces has these
        version = f"@{row['version']}" if row.get("version") else ""
        document = gdb.json(f"plug-symbol {row['symbol']}{version} -from {row['module']}")
        assert name(document["from"]) == row["module"]
        assert document["asked_by"] != "dlsym"
        assert name(document["winner"]) == row["winner"], (row, document)
        assert set(winners(document)) <= {row["winner"]}, row
        bound_by_is_what_plug_got_says(document, got)
