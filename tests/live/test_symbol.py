"""plug-symbol: by expect.json's scenarios, by plug-got, readelf, c++filt and dlsym itself."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests import judges, oracles, programs
from tests.cores import Core
from tests.files import local
from tests.harness import Batch, Gdb
from tests.programs import Program
from tests.references import dynamic_symbols
from tests.sessions import Sessions
from tests.symbols import name, path_of, rows_of

Document = dict[str, Any]
MUSL = pytest.mark.parametrize("cpu", ["x86_64", "aarch64", "musl"], indirect=True)
NATIVE = pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)


# ------------------------------------------------------------------------------ versions


def test_versions_of_memcpy(live: Callable[..., Gdb]) -> None:
    """x86-64's libc has two of memcpy, ARM64's two of pthread_create: by readelf."""
    gdb = live("dlopens/host")
    libc = path_of(gdb.json("plug-links"), "libc.so.6")
    said = oracles.said_by("readelf", "-sDW", str(local(libc, gdb.arm64)))
    listed = re.findall(r"([^\s@]+)@(@?)(GLIBC_[\d.]+)", said)
    symbol = "pthread_create" if gdb.arm64 else "memcpy"
    versions = {(v, bool(default)) for n, default, v in listed if n == symbol}
    assert len(versions) == 2
    for version, default in versions:
        document = gdb.json(f"plug-symbol {symbol}@{version} -from libdep.so")
        assert (name(document["winner"]), document["version"]) == ("libc.so.6", version)
        rows = [r for r in document["scope"] if r["defines"]]
        assert {r["version"] for r in rows} == {v for v, _ in versions}
        assert [r["version"] for r in rows if not r["skipped"]] == [version]
        values = dynamic_symbols(local(libc, gdb.arm64))
        base = int(judges.called(gdb.json("plug-links"), "libc.so.6")["base"], 16)
        address = int(document["definition"]["address"], 16)
        assert address == base + values[symbol, version].value
        if default:
            assert gdb.json(f"plug-symbol {symbol}@@{version}")["winner"] == document["winner"]
    document = gdb.json(f"plug-symbol {symbol}@GLIBC_9.9")
    assert document["winner"] is None
    assert document["winner_reason"]
    assert all(r["skipped"] for r in document["scope"] if r["defines"])
    text = gdb.cmd(f"plug-symbol {symbol}@GLIBC_9.9")
    assert "no module in its scopes defines this version of it" in text


def test_a_canonical_plt_entry(live: Callable[..., Gdb]) -> None:
    """Calls go to the library's function, pointers hold the program's PLT entry (readelf)."""
    gdb = live("nopie/host")
    host = local(path_of(gdb.json("plug-links"), "host"), gdb.arm64)
    entry = dynamic_symbols(host)["library_bump", ""].value
    called = gdb.cmd("plug-symbol library_bump -from host")
    assert re.search(
        r"^ *host +- +skipped: it has a PLT entry only, for pointers to it$", called, re.M
    )
    pointed = " ".join(gdb.cmd("plug-symbol library_bump -from liblibrary.so").split())
    assert f"winner: host at {entry:#x}, the first match in the global scope; its PLT" in pointed


def test_without_a_reference_it_is_what_dlsym_finds(live: Callable[..., Gdb]) -> None:
    """dlsym(RTLD_DEFAULT) in the program, by its own address."""
    gdb = live("order/opener", *programs.runs("order")[0].args)
    document = gdb.json("plug-symbol twin")
    assert document["asked_by"] == "dlsym"
    assert name(document["winner"]) == "libweak.so"
    assert document["elsewhere"] == []


# ------------------------------------------------------------------------------ C++ names


def demangled(*names: str) -> list[str]:
    done = subprocess.run(["c++filt", *names], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


CXX_NAMES = [
    "_ZTVN5media5CodecE", "_ZTIN5media5CodecE", "_ZTSN5media5PlainE", "_ZN5media5PlainC2Ev",
    "_ZN5media5PlainD0Ev", "_ZNK5media5Plain4nameB5cxx11Ev",
    "_ZN5media8RegistryINS_5CodecEE5countEv",
    "_ZZN5media8RegistryINS_5CodecEE5countEvE5value", "_Znwm", "_ZdlPvm", "_ZSt4cout",
    "_ZNSt13runtime_errorC2ERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
    "_ZStlsISt11char_traitsIcEERSt13basic_ostreamIcT_ES5_PKc",
]  # fmt: skip


def test_cxx_names_as_people_write_them(live: Callable[..., Gdb]) -> None:
    gdb = live("cxx/host")
    for mangled, plain in zip(CXX_NAMES, demangled(*CXX_NAMES)):
        direct = gdb.json(f"plug-symbol {mangled} -from libplain.so")
        assert direct["demangled"] == plain
        for spelled in (plain, f"'{plain}'", plain.replace("(", " ( ")):
            found = gdb.json(f"plug-symbol {spelled} -from libplain.so")
            # constructors and destructors have several symbols of one name
            assert found["demangled"] == plain, spelled
            if not re.search("[CD][0-2]E", mangled):
                assert found == direct


def test_a_template_function_may_be_written_without_what_it_returns(
    live: Callable[..., Gdb],
) -> None:
    gdb = live("cxx/host")
    (plain,) = demangled(CXX_NAMES[-1])
    found = gdb.json(f"plug-symbol {plain.partition('& ')[2]}")
    assert found["symbol"] == CXX_NAMES[-1]


def test_overloads_are_named(live: Callable[..., Gdb]) -> None:
    gdb = live("cxx/host")
    text = gdb.cmd("plug-symbol operator new")
    assert text.startswith("plug-symbol: 'operator new' names ")
    assert "operator new(unsigned long); operator new(unsigned long, std::align_val_t)" in text
    assert gdb.json("plug-symbol std::terminate")["symbol"] == "_ZSt9terminatev"
    assert "  media::Plain::decode(" in gdb.cmd("plug-symbol media::Plain::decode")


# ------------------------------------------------------------------- what is not in scope


def test_local_libraries_are_elsewhere(live: Callable[..., Gdb]) -> None:
    gdb = live("cxx/host")
    document = gdb.json("plug-symbol make_codec")
    assert document["winner"] is None
    assert list(map(name, document["elsewhere"])) == ["libplain.so", "libstrict.so"]
    for library in ("libplain.so", "libstrict.so"):
        document = gdb.json(f"plug-symbol make_codec -from {library}")
        assert name(document["winner"]) == library
        assert document["scope"][-1]["kind"] == "local"
    text = gdb.cmd("plug-symbol make_codec")
    assert "Defined outside of these scopes:\n  libplain.so  libstrict.so" in text


def test_namespaces(live: Callable[..., Gdb]) -> None:
    """What a module of another namespace binds to is of that namespace."""
    gdb = live("spaces/opener", *programs.runs("spaces")[0].args)
    for row in rows_of(programs.runs("spaces")[0], 0):
        modules = judges.modules(gdb.json("plug-links"))
        if [name(m["path"]) for m in modules].count(row["module"]) > 1:
            continue
        document = gdb.json(f"plug-symbol {row['symbol']} -from {row['module']}")
        assert name(document["winner"]) == row["winner"]
        (bound,) = {b["namespace"] for b in document["bound_by"] if
                    name(b["module"]) == row["module"]}  # fmt: skip
        assert bound == judges.called(gdb.json("plug-links"), row["module"])["namespace"]


@pytest.mark.parametrize("cpu", ["musl"], indirect=True)
def test_musl(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host")
    document = gdb.json("plug-symbol puts")
    assert name(document["winner"]) == "ld-musl-x86_64.so.1"
    assert {r["kind"] for r in document["scope"]} <= {"global", "local"}
    document = gdb.json("plug-symbol puts -from libdep.so")
    assert name(document["winner"]) == "ld-musl-x86_64.so.1"


def test_from_the_linker_and_the_vdso(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host")
    linker = next(m for m in judges.modules(gdb.json("plug-links")) if m["kind"] == "linker")
    document = gdb.json(f"plug-symbol puts -from {name(linker['path'])}")
    assert name(document["winner"]) == "libc.so.6"
    if not gdb.arm64:  # qemu's has none
        document = gdb.json("plug-symbol puts -from linux-vdso.so.1")
        assert name(document["winner"]) == "libc.so.6"


# -------------------------------------------------------------------------------- completion


def complete(gdb: Gdb, line: str) -> list[str]:
    return gdb.cmd(f"complete {line}").splitlines()


def test_completion(live: Callable[..., Gdb]) -> None:
    gdb = live("cxx/host")
    assert "plug-symbol make_codec" in complete(gdb, "plug-symbol make_c")
    assert "plug-symbol make_codec -from libplain.so" in complete(
        gdb, "plug-symbol make_codec -from libpl"
    )
    names = complete(gdb, "plug-symbol _ZN5media5PlainC")
    assert "plug-symbol _ZN5media5PlainC2Ev" in names
    assert complete(gdb, "plug-symbol no_such_prefix_") == []
    assert "plug-symbol -from" in complete(gdb, "plug-symbol -f")


def test_completion_of_names_with_dots(live: Callable[..., Gdb]) -> None:
    gdb = live("symbolnames/host")
    assert complete(gdb, "plug-symbol dotted.na") == ["plug-symbol dotted.name.1"]
    assert name(gdb.json("plug-symbol dotted.name.1 -from libplugin.so")["winner"]) == (
        "libplugin.so"
    )


# ------------------------------------------------------------------------- peculiar input


NO_NAMES = [
    ("nobody_has_this", "no loaded module defines or uses 'nobody_has_this'"),
    ("@", "'@' is no symbol name"),
    ("@@", "'@@' is no symbol name"),
    ("puts@", "'puts@' is no symbol name"),
    ("@GLIBC_2.2.5", "'@GLIBC_2.2.5' is no symbol name"),
    ("a b c", "no loaded module defines or uses 'a b c'"),
    ("''", "\"''\" is no symbol name"),
    ("(", "no loaded module defines or uses '('"),
    ("a::", "no loaded module defines or uses 'a::'"),
    ("operator", "no loaded module defines or uses 'operator'"),
    ("~", "no loaded module defines or uses '~'"),
    ("[a-z]*(\\", "no loaded module defines or uses"),
    ("x" * 3000, "no loaded module defines or uses"),
    ("\x01\x1b[31m", "no loaded module defines or uses"),
    ("", "the following arguments are required: NAME"),
    ("puts -from nobody", "no loaded module has 'nobody' in its path"),
    ("puts -from lib", "'lib' names several modules ("),
    ("-from", "no loaded module defines or uses '-from'"),
]


def test_what_is_no_name_is_told_in_one_line(
    native: Callable[..., Program], sessions: Sessions
) -> None:
    gdb = sessions.live(native("dlopens/host"))
    for argument, said in NO_NAMES:
        gdb.cmd(f"python argument = {argument!a}")
        text = gdb.cmd(
            'python exec(\'try: gdb.execute("plug-symbol " + argument)\\n'
            "except gdb.error as e: print(e)')"
        )
        assert said in text
        assert text.count("\n") == 0
        assert text.startswith("plug-symbol: ")
        assert "\x1b" not in text
    assert "Traceback" not in gdb.text()


def test_a_failure_can_be_seen_by_scripts(
    batch: Callable[..., Batch], native: Callable[..., Program]
) -> None:
    program = str(native("dlopens/host").path)
    for command in ("plug-symbol nobody_has_this", "plug-symbol @", "plug-symbol"):
        done = batch("-ex", "break main", "-ex", "run", "-ex", command, program)
        assert done.status == 1
        assert len([line for line in done.stderr.splitlines() if "plug-symbol" in line]) == 1
    done = batch("-ex", "plug-symbol puts", program)
    assert done.status == 1
    assert done.stderr.startswith("plug-symbol: ")


@NATIVE
def test_a_static_program(live: Callable[..., Gdb]) -> None:
    """It has a link_map, and no symbols that a lookup could find."""
    for program in ("static/static_pie", "static/static_fixed", "static/static_stripped"):
        gdb = live(program, until=None)
        text = gdb.cmd("plug-symbol puts")
        assert text.startswith("plug-symbol: ")
        assert "\n" not in text


def test_hostile_names(live: Callable[..., Gdb]) -> None:
    """Symbols whose names hold escapes, spaces and quotes are shown escaped."""
    gdb = live("symbolnames/host")
    text = gdb.cmd("plug-got libplugin.so")
    assert "\x1b" not in text
    assert "red\\x1b[31m" in text
    assert "caf\\xe9" in text
    assert "with space" in text
    for asked in ("with space", "'with space'", "<b>&amp;"):
        document = gdb.json(f"plug-symbol {asked} -from libplugin.so")
        assert document["symbol"] == asked.strip("'")
        assert name(document["winner"]) == "libplugin.so"


# ---------------------------------------------------------------------------------- cores


@NATIVE
def test_a_core_says_what_the_process_said(
    live: Callable[..., Gdb], open_core: Callable[..., Gdb]
) -> None:
    process = live("nullcall/host", until="SIGSEGV")
    core = open_core("nullcall/host")
    for asked in ("puts", "malloc -from libc.so.6", "plugin_run -from libplugin.so"):
        said = [without_addresses(gdb.json(f"plug-symbol {asked}")) for gdb in (process, core)]
        assert said[0] == said[1]
        assert said[1]["winner"]


def without_addresses(document: Document) -> Document:
    document["definition"].pop("address")
    for row in document["bound_by"]:
        row.pop("slot")
    return document


@NATIVE
def test_a_core_without_its_files_says_why_and_does_not_guess(
    core: Callable[..., Core], open_core: Callable[..., Gdb]
) -> None:
    gdb = open_core(core("nullcall/host", gone=True), with_program=False)
    whole = open_core("nullcall/host")
    for asked in ("puts", "plugin_run -from libplugin.so"):
        document = gdb.json(f"plug-symbol {asked}")
        right = whole.json(f"plug-symbol {asked}")
        if document["winner"] is None:
            assert document["winner_reason"] != "no module in its scopes defines it"
        else:
            assert name(document["winner"]) == name(right["winner"])
        assert {b["verdict"] for b in document["bound_by"]} <= {"ok", "unverified"}


# ------------------------------------------------------------------ in the middle of dlopen


@NATIVE
def test_before_a_library_is_relocated(live: Callable[..., Gdb]) -> None:
    """Where stop-on-dlopen stops; up to glibc 2.40 ld.so relocates the library afterwards."""
    gdb = live("dlopens/host", until=None)
    gdb.cmd("set plug stop-on-dlopen liblazy")
    assert "liblazy.so is mapped" in gdb.cmd("continue")
    got = gdb.json("plug-got liblazy.so")
    slots = [slot for module in got["modules"] for slot in module["slots"]]
    reasons = {slot["reason"] for slot in slots if slot["verdict"] == "unverified"}
    assert reasons <= {"ld.so has not relocated this module yet"}
    assert {slot["verdict"] for slot in slots} in ({"ok"}, {"unverified"})


def test_while_ld_so_is_at_work(live: Callable[..., Gdb]) -> None:
    """r_state is RT_ADD at the first call of _dl_debug_state in a dlopen."""
    gdb = live("dlopens/host", until=None)
    gdb.cmd("tbreak main")
    gdb.cmd("continue")
    gdb.cmd("tbreak _dl_debug_state")
    gdb.cmd("continue")
    assert gdb.json("plug-links")["namespaces"][0]["state"] == "adding"
    why = "the dynamic linker is at work (r_state says adding): scopes are changing"
    got = gdb.json("plug-got")
    slots = [slot for module in got["modules"] for slot in module["slots"]]
    assert {(slot["verdict"], slot["reason"]) for slot in slots} == {("unverified", why)}
    document = gdb.json("plug-symbol puts")
    assert (document["winner"], document["winner_reason"]) == (None, why)
    assert document["scope"] == []
    conflicts = gdb.json("plug-conflicts")
    assert conflicts["conflicts"] == conflicts["benign"] == []
    assert all(text.endswith(why) for text in conflicts["unknown"])
    assert conflicts["unknown"]


# ----------------------------------------------------------------- what a person reads


def lines(text: str) -> Sequence[str]:
    return text.splitlines()


def test_text(live: Callable[..., Gdb]) -> None:
    gdb = live("order/opener", *programs.runs("order")[0].args)
    text = gdb.cmd("plug-symbol twin -from libstrong.so")
    assert re.match(r"twin seen from libstrong\.so, referred to by R_\w+_JUMP_SLOT\n", text)
    assert "  winner: libweak.so at 0x" in text
    assert re.search(r"^  libweak\.so +- +wins$", text, re.MULTILINE)
    assert re.search(r"^  libstrong\.so +- +skipped: an earlier one won$", text, re.MULTILINE)
    assert "Bound now:" in text
    gdb.cmd("set width 80")
    assert max(map(len, lines(gdb.cmd("plug-symbol twin -from libstrong.so")))) <= 80
