"""Fixtures for live tests: programs on both CPUs, GDB sessions, cores.

A test that cannot run fails: nothing in here skips, and a skip is reported as a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import cores, harness, programs
from tests.cores import Core
from tests.harness import Batch, Gdb
from tests.programs import Program
from tests.sessions import Sessions

# Judges outside of test files say what they saw, too.
pytest.register_assert_rewrite("tests.judges", "tests.symbols")

SESSIONS = pytest.StashKey[Sessions]()
LIVE = Path(__file__).parent / "live"


@pytest.fixture(scope="session")
def built() -> None:
    """testprogs, up to date."""
    programs.build()


@pytest.fixture(params=["x86_64", pytest.param("aarch64", marks=pytest.mark.arm64)])
def cpu(request: pytest.FixtureRequest) -> str:
    """Each CPU in turn; `parametrize("cpu", ["x86_64", "musl"], indirect=True)` chooses others."""
    name: str = request.param
    return name


@pytest.fixture
def program(cpu: str, built: None) -> Callable[[str], Program]:  # noqa: ARG001
    """program("dlopens/host"): that program for the test's CPU."""
    return lambda name: programs.program(name, cpu)


@pytest.fixture
def native(built: None) -> Callable[[str], Program]:  # noqa: ARG001
    """native("dlopens/host"): that program for x86-64, in tests that are not for both."""
    return lambda name: programs.program(name, "x86_64")


@pytest.fixture
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sessions]:
    """What makes sessions, for tests that want more than the fixtures below; it ends them."""
    made = Sessions(tmp_path)
    request.node.stash[SESSIONS] = made
    yield made
    made.close()


@pytest.fixture
def gdb(sessions: Sessions) -> Callable[..., Gdb]:
    """gdb("prog", before=["starti"], gdbext=True, arm64=False): a GDB with those arguments."""
    return sessions.gdb


@pytest.fixture
def live(sessions: Sessions, program: Callable[[str], Program]) -> Callable[..., Gdb]:
    """live("dlopens/host", *args, until="loaded"): a GDB stopped at that marker, on each CPU."""

    def start(name: str, *arguments: str, **options: Any) -> Gdb:  # noqa: ANN401
        return sessions.live(program(name), *arguments, **options)

    return start


@pytest.fixture
def attach(sessions: Sessions, native: Callable[[str], Program]) -> Callable[..., Gdb]:
    """attach("loader/host", "libone.so", "wait", ready="ready"): a GDB attached to it; x86-64."""

    def start(name: str, *arguments: str, **options: Any) -> Gdb:  # noqa: ANN401
        return sessions.attach(native(name), *arguments, **options)

    return start


@pytest.fixture
def gdbserver(sessions: Sessions, native: Callable[[str], Program]) -> Callable[..., Gdb]:
    """gdbserver("dlopens/host", until="loaded"): a GDB connected to gdbserver; x86-64."""

    def start(name: str, *arguments: str, **options: Any) -> Gdb:  # noqa: ANN401
        return sessions.gdbserver(native(name), *arguments, **options)

    return start


@pytest.fixture(scope="session")
def core_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where cores are kept, one place for all workers of this run."""
    base = tmp_path_factory.getbasetemp()
    # pytest-xdist gives each worker a folder popen-gwN in the run's own.
    shared = base.parent if base.name.startswith("popen-") else base
    cache = shared / "cores"
    cache.mkdir(exist_ok=True)
    return cache


@pytest.fixture
def core(core_cache: Path, program: Callable[[str], Program]) -> Callable[..., Core]:
    """core("nullcall/host", *args, filter=None, gone=False): the core of that program's crash."""

    def make(name: str, *arguments: str, **options: Any) -> Core:  # noqa: ANN401
        return cores.make_core(core_cache, program(name), *arguments, **options)

    return make


@pytest.fixture
def open_core(sessions: Sessions, core: Callable[..., Core]) -> Callable[..., Gdb]:
    """open_core(core(…) or "nullcall/host", with_program=True): a GDB on that core."""

    def start(which: Core | str, **options: Any) -> Gdb:  # noqa: ANN401
        return sessions.core(core(which) if isinstance(which, str) else which, **options)

    return start


@pytest.fixture
def batch(tmp_path: Path) -> Callable[..., Batch]:
    """batch("-ex", "plug-links", "prog", arm64=False, gdbext=True): how `gdb -batch` ended."""

    def run(*arguments: str, **options: Any) -> Batch:  # noqa: ANN401
        options.setdefault("cwd", tmp_path)
        return harness.batch(*arguments, **options)

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below tests/live drives a GDB."""
    for item in items:
        if LIVE in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the sessions' logs with a failure, and turn a skip into one."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"a test that cannot run fails: {report.longrepr}"
    if report.failed and SESSIONS in item.stash:
        for session in item.stash[SESSIONS].all:
            report.sections.append((f"{session.log}", session.text()[-20_000:]))
            if session.output():
                report.sections.append((f"{session.program_output}", session.output()[-4_000:]))
