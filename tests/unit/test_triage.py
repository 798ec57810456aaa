"""Triage without GDB: which files are cores, what is known of them already, groups, text."""

from __future__ import annotations

import fcntl
import gzip
import json
import lzma
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbext.elf.problem import Problem
from gdbext.findings.crash.signature import Site
from gdbext.triage.groups import document, grouped
from gdbext.triage.journal import Journal
from gdbext.triage.outcome import (
    Crash,
    Identity,
    Job,
    Outcome,
    Settings,
    failed,
    from_line,
    line,
    line_document,
)
from gdbext.triage.plan import Plan, plan
from gdbext.triage.pool import local_outcomes
from gdbext.triage.search import Core, find_cores
from gdbext.triage.text import lines
from tests.harness import validated

SITE = Site("module", "libplugin.so", "ab" * 20, "0x1117", "run")
NAMELESS = SITE._replace(symbol=None)
HERE = Identity(100, 5)
HOSTILE = "/cores/\x1b[2J\n<script>'../\udcff"


def crash(signature: str = "a" * 16, **changes: Any) -> Crash:  # noqa: ANN401
    fields = {
        "what": "null_slot",
        "text": "libplugin.so called f, whose GOT slot is null",
        "signal": "SIGSEGV",
        "program": "/opt/host",
        "sites": (SITE,),
    }
    return Crash(signature=signature, **{**fields, **changes})


def job(core: str, **changes: Any) -> Job:  # noqa: ANN401
    fields = {"identity": HERE, "settings": Settings(), "seconds": 9.0}
    return Job(core, **{**fields, **changes})


def read(core: str, signature: str = "a" * 16, **changes: Any) -> Outcome:  # noqa: ANN401
    return Outcome(job(core), crash(signature, **changes), None, 0.5)


CORE = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\x00" + bytes(46)


# ------------------------------------------------------------------------------- finding cores


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three cores, and much that is none."""
    (tmp_path / "below").mkdir()
    (tmp_path / "core").write_bytes(CORE)
    (tmp_path / "core.xz").write_bytes(lzma.compress(CORE))
    (tmp_path / "below" / "big-endian").write_bytes(CORE[:5] + b"\x02" + CORE[6:16] + b"\0\4")
    (tmp_path / "core.txt").write_text("core\n")
    (tmp_path / "core.cut.gz").write_bytes(gzip.compress(CORE)[:12])
    (tmp_path / "log.gz").write_bytes(gzip.compress(b"a log\n" * 99))
    (tmp_path / "empty").touch()
    (tmp_path / "program").write_bytes(CORE[:16] + b"\x03\x00" + CORE[18:])
    (tmp_path / "below" / "again").symlink_to(tmp_path / "core")
    (tmp_path / "below" / "round").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


def names(paths: list[Path]) -> list[str]:
    return [os.path.basename(core.path) for core in find_cores([str(p) for p in paths]).cores]


def test_cores_in_a_folder_are_told_by_content(folder: Path) -> None:
    assert names([folder]) == ["core", "core.xz", "big-endian"]


def test_each_core_counts_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert names([Path("core"), folder, folder / "below" / "again", folder / "core"]) == [
        "core", "core.xz", "big-endian",
    ]  # fmt: skip


def test_what_is_named_is_taken_as_it_is(folder: Path) -> None:
    assert names([folder / "fifo", folder / "core.txt", folder / "gone", Path("/dev/zero")]) == [
        "fifo", "core.txt", "gone", "zero",
    ]  # fmt: skip
    assert find_cores([str(folder / "gone")]).cores[0].identity is None


def test_a_compressed_file_may_be_a_core_where_nothing_can_read_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert names([folder]) == ["core", "core.cut.gz", "core.xz", "log.gz", "big-endian"]


def test_a_folder_without_cores_is_told(tmp_path: Path) -> None:
    assert find_cores([str(tmp_path)]).notes == (f"no core lies in {str(tmp_path)!r}",)


# ------------------------------------------------------------------------------------ outcomes


@pytest.mark.parametrize(
    "outcome",
    [
        read("/cores/a"),
        read("/cores/a", text=None, signal=None, program=None, sites=()),
        failed(job("/cores/b", identity=None), "two\nlines"),
        failed(job(HOSTILE, settings=Settings("/opt/host", None, "gdb-multiarch")), HOSTILE),
    ],
)
def test_a_line_says_all(outcome: Outcome) -> None:
    data = line(outcome)
    assert data.count(b"\n") == 1
    assert data.isascii()
    validated(json.loads(data))
    assert line(from_line(data)) == data


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"null", b"[1]", b'"x"', b"\xff", b"[" * 9999, b'{"schema": "gdbext/report/1"}',
     line(read("/a")).replace(b'"core": "/a", ', b""),
     line(read("/a")).replace(b'"size"', b'"sighs"'),
     line(read("/a")).replace(b'"kind"', b'"kinds"')],
)  # fmt: skip
def test_another_line_is_refused(data: bytes) -> None:
    with pytest.raises(Problem):
        from_line(data)


# ------------------------------------------------------------------------------------- journal


def kept(path: Path) -> list[str]:
    with Journal(str(path)) as journal:
        return [outcome.job.core for outcome in journal.outcomes]


def test_a_journal_keeps_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    with Journal(str(path)) as journal:
        assert journal.outcomes == ()
        journal.append(read("/a"))
        journal.append(failed(job("/b"), "x"))
        assert path.read_bytes().count(b"\n") == 2  # at once, not at the end
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Journal(str(path)) as journal:
        journal.append(read("/a", "b" * 16))
    with Journal(str(path)) as journal:
        found = {outcome.job.core: outcome for outcome in journal.outcomes}
    assert (found["/a"].crash, found["/b"].problem) == (crash("b" * 16), "x")
    assert path.read_bytes().count(b"\n") == 3


@pytest.mark.parametrize("lost", range(1, len(line(read("/b"))) + 1, 7))
def test_a_half_written_last_line_is_cut(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes((line(read("/a")) + line(read("/b")))[:-lost])
    assert kept(path) == ["/a"]
    assert path.read_bytes() == line(read("/a"))
    path.write_bytes(line(read("/b"))[:-lost])
    assert kept(path) == []
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    "data", [b"my notes", b"my notes\n", line(read("/a")) + b"my notes", b"{}\n", b"\n",
             line(read("/a")) + b"\n" + line(read("/b"))]
)  # fmt: skip
def test_somebody_elses_file_is_left_alone(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(data)
    with pytest.raises(Problem, match=r"triage|no outcome"):
        Journal(str(path))
    assert path.read_bytes() == data


def test_what_cannot_be_a_journal(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "no" / "file", Path("/dev/null")):
        with pytest.raises(Problem):
            Journal(str(path))


def test_one_run_at_a_time_has_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    with path.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Problem, match="another run"):
            Journal(str(path))


@given(st.binary(max_size=400))
def test_no_file_ends_in_a_traceback(data: bytes) -> None:
    path = f"/dev/shm/gdbext-journal-{os.getpid()}"
    Path(path).write_bytes(line(read("/a")) + data)
    try:
        with Journal(path) as journal:
            assert journal.outcomes
    except Problem:
        pass
    finally:
        os.unlink(path)


# ---------------------------------------------------------------------------------------- plan


def planned(before: list[Outcome], **changes: Any) -> Plan:  # noqa: ANN401
    options: dict[str, Any] = {"settings": Settings(), "reports": None, "retry": False, **changes}
    cores = options.pop("cores", [Core("/a", HERE)])
    return plan(cores, seconds=9.0, before=before, **options)


def test_what_is_known_is_not_done_again() -> None:
    assert planned([read("/a")]) == Plan((read("/a"),), ())
    assert planned([failed(job("/a"), "x")]).jobs == ()
    assert planned([]) == Plan((), (job("/a"),))


@pytest.mark.parametrize(
    "changes",
    [
        {"cores": [Core("/b", HERE)]},
        {"cores": [Core("/a", Identity(100, 6))]},
        {"cores": [Core("/a", Identity(101, 5))]},
        {"cores": [Core("/a", None)]},
        {"settings": Settings(sysroot="/srv/root")},
        {"reports": "/tmp/reports"},
    ],
)
def test_what_is_another_core_or_asked_otherwise_is_done(changes: dict[str, Any]) -> None:
    found = planned([read("/a")], **changes)
    assert (len(found.known), len(found.jobs)) == (0, 1)


def test_failures_are_tried_again_on_demand() -> None:
    assert len(planned([failed(job("/a"), "x")], retry=True).jobs) == 1
    assert planned([read("/a")], retry=True).jobs == ()


def test_a_core_whose_name_is_not_utf8_is_known_again() -> None:
    before = from_line(line(failed(job(HOSTILE), "x")))
    assert planned([before], cores=[Core(HOSTILE, HERE)]).jobs == ()


def test_reports_lie_in_their_folder_whatever_the_core_is_called(tmp_path: Path) -> None:
    cores = [Core(HOSTILE, HERE), Core("/a/../../core", HERE), Core("/b/core", HERE)]
    jobs = planned([], cores=cores, reports=str(tmp_path)).jobs
    files = [Path(str(each.report)) for each in jobs]
    assert len(set(files)) == 3
    assert {file.parent for file in files} == {tmp_path}
    assert all(file.stem.isalnum() for file in files)
    done = [Outcome(each, crash(), None, 0.5) for each in jobs]
    before = [from_line(line(outcome)) for outcome in done]
    files[0].touch()
    again = planned(before, cores=cores, reports=str(tmp_path))
    assert [each.core for each in again.jobs] == [core.path for core in cores[1:]]


# ---------------------------------------------------------------------------- groups and text

MANY = [
    *(read(f"/cores/{n}") for n in range(3)),
    read("/cores/9", sites=(NAMELESS,), program="/srv/host"),
    read("/cores/7", "b" * 16, text=None, what="SIGABRT", signal="SIGABRT"),
    read("/cores/8", "c" * 16, text=None, what="no signal", signal=None, sites=(), program=None),
    failed(job("/cores/bad"), "'/cores/bad': not an ELF image"),
    failed(job(HOSTILE), "no report"),
]


def test_groups_are_the_same_in_every_order() -> None:
    found = document(grouped(MANY))
    assert found == document(grouped(MANY[::-1]))
    validated(found)
    assert [group["count"] for group in found["groups"]] == [4, 1, 1]
    assert (found["cores"], found["read"], len(found["failed"])) == (8, 6, 2)
    first = found["groups"][0]
    assert first["cores"] == ["/cores/0", "/cores/1", "/cores/2", "/cores/9"]
    assert first["programs"] == ["/opt/host", "/srv/host"]
    assert first["frames"] == [SITE._asdict()]  # of the core that has the name of the function
    assert validated(document(grouped([])))["groups"] == []


@pytest.mark.parametrize("width", [80, 160])
def test_text_fits_and_is_inert(width: int) -> None:
    long = Site("module", "lib" + "long" * 40 + ".so", "cd" * 20, "0x1", "f" * 200)
    hostile = read(HOSTILE * 3, "d" * 16, text=HOSTILE * 5, program=HOSTILE, sites=(SITE, long))
    shown = list(lines(grouped([*MANY, hostile]), width, color=False))
    assert max(map(len, shown)) <= width
    assert all(text.isprintable() for text in shown)
    assert shown[0] == "9 cores: 4 crash signatures, 2 could not be read"
    assert shown[2] == "4 cores, signature " + "a" * 16
    assert any("SIGABRT in libplugin.so+0x1117 run" in text for text in shown)
    assert shown[-1] == "  '/cores/bad': not an ELF image"


def test_only_color_adds_color() -> None:
    plain, colored = (list(lines(grouped(MANY), 80, color)) for color in (False, True))
    assert not any("\x1b" in text for text in plain)
    assert any(text.startswith("\x1b[1m") for text in colored)


# ------------------------------------------------------------------------------------ the pool


def test_a_bug_in_one_job_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(each: Job, stopped: object) -> Outcome:  # noqa: ARG001
        if each.core == "/2":
            raise IndexError("list index out of range")
        return Outcome(each, crash(), None, 0.1)

    monkeypatch.setattr("gdbext.triage.pool.run_job", run)
    found = [each for each in local_outcomes([job(f"/{n}") for n in range(5)], 2) if each]
    assert sorted(each.job.core for each in found) == [f"/{n}" for n in range(5)]
    (problem,) = (each.problem for each in found if each.problem)
    assert problem.startswith("a bug of gdbext: IndexError: list index out of range at ")
    assert "test_triage.py:" in problem
    assert line_document(found[0])["seconds"] == 0.1
