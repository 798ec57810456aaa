"""plug-why, against what dlopen itself then says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import programs
from tests.cores import Core
from tests.forge import cut, forge, relr
from tests.harness import Batch, Gdb
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


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may read; pytest's own are for one alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def built(program: Program) -> dict[Path, str]:
    rows = EVERYWHERE if program.set == "musl" else WITH_GLIBC
    rows = {**rows, **ALONE.get(program.set, {})}
    return {program.folder.parent / name: kind for name, kind in rows.items()}


def answers(output: str) -> list[str]:
    """What the host says of each library that it was told to open."""
    # musl puts a line feed where a local variable has no name
    return re.findall(r"^(failed: .*(?:\n: .*)?|opened .*)$", output, re.MULTILINE)


# What glibc or musl says of each class.
SAID = {
    "ok": r"^opened ",
    "missing_file": "No such file or directory|Not a directory",
    "missing_dependency": r"(libgone|libnowhere|lib\w+)\S*: (cannot open|No such file)",
    "not_elf": "invalid ELF header|file too short|Exec format error",
    "truncated": "file too short|cannot read file data|Exec format error",
    "wrong_class": "wrong ELF class: ELFCLASS32",
    "wrong_machine": "No such file or directory|ELF file data encoding not little-endian",
    "wrong_libc": "libc.so: invalid ELF header|symbol not found",
    "undefined_symbol": "undefined symbol: |: symbol not found",
    "version_not_found": "version `.*' not found|DT_RELR without GLIBC_ABI_DT_RELR",
    "static_tls": "static TLS block|initial-exec TLS resolves to dynamic definition",
    "cpu_level": "CPU ISA level is lower than required",
    "not_loadable": r"dlopen\(\)ed|dynamically load|ABI|padding|file version|only ET_DYN|phentsize|"
    "page-aligned|"
    "no dynamic section|no loadable segments",
    "no_permission": "Permission denied|failed to map segment",
    "cannot_map": "failed to map segment|cannot map zero-fill pages|Cannot allocate memory",
}


def agrees(said: str, kind: str) -> bool:
    """Whether a class is the one that the dynamic linker's own text tells of."""
    return re.search(SAID[kind], said) is not None


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


def test_whoever_needed_it_is_named_whatever_free_left_of_the_name(
    live: Callable[..., Gdb], program: Callable[[str], Program], tmp_path: Path
) -> None:
    """free() writes a word over the end of a name: eight lengths lose each part of the last one."""
    needy = (program("why/host").folder / "libneedy.so").read_bytes()
    paths = [tmp_path / f"libneedy{'x' * size}.so" for size in range(8)]
    for path in paths:
        path.write_bytes(needy)
    gdb = live("loader/host", "wait", *(f"now:{path}" for path in paths), until="ready")
    for _ in paths:
        gdb.until(marker("loader", "failed"))
        found = gdb.json("plug-why")
        assert (found["class"], found["path"]) == ("missing_dependency", "libgone.so")
        assert any("libneedy" in text and "probable" in text for text in found["evidence"]), found
    # with a trace it is known what was opened, while ld.so's text names what that needs
    gdb = live("loader/host", "wait", f"now:{paths[0]}", until="ready")
    gdb.cmd("plug-trace on")
    gdb.until(marker("loader", "failed"))
    found = gdb.json("plug-why")
    assert (found["class"], found["path"]) == ("missing_dependency", str(paths[0]))
    assert found["others"] == []
    assert not any("not recorded" in text for text in found["evidence"])


def attached(
    sessions: Sessions, command: list[str], folder: Path
) -> tuple[subprocess.Popen[bytes], Gdb]:
    """COMMAND, which waits, and a GDB attached to it."""
    running = sessions.waiting(command, folder)
    gdb = sessions.gdb(before=[f"attach {running.pid}"])
    return running, gdb


def test_rights_limits_and_namespaces(
    sessions: Sessions, native: Callable[[str], Program], open_folder: Path
) -> None:
    """Of a user who may not read all, on a file system without exec, with few files and bytes."""
    host, plain = native("loader/host").path, native("why/libplain.so").path
    for path in (host, plain, native("why/libbig.so").path):
        shutil.copy(path, open_folder)
    secret, closed = open_folder / "secret.so", open_folder / "closed"
    shutil.copy(plain, secret)
    secret.chmod(0o600)
    closed.mkdir(mode=0o700)
    shutil.copy(plain, closed)
    (open_folder / "noexec").mkdir()
    files = {
        secret: "no_permission",
        closed / "libplain.so": "no_permission",
        open_folder / "noexec" / "libplain.so": "no_permission",
        open_folder / "libbig.so": "cannot_map",
    }
    script = (
        f"mount -t tmpfs -o noexec none {open_folder}/noexec && "
        f"cp {plain} {open_folder}/noexec/libplain.so && "
        "exec prlimit --as=12000000 setpriv --reuid 65534 --regid 65534 --clear-groups "
        f"{open_folder}/host wait {' '.join(f'now:{path}' for path in files)}"
    )
    command = ["unshare", "-m", "sh", "-c", script]
    running, gdb = attached(sessions, command, open_folder)
    foreseen = {path: gdb.json(f"plug-why {path}") for path in files}
    assert {path: d["class"] for path, d in foreseen.items()} == files
    assert "noexec" in foreseen[open_folder / "noexec" / "libplain.so"]["message"]
    assert "0600" in " ".join(foreseen[secret]["evidence"])
    assert gdb.json(f"plug-why {open_folder}/libplain.so")["class"] == "ok"
    gdb.cmd("detach")
    said = answers(running.communicate(b"\n")[0].decode())
    assert len(said) == len(files)
    assert all(agrees(text, kind) for text, kind in zip(said, files.values())), said


def test_names_below_another_root(
    sessions: Sessions, native: Callable[[str], Program], open_folder: Path
) -> None:
    """A process that called chroot: its working directory and $ORIGIN are below its root."""
    libc = ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6")
    copies = {path: path for path in libc}
    copies |= {str(native("loader/host").path): "/opt/host"}
    copies |= {str(native("why/libplain.so").path): "/opt/libplain.so"}
    for source, path in copies.items():
        (open_folder / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, open_folder / path[1:])
    own = open_folder / "proc/self/exe"  # by which ld.so knows $ORIGIN
    own.parent.mkdir(parents=True)
    own.symlink_to("/opt/host")
    names = {
        "./libplain.so": "ok",
        "$ORIGIN/libplain.so": "ok",
        f"{open_folder}/opt/libplain.so": "missing_file",
        "/opt/libplain.so/": "missing_file",
    }
    asked = ["/opt/host", "wait", *(f"now:{name}" for name in names)]
    script = f"import os; os.chroot({str(open_folder)!r}); os.chdir('/opt'); "
    script += f"os.execv('/opt/host', {asked!r})"
    running, gdb = attached(sessions, [sys.executable, "-c", script], open_folder)
    assert {name: gdb.json(f"plug-why '{name}'")["class"] for name in names} == names
    assert gdb.json("plug-links")["namespaces"][0]["modules"][0]["path"] == "/opt/host"
    gdb.cmd("detach")
    said = answers(running.communicate(b"\n")[0].decode())
    assert all(agrees(text, kind) for text, kind in zip(said, names.values())), said


def test_no_descriptor_and_no_namespace_left(
    sessions: Sessions, native: Callable[[str], Program], tmp_path: Path
) -> None:
    host, plain = native("loader/host").path, native("why/libplain.so").path
    running, gdb = attached(sessions, [str(host), "wait", f"now:{plain}"], tmp_path)
    subprocess.run(["prlimit", "--pid", str(running.pid), "--nofile=3"], check=True)
    assert gdb.json(f"plug-why {plain}")["class"] == "too_many_files"
    gdb.cmd("detach")
    (said,) = answers(running.communicate(b"\n")[0].decode())
    assert "Too many open files" in said
    spaces = [f"new:now:{plain}"] * 15
    running, gdb = attached(sessions, [str(host), *spaces, "wait", spaces[0]], tmp_path)
    assert gdb.json(f"plug-why {plain} -new")["class"] == "namespace_limit"
    assert gdb.json(f"plug-why {plain}")["class"] == "ok"
    gdb.cmd("detach")
    said = answers(running.communicate(b"\n")[0].decode())[-1]
    assert "no more namespaces" in said


def test_other_libc(native: Callable[[str], Program], sessions: Sessions) -> None:
    """musl's library in a glibc process, and glibc's in a musl one."""
    theirs, ours = programs.program("why/libundefined.so", "musl"), native("why/libfuture.so")
    other = programs.program("loader/libone.so", "musl").path
    gdb = sessions.live(native("loader/host"), "wait", f"now:{other}", until="ready")
    found = gdb.json(f"plug-why {other}")
    assert found["class"] == "wrong_libc"
    assert "built for musl" in found["message"]
    assert gdb.json(f"plug-why {theirs.path}")["class"] == "wrong_libc"
    gdb.until(marker("loader", "failed"))
    assert gdb.json("plug-why")["class"] == "wrong_libc"
    gdb.until(marker("loader", "loaded"))
    recorded = gdb.json("plug-why")["recorded"]  # the name is in the text alone by now
    assert (recorded["delivered"], Path(recorded["object"]).name) == (True, "libc.so")
    musl = programs.program("loader/host", "musl")
    gdb = sessions.live(musl, "wait", f"now:{ours.path}", until="ready")
    assert gdb.json(f"plug-why {ours.path}")["class"] == "wrong_libc"
    gdb.until(marker("loader", "failed"))
    assert gdb.json("plug-why")["class"] == "wrong_libc"
    gdb.until(marker("loader", "loaded"))
    assert "symbol not found" in gdb.output()


def test_threads_and_dlsym(live: Callable[..., Gdb], program: Callable[[str], Program]) -> None:
    gdb = live("why/asker", until=None)
    gdb.until(marker("why", "asked"))
    found = gdb.json("plug-why")
    assert found["class"] == "undefined_symbol"
    assert "libnames_misspeld" in found["message"]
    assert "libnames_misspelled" in " ".join(found["evidence"])
    assert found["path"] == str(program("why/libnames.so").path)
    (other,) = found["others"]
    assert (other["object"], other["thread"], other["errno"]) == ("libnowhere.so", 2, 2)
    gdb.cmd("thread 2")
    found = gdb.json("plug-why")
    assert (found["path"], found["class"]) == ("libnowhere.so", "missing_file")
    assert found["recorded"]["thread"] == 2
    text = gdb.cmd("plug-why")
    assert "libnowhere.so failed: missing_file (thread 2; dlerror() was not called yet)" in text
    assert gdb.cmd("thread").startswith("[Current thread is 2 ")


def test_a_program_that_tries_several_names(
    live: Callable[..., Gdb], program: Callable[[str], Program]
) -> None:
    """Nobody holds a failure any more, but plug-trace recorded them: of a search the file that is
    there says more than the name that no file has. RTLD_NOLOAD of what is not loaded is none."""
    needy, plain = program("why/libneedy.so").path, program("why/libplain.so").path
    words = [
        "now:libnowhere.so",
        f"noload:{plain}",
        f"now:{needy}",
        "now:libnowhere.so",
        f"now:{plain}",
    ]
    gdb = live("loader/host", "wait", *words, until="ready")
    gdb.cmd("plug-trace on")
    gdb.until(marker("loader", "each"))
    found = gdb.json("plug-why")
    assert (found["path"], found["class"]) == (str(needy), "missing_dependency")
    said, *others = found["evidence"]
    assert said == "the dynamic linker said: libgone.so: cannot open shared object file"
    assert not any("is not recorded" in text for text in others)
    assert [other["object"] for other in found["others"]] == ["libnowhere.so"] * 2
    assert "also:     libnowhere.so: cannot open shared object file (recorded" in gdb.cmd(
        "plug-why"
    )
    (asked,) = [e for e in gdb.json("plug-trace show")["events"] if "RTLD_NOLOAD" in e["flags"]]
    assert asked["error"] is None
    assert asked["error_reason"] == "it is not loaded, and with RTLD_NOLOAD that is no error"


def test_stop_in_the_error_path(
    live: Callable[..., Gdb], program: Callable[[str], Program]
) -> None:
    path = program("why/libneedy.so").path
    gdb = live("loader/host", "wait", f"now:{path}", until="ready")
    for function in ("_dl_signal_error", "_dl_exception_create"):
        gdb.cmd(f"tbreak {function}")
        gdb.cmd("continue")
        found = gdb.json("plug-why")
        assert found["recorded"]["source"] == f"the program is in {function}"
        assert found["recorded"]["object"] == "libgone.so"
        assert found["recorded"]["text"] == "cannot open shared object file"
        assert found["class"] in ("missing_file", "missing_dependency")


def test_crashes_in_a_constructor_and_in_the_linker(
    live: Callable[..., Gdb],
    sessions: Sessions,
    native: Callable[[str], Program],
    program: Callable[[str], Program],
    tmp_path: Path,
) -> None:
    path = program("why/libcrash.so").path
    where = f"{path.parent}:{program('loader/host').path.parent}"
    search = [f"set solib-search-path {where}"]  # GDB unwinds no frame of a file that it lacks
    gdb = live("loader/host", f"now:{path}", until="SIGSEGV", before=search)
    found = gdb.json("plug-why")
    assert (found["class"], found["path"]) == ("constructor_crashed", str(path))
    assert "dies_early" in found["message"]
    if program("loader/host").arm64:
        return  # qemu dies itself when its stub reads a page that is not there
    short = tmp_path / "cut.so"
    short.write_bytes(cut(bytearray(native("why/libplain.so").path.read_bytes())))
    gdb = sessions.live(native("loader/host"), "wait", f"now:{short}", until="ready")
    assert gdb.json(f"plug-why {short}")["class"] == "truncated"
    gdb.until_signal("SIGBUS")
    found = gdb.json("plug-why")
    assert (found["class"], found["path"]) == ("truncated", str(short))


@pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)
def test_constructor_crash_in_a_core(
    open_core: Callable[..., Gdb], core: Callable[..., Core], program: Callable[[str], Program]
) -> None:
    path, gone = program("why/libcrash.so").path, program("why/libneedy.so").path
    made = core("loader/host", f"now:{gone}", f"now:{path}")
    gdb = open_core(made)
    found = gdb.json("plug-why")
    assert (found["class"], found["path"]) == ("constructor_crashed", str(path))
    assert gdb.json(f"plug-why {gone}")["class"] == "missing_dependency"


def test_start_of_a_program(
    sessions: Sessions, program: Callable[[str], Program], tmp_path: Path
) -> None:
    """Without a process, and after one that ended in ld.so."""
    original = program("nopie/host")
    alone = tmp_path / "host"
    shutil.copy(original.path, alone)
    gdb = sessions.gdb(str(alone), arm64=original.arm64)
    found = gdb.json("plug-why")
    assert (found["class"], found["path"]) == ("missing_dependency", str(alone))
    assert "liblibrary.so" in found["message"]
    if not original.arm64:
        gdb.cmd(f"set exec-wrapper >{tmp_path}/said 2>&1 env")
        assert "exited with code 0177" in gdb.cmd("run")
        said = (tmp_path / "said").read_text()
        assert "error while loading shared libraries: liblibrary.so" in said
        assert "cannot open shared object file" in said
        assert gdb.json("plug-why") == found
        gdb.cmd(f"set environment LD_LIBRARY_PATH {original.folder}")
    shutil.copy(original.folder / "liblibrary.so", tmp_path)
    assert gdb.json("plug-why")["class"] == "ok"
    if not original.arm64:
        assert "exited normally" in gdb.cmd("run")
    data = original.path.read_bytes()
    name = re.search(rb"/lib\S*/ld-[\w.-]+", data)
    assert name is not None
    lost = tmp_path / "lost"
    lost.write_bytes(data.replace(name[0], name[0][:-1] + b"9"))
    lost.chmod(0o755)
    gdb = sessions.gdb(str(lost), arm64=original.arm64)
    found = gdb.json("plug-why")
    assert found["class"] == "wrong_libc"
    assert "does not exist" in found["message"]


def test_sixty_libraries_of_debian(sessions: Sessions, native: Callable[[str], Program]) -> None:
    """What plug-why foresees is what dlopen does."""
    folder = Path("/usr/lib/x86_64-linux-gnu")
    every = [p for p in sorted(folder.glob("*.so*")) if p.is_file() and not p.is_symlink()]
    chosen = every[:: max(len(every) // 60, 1)]
    assert len(chosen) >= 50
    host = native("loader/host")
    gdb = sessions.live(host, "wait", until="ready")
    wrong = []
    for path in chosen:
        kind = gdb.json(f"plug-why {path}")["class"]
        done = subprocess.run(host.command(f"now:{path}"), capture_output=True, text=True)
        # libasan's constructor ends a program that did not start with it
        (said,) = answers(done.stdout) or ["opened and ended" if done.returncode else ""]
        if not agrees(said, kind):
            wrong.append((path, kind, said))
    assert wrong == []


def test_postgresql_magic(sessions: Sessions, native: Callable[[str], Program]) -> None:
    """The server's own struct against an extension's."""
    (server,) = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    gdb = sessions.gdb(str(server))
    gdb.cmd("break main")
    gdb.cmd("run")
    extension = server.parents[1] / "lib" / "bloom.so"
    assert gdb.json(f"plug-why {extension}")["class"] == "ok"
    for name, words in (("libmagic14.so", "PostgreSQL 14"), ("libunmagic.so", "no magic block")):
        found = gdb.json(f"plug-why {native(f'why/{name}').path}")
        assert found["class"] == "abi_mismatch"
        assert words in found["message"]
    found = gdb.json(f"plug-why {native('why/libplain.so').path}")  # it may be no extension
    assert (found["class"], "no magic block" in found["evidence"][-1]) == ("ok", True)


def test_nginx_and_go_magic(live: Callable[..., Gdb], program: Callable[[str], Program]) -> None:
    """A program with the exports of both, and plugins with other versions and hashes."""
    refused = program("why/libgoother.so").path
    gdb = live("why/choosy", str(refused), until="chosen")
    rows = {"libfitting.so": "", "libngxold.so": "1018000", "libgoother.so": "package fmt"}
    for name, words in rows.items():
        found = gdb.json(f"plug-why {program(f'why/{name}').path}")
        assert found["class"] == ("abi_mismatch" if words else "ok"), found
        assert words in " ".join([found["message"], *found["evidence"]])
    found = gdb.json("plug-why")  # no dlopen failed
    assert (found["path"], found["class"]) == (str(refused), "abi_mismatch")
    assert "is loaded" in found["evidence"][0]


def test_gdbserver_text_help_and_failures(
    gdbserver: Callable[..., Gdb], native: Callable[[str], Program], batch: Callable[..., Batch]
) -> None:
    path = native("why/libundefined.so").path
    gdb = gdbserver("dlopens/host")
    assert gdb.json(f"plug-why {path}")["class"] == "undefined_symbol"
    assert gdb.json(f"plug-why {path} -lazy")["class"] == "ok"
    assert gdb.json("plug-why libdep.so")["class"] == "ok"
    assert gdb.json("plug-why libdep.so -from libc.so.6")["class"] == "ok"  # it is loaded
    assert gdb.json("plug-why libgone.so -from libc.so.6")["class"] == "missing_file"
    gdb.cmd("set width 80")
    lines = gdb.cmd(f"plug-why {path}").splitlines()
    assert " ".join(lines).startswith(f"{path}: undefined_symbol ")
    assert [line for line in lines if len(line) > max(80, len(f"{path}:"))] == []
    assert any("libnames_misspelled (in" in line or "libnames.so" in line for line in lines)
    assert "no loaded module" in gdb.cmd("plug-why x -from nonesuch")
    done = batch("-ex", "plug-why")
    assert done.status != 0
    assert "no process" in done.stderr
    done = batch("-ex", "run", "-ex", "plug-why x.so -new", str(native("loader/host").path))
    assert done.status != 0
