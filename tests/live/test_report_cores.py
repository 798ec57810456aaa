"""Cores of every sort through `gdbext report`: the right names, or that they are not known."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import cores
from tests.cores import Core, crash
from tests.files import look
from tests.harness import batch, gdb_program
from tests.programs import ARM64_ROOT, Program
from tests.reporting import document, names, options, report

NULL_FRAMES = [(None, None), ("libplugin.so", "plugin_run"), ("host", "main")]
X86_64 = pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
PROGRAM = r"""
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static pthread_barrier_t barrier;
static int deref(volatile char *where) { return *where; }
static void *wait_here(void *unused) { pthread_barrier_wait(&barrier); pause(); return unused; }
int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 0;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 1 << 16);
    pthread_barrier_init(&barrier, NULL, count + 1);
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &small, wait_here, NULL))
            return 1;
    }
    if (argc > 2) {
        size_t size = (size_t)atoi(argv[2]) << 20;
        memset(malloc(size), 1, size);
    }
    pthread_barrier_wait(&barrier);
    usleep(200000);
    return deref(NULL);
}
"""
KINDS = {
    "pie": ["gcc"],
    "nopie": ["gcc", "-no-pie"],
    "static": ["gcc", "-static"],
    "static-pie": ["gcc", "-static-pie"],
    "musl": ["musl-gcc"],
    "musl-static": ["musl-gcc", "-static"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose cores are not kept: they are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def core_of(folder: Path, *words: str | Path, filter: int | None = None) -> Path:  # noqa: A002
    """The kernel's core of a command, or GDB's where the kernel hands its cores elsewhere."""
    place = folder / f"core-{len(list(folder.iterdir()))}"
    place.mkdir()
    command = [str(word) for word in words]
    if cores.kernel_writes_here():
        crash(command, place, filter, "")
    else:
        cores.crash_in_gdb(command, place, filter)
    (core,) = place.glob("core*")
    return core


def compiled(folder: Path, kind: str) -> Path:
    source = folder / "program.c"
    source.write_text(PROGRAM)
    program = folder / kind
    words = [*KINDS[kind], "-g", "-O0", "-pthread", "-o", str(program), str(source)]
    subprocess.run(words, check=True, capture_output=True)
    return program


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_programs(folder: Path, kind: str) -> None:
    program = compiled(folder, kind)
    found = document(core_of(folder, program))
    assert names(found)[:2] == [(kind, "deref"), (kind, "main")]
    assert found["frames"][0]["file"] == str(folder / "program.c")
    assert (found["signal"], found["fault_address"]) == ("SIGSEGV", "0x0")
    assert found["missing"] == []
    libc = {"musl": "musl", "musl-static": None}.get(kind, "glibc")
    assert found["versions"]["libc"] == libc
    if kind in ("nopie", "static"):  # with everything filtered out nothing is known of the program
        bare = document(core_of(folder, program, filter=0))
        assert names(bare) == [(None, None)]
        assert any("--exe" in note for note in bare["notes"])
        assert any("does not hold the stack" in note for note in bare["notes"])


def test_threads(folder: Path) -> None:
    program = compiled(folder, "pie")
    done = report(core_of(folder, program, "1000"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    start = lines.index("Threads:")
    assert lines[start + 1].startswith("Thread 1* ")
    # on a busy machine some are still on their way to pause()
    groups = (re.match(r"(\d+) threads: .*, in pause$", line) for line in lines[start:])
    assert max(int(found[1]) for found in groups if found) > 900
    assert len(lines) < 80
    assert "(1001 like this)" in done.stdout or "reg-xstate" not in done.stdout
    found = document(core_of(folder, program, "40", "1000"))
    assert len(found["threads"]["threads"]) == 41
    assert 2 <= len(found["threads"]["stacks"]) <= 8
    assert names(found)[:2] == [("pie", "deref"), ("pie", "main")]


def test_go(folder: Path) -> None:
    (folder / "main.go").write_text(
        "package main\nfunc inner(p *int) int { return *p }\nfunc main() { println(inner(nil)) }\n"
    )
    env = {**os.environ, "GOCACHE": str(folder / "cache"), "GO111MODULE": "off"}
    words = ["go", "build", "-gcflags=-l", "-o", "program", "main.go"]
    subprocess.run(words, cwd=folder, env=env, check=True, capture_output=True)
    found = document(core_of(folder, "env", "GOTRACEBACK=crash", folder / "program"))
    assert found["signal"] == "SIGABRT"
    assert names(found)[0] == ("program", "runtime.raise.abi0")
    assert found["links"] is None
    assert all(thread["waits_for"] is None or thread["waits_for"]["kind"] == "futex"
               for thread in found["threads"]["threads"])  # fmt: skip


# push %rbp; push %rsi; push %rdx; call *%rdi: code without unwind information, with words on the
# stack that are no return addresses.
GENERATED = r"""
#include <string.h>
#include <sys/mman.h>
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define NOINLINE __attribute__((noinline))
typedef int generated(int (*)(volatile char *), char *);
static int NOINLINE deref(volatile char *where) { return *where + 1; }
static int NOINLINE target(volatile char *where) { return deref((char *)0) + *where; }
static int NOINLINE work(generated *code, char *data) { return code(target, data) + *data; }
int main(void)
{
    char *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, PRIVATE, -1, 0);
    void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, PRIVATE, -1, 0);
    memcpy(code, "\x55\x56\x52\xff\xd7", 5);
    return work((generated *)code, data) + 1;
}
"""


@X86_64
def test_a_handler_that_gave_up(folder: Path, program: Callable[[str], Program]) -> None:
    """What it interrupted has symbols too, though the PC there is null and ends other stacks."""
    found = document(core_of(folder, program("gaveup/host").path))
    assert names(found)[found["fault_level"] :][:3] == NULL_FRAMES
    handler = [frame["symbol"] for frame in found["frames"][: found["fault_level"]]]
    assert {"abort", "give_up"} < set(handler)
    assert found["crash_frame"]["symbol"] == "plugin_run"
    assert (found["signal"], found["cause"]["rule"]) == ("SIGSEGV", "null_slot")
    assert found["ended_by"].startswith("SIGABRT, sent by the process's own handler of SIGSEGV")
    assert "optional_feature" in [near["slot"]["symbol"] for near in found["slots_near_call"]]
    again = document(core_of(folder, program("gaveup/host").path, "libagain.so"))
    assert again["ended_by"] == (
        "SIGSEGV, a fault in the process's own handler of SIGSEGV (frames #0 to #1)"
    )
    assert (again["cause"]["rule"], again["fault_address"]) == ("null_slot", "0x0")


def test_generated_code_on_the_stack(folder: Path) -> None:
    source, program = folder / "program.c", folder / "generated"
    source.write_text(GENERATED)
    subprocess.run(["gcc", "-g", "-O1", "-o", program, source], check=True)
    found = document(core_of(folder, program))
    own = [symbol for module, symbol in names(found) if module == "generated"]
    assert own == ["deref", "target", "work", "main"]
    assert found["frames"][2]["kind"] == "anonymous"


@pytest.fixture
def own(program: Callable[[str], Program], folder: Path) -> Path:
    """A copy of the scenario nullcall that a test may change."""
    copy = folder / "files"
    shutil.copytree(program("nullcall/host").folder, copy)
    return copy


@X86_64
def test_replaced_and_missing_files(own: Path, program: Callable[[str], Program]) -> None:
    core = core_of(own.parent, own / "host")
    whole = document(core)
    builds = {Path(f["module"]).name: f["build_id"] for f in whole["frames"] if f["module"]}
    assert names(whole)[:3] == NULL_FRAMES
    assert [Path(s["module"]).name for s in whole["slots_near_call"]] == ["libplugin.so"]
    assert whole["slots_near_call"][0]["slot"]["symbol"] == "optional_feature"
    other = program("fpe/host").folder
    for name in ("libplugin.so", "host"):  # by rename, as packages do it
        shutil.copy(other / name, own / "new")
        (own / "new").rename(own / name)
    replaced = document(core)
    missing = {Path(m["path"]).name: m for m in replaced["missing"]}
    # both scenarios have the same host, which is the very same build
    assert {name: m["state"] for name, m in missing.items()} == {"libplugin.so": "replaced"}
    assert missing["libplugin.so"]["build_id"] == builds["libplugin.so"]
    assert builds["libplugin.so"] in missing["libplugin.so"]["remedy"]
    assert all(f["file"] is None for f in replaced["frames"] if "plugin" in (f["module"] or ""))
    shutil.rmtree(own)
    gone = document(core)
    assert {Path(m["path"]).name for m in gone["missing"]} == {"host", "libplugin.so"}
    assert gone["missing"][0]["kind"] == "main"
    assert gone["frames"][1]["module"] == whole["frames"][1]["module"]
    assert gone["frames"][1]["build_id"] == builds["libplugin.so"]
    assert "fetch" in report(core).stdout
    # what debuginfod-find has fetched is used
    cache = own.parent / "cache"
    for name, build in builds.items():
        kept = cache / build / "executable"
        kept.parent.mkdir(parents=True)
        shutil.copy(program("nullcall/host").folder / name, kept)
    fetched = document(core, DEBUGINFOD_CACHE_PATH=str(cache))
    assert names(fetched)[:3] == NULL_FRAMES
    assert fetched["missing"] == []
    assert fetched["cause"] == whole["cause"]


def test_what_a_missing_file_leaves_unknown_is_said_once(folder: Path) -> None:
    """It may define whatever the modules behind it refer to; its symbols fill several pages."""
    library, source = folder / "libmany.so", folder / "many.c"
    source.write_text("".join(f"void many_{n}(void) {{}}\n" for n in range(2000)))
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    core = core_of(folder, "env", f"LD_PRELOAD={library}", compiled(folder, "pie"))
    library.unlink()
    said = report(core).stdout.partition("\nSlots that are not ok:\n")[2]
    reason = rf"the symbols of {re.escape(str(library))} cannot be read: "
    (slots,) = re.findall(rf"^  unverified: (\d+) slots: {reason}", said, re.MULTILINE)
    assert int(slots) > 40
    assert len(said.splitlines()) < 60


def test_what_the_linkers_missing_file_leaves_unknown_is_no_alarm(folder: Path) -> None:
    """ld.so's own IRELATIVE slot holds zero for good: only the resolver's code tells that."""
    program, linker, source = folder / "program", folder / "linker.so", folder / "program.c"
    shutil.copy("/lib64/ld-linux-x86-64.so.2", linker)
    source.write_text("int main(void) { __builtin_trap(); }\n")
    interpreter = f"-Wl,--dynamic-linker={linker}"
    subprocess.run(["gcc", "-o", program, source, interpreter], check=True)
    core = core_of(folder, program)
    linker.unlink()
    found = document(core)
    assert {m["path"]: m["state"] for m in found["missing"]} == {str(linker): "absent"}
    (module,) = [m for m in found["got"]["modules"] if m["path"] == str(linker)]
    slots = [slot for slot in module["slots"] if slot["type"] == "R_X86_64_IRELATIVE"]
    assert [(slot["value"], slot["verdict"]) for slot in slots] == [("0x0", "unverified")]
    assert "resolver" in slots[0]["reason"]


def test_files_of_another_machine_below_its_sysroot(folder: Path) -> None:
    """An absolute link there stays there, as Debian's alternatives; a debug file is found there,
    as by GDB, and it alone names a static function."""
    program, library, root = folder / "program", folder / "libinner.so", folder / "root"
    (folder / "inner.c").write_text(
        "static __attribute__((noinline)) int inner(int *where) { return *where; }\n"
        "int outer(int *where) { return inner(where) + 1; }\n"
    )
    (folder / "program.c").write_text("int outer(int *); int main(void) { return outer(0); }\n")
    real, there = folder / "real.so", root / "elsewhere/libother.so"
    library.symlink_to(real)
    flags = ["-shared", "-fPIC", "-O1", "-fno-optimize-sibling-calls", "-Wl,--build-id"]
    subprocess.run(["gcc", *flags, "-o", real, folder / "inner.c"], check=True)
    subprocess.run(["gcc", "-o", program, folder / "program.c", library], check=True)
    build = look(real).build_id or ""
    debug = root / f"usr/lib/debug/.build-id/{build[:2]}/{build[2:]}.debug"
    for made in (debug, there, root / str(program).lstrip("/")):
        made.parent.mkdir(parents=True)
    subprocess.run(["objcopy", "--only-keep-debug", real, debug], check=True)
    subprocess.run(["strip", real], check=True)
    core = core_of(folder, program)
    shutil.move(real, there)
    shutil.move(program, root / str(program).lstrip("/"))
    library.unlink()
    (root / str(library).lstrip("/")).symlink_to("/elsewhere/libother.so")
    found = document(core, "--sysroot", root)
    assert names(found)[:3] == [
        ("libinner.so", "inner"), ("libinner.so", "outer"), ("program", "main"),
    ]  # fmt: skip
    assert found["missing"] == []
    assert found["crash_frame"]["symbol"] == "inner"


def test_another_builds_libc_names_nothing(folder: Path) -> None:
    """GDB reads what is called libc for its threads, whatever auto-solib-add says, and in a
    session every library."""
    program, library, source = folder / "program", folder / "libc.so.9", folder / "lib.c"
    (folder / "program.c").write_text("int outer(int *); int main(void) { return outer(0); }\n")

    def build(text: str) -> None:
        source.write_text(text)
        subprocess.run(["gcc", "-g", "-shared", "-fPIC", "-o", library, source], check=True)

    build("int outer(int *where) { return *where; }\n")
    subprocess.run(["gcc", "-o", program, folder / "program.c", library], check=True)
    core = core_of(folder, program)
    build("int wrong(int *where) { return *where; } int outer(int *where) { return *where + 1; }\n")
    moved = folder / "moved/program"
    moved.parent.mkdir()
    shutil.move(program, moved)
    found = document(core, "--exe", moved)
    assert [(m["path"], m["state"]) for m in found["missing"]] == [(str(library), "replaced")]
    written = folder / "session.json"
    batch(str(moved), str(core), "-ex", f"plug-report -json -out {written}", cwd=folder)
    for told in (found, json.loads(written.read_text())):
        assert told["crash_frame"]["module"] == str(library)
        frames = [(frame["symbol"], frame["file"]) for frame in told["frames"]]
        # the core has its .dynsym; main is the program's, which is here
        assert set(frames) <= {("outer", None), ("main", None), (None, None)}


@X86_64
def test_a_program_that_is_not_the_cores(
    core: Callable[..., Core], program: Callable[[str], Program]
) -> None:
    made = core("nullcall/host")
    found = document(made.path, *options(made), "--exe", program("nopie/host").path)
    assert any("is not the program that wrote this core" in note for note in found["notes"])
    assert names(found)[:3] == NULL_FRAMES  # by the one at its path, which is no guess


@X86_64
def test_truncated(core: Callable[..., Core], tmp_path: Path) -> None:
    made = core("nullcall/host")
    data = made.path.read_bytes()
    for part in (0.1, 0.45, 0.95):
        cut = tmp_path / "core"
        cut.write_bytes(data[: int(len(data) * part)])
        found = document(cut, *options(made))
        assert any("cut short" in note for note in found["notes"])
        assert (found["signal"], found["fault_address"]) == ("SIGSEGV", "0x0")
        known = [pair for pair in names(found) if pair[0]]
        assert all(pair in NULL_FRAMES for pair in known)


@X86_64
@pytest.mark.parametrize("tool", ["zstd", "xz", "lz4", "gzip"])
def test_compressed(core: Callable[..., Core], tmp_path: Path, tool: str) -> None:
    made = core("nullcall/host")
    packed = tmp_path / f"core.{tool}"
    with packed.open("wb") as file:
        subprocess.run([tool, "-1", "-c", str(made.path)], stdout=file, check=True)
    assert names(document(packed, *options(made)))[:3] == NULL_FRAMES
    whole = packed.read_bytes()
    packed.write_bytes(whole[: len(whole) // 2])
    done = report(packed)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"compressed by {tool} and damaged" in done.stderr


@X86_64
def test_gcore(folder: Path, program: Callable[[str], Program]) -> None:
    # GDB's own core writer, which dumps more and leaves out other notes than the kernel
    host = program("nullcall/host").path
    cores.crash_in_gdb([str(host)], folder, None)
    found = document(folder / "core")
    assert names(found)[:3] == NULL_FRAMES
    assert found["cause"]["rule"] == "null_slot"


def test_symbols_where_gdb_finds_no_link_map(core: Callable[..., Core]) -> None:
    made = core("nullcall/host")  # on ARM64 qemu-user's, of which GDB lists no library
    found = document(made.path, *options(made))
    assert names(found)[:3] == NULL_FRAMES
    assert found["frames"][1]["file"].endswith("nullcall/plugin.c")
    assert found["frames"][2]["file"].endswith("common/host.c")
    assert found["missing"] == []
    assert found["next_step"]


SIGNING = r"""
__attribute__((noinline)) static int deref(volatile char *where) { return *where; }
__attribute__((noinline)) int inner(volatile char *where) { return deref(where) + 1; }
__attribute__((noinline)) int outer(volatile char *where) { return inner(where) + 1; }
int main(void) { return outer(0) + 1; }
"""


def test_signed_return_addresses(folder: Path) -> None:
    """Distributions sign them (PAuth). GDB 13 gives up on that in qemu's cores, and live, where
    the stub does not tell of the signature, it shows addresses with it."""
    program = folder / "signing"
    (folder / "signing.c").write_text(SIGNING)
    command = (
        "aarch64-linux-gnu-gcc -g -O2 -fno-optimize-sibling-calls -mbranch-protection=standard"
    )
    subprocess.run([*command.split(), "-o", program, f"{program}.c"], check=True)
    place = folder / "core"
    place.mkdir()
    crash(["qemu-aarch64", "-L", str(ARM64_ROOT), str(program)], place, None, "")
    (core,) = place.glob("qemu_*.core")
    found = document(core, "--gdb", gdb_program(arm64=True), "--sysroot", ARM64_ROOT)
    calls = [("signing", name) for name in ("deref", "inner", "outer", "main")]
    assert names(found)[:4] == calls
    assert found["frames"][2]["line"] == 4
    levels = [level for level, _ in enumerate(found["frames"])]
    notes = [note for note in found["notes"] if "frame records" in note]
    assert len(levels) >= 4
    assert all(f"#{levels[-1]}" in note for note in notes)


ARM64 = pytest.mark.parametrize("cpu", ["aarch64"], indirect=True)


@ARM64
@pytest.mark.parametrize("hidden", ["libraries", "everything"])
def test_qemus_core_without_files(core: Callable[..., Core], folder: Path, hidden: str) -> None:
    made = core("nullcall/host")
    whole = document(made.path, *options(made))
    alone = made.path
    if hidden == "everything":  # the paths in the core lead nowhere
        alone = folder / "core"
        alone.write_bytes(made.path.read_bytes().replace(b"/testprogs/", b"/elsewhere/"))
    found = document(alone, "--gdb", gdb_program(arm64=True))

    def places(report: dict[str, Any]) -> list[tuple[str, str, str]]:
        modules = report["links"]["namespaces"][0]["modules"]
        return [(m["base"], m["start"], m["end"]) for m in modules]

    # ld.so's own fields tell where each module lies: no guess, and nothing called anonymous
    assert places(found) == places(whole)
    modules = [module for module, _ in names(found)]
    assert modules[1] == "libplugin.so"
    # behind code that is not here GDB guesses, and what it makes up is left out
    assert modules == [module for module, _ in names(whole)][: len(modules)]
    if hidden == "libraries":
        assert found["cause"]["text"].endswith("whose GOT slot is null")
    verdicts = {s["verdict"] for m in found["got"]["modules"] for s in m["slots"]}
    headers = {m["got_header"]["verdict"] for m in found["got"]["modules"] if m["got_header"]}
    assert verdicts <= {"ok", "unverified"}
    assert headers <= {"ok", "unverified", None}
    assert len(found["missing"]) == (2 if hidden == "libraries" else len(places(whole)))
    if hidden == "everything":  # what is not known is counted, and each reason told once
        unknown = [text.partition(": ") for text in found["conflicts"]["unknown"]]
        text = report(alone, "--gdb", gdb_program(arm64=True)).stdout
        assert text.count("  not judged: ") == len({reason for _, _, reason in unknown})
        assert f"unknown of {len({path for path, _, _ in unknown})} modules" in text
