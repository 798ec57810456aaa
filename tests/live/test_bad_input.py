"""Bad input: one clear line or as much as can be read; no traceback, no hang, an honest status."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cores import Core
from tests.harness import Batch, Gdb
from tests.programs import Program

COMMANDS = ("plug-links", "plug-got", "plug-got -all", "plug-regs", "plug-where $pc")
NEEDS_LINKER = ("plug-links", "plug-got", "plug-got -all")
BUG = re.compile(r"Traceback|Python Exception|Error occurred in Python|internal-error")


def one_clear_line(done: Batch, command: str) -> str:
    """Standard error of a batch that failed in COMMAND, which must be its last line."""
    assert done.status != 0, done
    assert not BUG.search(done.stdout + done.stderr), done
    last = done.stderr.rstrip("\n").splitlines()[-1]
    assert last.startswith(command.split(maxsplit=1)[0] + ": "), done
    assert done.stdout.count("gdbext/") == 0
    return last


def survives(gdb: Gdb) -> Iterator[tuple[str, str]]:
    """What each command says, as text and as JSON; none may end in a traceback."""
    for command in COMMANDS:
        for line in (command, f"{command} -json"):
            said = gdb.cmd(line)
            assert not BUG.search(said), said
            if said.startswith("plug-"):
                assert "\n" not in said, said
            elif line.endswith("-json"):
                json.loads(said.splitlines()[-1])
            yield line, said


@pytest.mark.parametrize("command", COMMANDS)
def test_no_process(
    batch: Callable[..., Batch], native: Callable[[str], Program], command: str
) -> None:
    assert "no process: run the program" in one_clear_line(batch("-ex", command), command)
    path = str(native("dlopens/host").path)
    for arguments in (("-ex", command, path), ("-ex", "run", "-ex", command, path)):
        assert "no process" in one_clear_line(batch(*arguments), command)


@pytest.mark.parametrize("command", NEEDS_LINKER)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dlopens/host", "the dynamic linker has not run yet"),
        ("static/static_fixed", "this program is static"),
        ("static/static_stripped", "this program is static"),
    ],
)
def test_nothing_is_loaded(
    batch: Callable[..., Batch],
    native: Callable[[str], Program],
    command: str,
    name: str,
    text: str,
) -> None:
    done = batch("-ex", "starti", "-ex", command, str(native(name).path))
    assert text in one_clear_line(done, command)


def test_first_instruction_on_both_cpus(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until=None)
    said = dict(survives(gdb))
    assert "has not run yet" in said["plug-links"]
    assert "ld-" in said["plug-where $pc"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("plug-got nosuchmodule", "nosuchmodule"),
        ("plug-got -nosuch", "unrecognized arguments: -nosuch"),
        ("plug-links -nosuch", "unrecognized arguments: -nosuch"),
        ("plug-regs extra", "unrecognized arguments: extra"),
        ("plug-got -verdict nosuch", "nosuch"),
        ("plug-got -verdict", "expected one argument"),
        ("plug-links -out", "expected one argument"),
        ("plug-where", "required: ADDRESS"),
        ("plug-where nosuch", 'No symbol "nosuch"'),
        ("plug-links -out /nonexistent/folder/x", "cannot write '/nonexistent/folder/x'"),
        ("plug-regs -json -out /proc", "cannot write '/proc'"),
        ("plug-where $pc -out /", "cannot write '/'"),
    ],
)
def test_unknown_words_and_places(
    batch: Callable[..., Batch], native: Callable[[str], Program], line: str, text: str
) -> None:
    done = batch("-ex", "break main", "-ex", "run", "-ex", line, str(native("dlopens/host").path))
    assert text in one_clear_line(done, line)


def link_maps(gdb: Gdb) -> list[int]:
    modules = gdb.json("plug-links")["namespaces"][0]["modules"]
    return [int(module["link_map"], 16) for module in modules]


# What to write where; l_addr is at 0 of a link_map, l_name at 8, l_ld, l_next and l_prev follow.
CHAINS = {
    "loop": ("{last} + 24", "{first}"),
    "self": ("{middle} + 24", "{middle}"),
    "wild-next": ("{middle} + 24", "0x4141414141414141"),
    "odd-next": ("{middle} + 24", "{middle} + 1"),
    "null-name": ("{middle} + 8", "0"),
    "wild-name": ("{middle} + 8", "0xdeadbeef000"),
    "wild-prev": ("{middle} + 32", "0x10"),
    "wild-dynamic": ("{middle} + 16", "0xdeadbeef000"),
    "wild-base": ("{middle}", "0x7fffffffffff1000"),
    "kernel-base": ("{middle}", "0xffffffffffff0000"),
    "stack-next": ("{middle} + 24", "$sp"),
}


@pytest.mark.parametrize("damage", CHAINS)
def test_damaged_chain(live: Callable[..., Gdb], damage: str) -> None:
    gdb = live("dlopens/host", until="loaded")
    maps = link_maps(gdb)
    names = {"first": maps[0], "middle": maps[len(maps) // 2], "last": maps[-1]}
    place, value = (text.format(**names) for text in CHAINS[damage])
    gdb.cmd(f"set {{unsigned long}}({place}) = {value}")
    said = dict(survives(gdb))
    assert "host+0x" in said["plug-where $pc"]
    if damage in ("loop", "self"):
        assert "loops back" in said["plug-links"]
    elif damage in ("wild-next", "odd-next", "stack-next", "wild-prev", "wild-name"):
        assert re.search("cannot be read|damaged", said["plug-links"])


def test_damaged_r_debug(live: Callable[..., Gdb]) -> None:
    gdb = live("dlopens/host", until="loaded")
    r_debug = int(gdb.json("plug-links")["namespaces"][0]["r_debug"], 16)
    for offset, value in ((8, "0x4141414141414141"), (0, "0xffffffffffffffff"), (40, "0x123")):
        gdb.cmd(f"set {{unsigned long}}({r_debug} + {offset}) = {value}")
        list(survives(gdb))


def test_stop_reports_survive_a_damaged_chain(live: Callable[..., Gdb]) -> None:
    gdb = live("nullcall/host", until="crash")
    maps = link_maps(gdb)
    gdb.cmd("set plug stop-on-dlopen on")
    gdb.cmd(f"set {{unsigned long}}({maps[-1]} + 24) = {maps[0]}")
    said = gdb.until_signal("SIGSEGV")
    assert "[gdbext] SIGSEGV" in said
    assert not BUG.search(said)


# DT_* numbers of the gABI: each entry's value is overwritten.
TAGS = {
    "DT_STRSZ": 10,
    "DT_STRTAB": 5,
    "DT_SYMTAB": 6,
    "DT_RELA": 7,
    "DT_RELASZ": 8,
    "DT_PLTRELSZ": 2,
    "DT_JMPREL": 23,
    "DT_GNU_HASH": 0x6FFFFEF5,
    "DT_VERSYM": 0x6FFFFFF0,
    "DT_VERNEED": 0x6FFFFFFE,
    "DT_VERNEEDNUM": 0x6FFFFFFF,
    "DT_PLTGOT": 3,
    "DT_SONAME": 14,
}
VALUES = ("0xffffffffffffffff", "0x7fffffff", "1 << 44", "$sp", "1")


def library(gdb: Gdb) -> tuple[int, dict[int, int]]:
    """Base of libplugin.so and the address of each of its dynamic entries, by tag."""
    module = next(
        m
        for m in gdb.json("plug-links")["namespaces"][0]["modules"]
        if m["path"].endswith("/libplugin.so")
    )
    dynamic = int(module["dynamic"], 16)
    entries = {}
    for index in range(64):
        said = gdb.cmd(f"output/x {{unsigned long}}({dynamic} + {16 * index})")
        tag = int(said, 16)
        if tag == 0:
            break
        entries[tag] = dynamic + 16 * index
    return int(module["base"], 16), entries


@pytest.mark.parametrize("tag", TAGS)
def test_absurd_dynamic_entries(live: Callable[..., Gdb], tag: str) -> None:
    gdb = live("nullcall/host", until="loaded")
    entry = library(gdb)[1][TAGS[tag]]
    before = gdb.cmd(f"output/x {{unsigned long}}({entry} + 8)")
    for value in VALUES:
        gdb.cmd(f"set {{unsigned long}}({entry} + 8) = {value}")
        for command, said in survives(gdb):
            assert said, command
        assert "libplugin.so" in gdb.cmd("plug-links")
    gdb.cmd(f"set {{unsigned long}}({entry} + 8) = {before}")


@pytest.mark.parametrize(
    ("offset", "size", "value"),
    [
        (0, "int", "0"),  # no ELF magic
        (32, "long", "1 << 60"),  # e_phoff
        (54, "short", "0"),  # e_phentsize
        (56, "short", "0xffff"),  # e_phnum
        (56, "short", "0"),
        (64 + 40, "long", "1 << 62"),  # the first segment's p_memsz
        (64 + 16, "long", "-4096"),  # its p_vaddr
    ],
)
def test_absurd_elf_header(live: Callable[..., Gdb], offset: int, size: str, value: str) -> None:
    gdb = live("cet/host", until="loaded")
    base, _ = library(gdb)
    gdb.cmd(f"set {{{size}}}({base} + {offset}) = {value}")
    for command, said in survives(gdb):
        assert said, command


@pytest.mark.parametrize("value", ["0x7fffffff", "0"])
@pytest.mark.parametrize("field", [0, 4, 8])  # nbuckets, symoffset, bloom_size
def test_absurd_hash_table(live: Callable[..., Gdb], field: int, value: str) -> None:
    gdb = live("cet/host", until="loaded")
    entry = library(gdb)[1][TAGS["DT_GNU_HASH"]]
    gdb.cmd(f"set $table = {{unsigned long}}({entry} + 8)")
    gdb.cmd(f"set {{int}}($table + {field}) = {value}")
    for command, said in survives(gdb):
        assert said, command


def test_versions_that_loop(live: Callable[..., Gdb]) -> None:
    gdb = live("cet/host", until="loaded")
    entry = library(gdb)[1][TAGS["DT_VERNEED"]]
    gdb.cmd(f"set $table = {{unsigned long}}({entry} + 8)")
    gdb.cmd("set {int}($table + 8) = 0")  # vn_aux: its own first entry
    gdb.cmd("set {int}($table + 12) = -16")  # vn_next: back
    gdb.cmd("set {short}($table + 2) = 0xffff")  # vn_cnt
    list(survives(gdb))


@pytest.mark.parametrize("name", [b"\xff\xfe/lib", b"a\x1b[31m\n\t\x7f", b"\xe2\x80\xae.so"])
def test_odd_module_names(live: Callable[..., Gdb], name: bytes) -> None:
    gdb = live("nullcall/host", until="loaded")
    last = link_maps(gdb)[-1]
    gdb.cmd(f"set $name = {{unsigned long}}({last} + 8)")
    for index, byte in enumerate(name + b"\0"):
        gdb.cmd(f"set {{char}}($name + {index}) = {byte}")
    for _, said in survives(gdb):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", said.replace("\t", "")), repr(said)
    report = gdb.until_signal("SIGSEGV")
    assert not BUG.search(report)
    assert "\x1b" not in report


@pytest.mark.parametrize("size", [0, 1, 63, 64, 200, 2000, 5000, 20_000, 100_000])
def test_truncated_core(
    batch: Callable[..., Batch], core: Callable[..., Core], tmp_path: Path, size: int
) -> None:
    made = core("nullcall/host")
    cut = tmp_path / "cut.core"
    cut.write_bytes(made.path.read_bytes()[:size])
    for command in COMMANDS:
        done = batch("-ex", command, str(made.program), f"--core={cut}", arm64=made.arm64)
        assert not BUG.search(done.stdout + done.stderr), done
        assert done.stdout.strip() or done.status != 0
        if done.status:
            assert re.search(rf"^{command.split()[0]}: ", done.stderr, re.MULTILINE), done
            assert done.stdout.count("gdbext/") == 0


def test_half_a_core(
    batch: Callable[..., Batch], core: Callable[..., Core], tmp_path: Path
) -> None:
    made = core("nullcall/host")
    data = made.path.read_bytes()
    for part in (len(data) // 2, len(data) - 1, len(data) - 5000):
        cut = tmp_path / "cut.core"
        cut.write_bytes(data[:part])
        for command in COMMANDS:
            done = batch("-ex", command, str(made.program), f"--core={cut}", arm64=made.arm64)
            assert not BUG.search(done.stdout + done.stderr), done
            assert done.stdout.strip() or done.status != 0


@pytest.mark.parametrize("machine", [2, 8, 20, 40, 62, 183, 243, 0xFFFF])
def test_core_of_another_cpu(
    batch: Callable[..., Batch], core: Callable[..., Core], tmp_path: Path, machine: int
) -> None:
    made = core("nullcall/host")
    data = bytearray(made.path.read_bytes())
    if int.from_bytes(data[18:20], "little") == machine:
        machine = 3  # i386, which nearly is an x86-64
    data[18:20] = machine.to_bytes(2, "little")
    path = tmp_path / "other.core"
    path.write_bytes(data)
    for command in ("plug-links", "plug-regs"):
        done = batch("-ex", command, f"--core={path}", arm64=made.arm64)
        said = one_clear_line(done, command)
        assert re.search("CPU|machine|no process|no thread", said), said


def test_a_file_that_is_no_core(
    batch: Callable[..., Batch], native: Callable[[str], Program], tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x7fELF" + bytes(range(256)) * 40)
    for path in (garbage, native("nullcall/host").path):
        one_clear_line(batch("-ex", "plug-links", f"--core={path}"), "plug-links")


def test_absurd_core_headers(
    batch: Callable[..., Batch], core: Callable[..., Core], tmp_path: Path
) -> None:
    made = core("nullcall/host")
    data = bytearray(made.path.read_bytes())
    start = int.from_bytes(data[32:40], "little")
    for offset, value in (
        (56, b"\xff\xfe"),  # e_phnum
        (start + 8, b"\xff" * 8),  # p_offset of the notes
        (start + 32, b"\xff" * 7 + b"\x7f"),  # p_filesz of the notes
        (start + 56 + 32, b"\xff" * 7 + b"\x7f"),  # p_filesz of the first mapping
        (start + 56 + 40, b"\xff" * 8),  # p_memsz
    ):
        bad = data.copy()
        bad[offset : offset + len(value)] = value
        path = tmp_path / "bad.core"
        path.write_bytes(bad)
        for command in COMMANDS:
            done = batch("-ex", command, str(made.program), f"--core={path}", arm64=made.arm64)
            assert not BUG.search(done.stdout + done.stderr), done
            assert done.stdout.strip() or done.status != 0
