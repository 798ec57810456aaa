"""Programs that nobody here wrote: Debian's apache2 with every module that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import judges, oracles
from tests.apache import APACHE, MODULES, configuration
from tests.programs import Program
from tests.sessions import Sessions


@pytest.mark.slow
def test_apache_with_every_module(sessions: Sessions, tmp_path: Path) -> None:
    program = Program("apache", APACHE, "x86_64")
    output = tmp_path / "ld"
    env = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(output)}
    gdb = sessions.live(program, "-t", "-f", str(configuration(tmp_path)), until=None, env=env)
    gdb.until("ap_run_test_config")
    links = gdb.json("plug-links")
    objects = judges.judge_links(gdb, program, links, oracles.read_ld_debug_files(output))
    plugins = [o for o in objects if o.module["path"].startswith(f"{MODULES}/")]
    assert len(plugins) > 100
    assert {o.module["kind"] for o in plugins} == {"dlopened"}
    got = gdb.json("plug-got -all")
    assert judges.judge_got(gdb, got, objects) > 5000
    slots = [slot for module in got["modules"] for slot in module["slots"]]
    assert {slot["state"] for slot in slots} == {"bound", "lazy", "null"}
