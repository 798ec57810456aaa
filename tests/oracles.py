"""Strangers that judge gdbext: readelf, nm, /proc, LD_DEBUG and the DWARF of libc6-dbg.

Each has a parser, a pure function over the tool's text, and a function that runs the tool.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import tempfile
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from tests.programs import Program

# Types of auxv entries (getauxval(3)).
AT_PHDR, AT_PHENT, AT_PHNUM, AT_BASE, AT_ENTRY, AT_SYSINFO_EHDR = 3, 4, 5, 7, 9, 33


def said_by(*command: str, env: dict[str, str] | None = None) -> str:
    """The standard output of a tool that must succeed."""
    done = subprocess.run(
        command, capture_output=True, text=True, errors="backslashreplace", env=env
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}"
    return done.stdout.replace("^[", "\x1b")  # how binutils show it in a name


# ------------------------------------------------------------------------------------ readelf


@dataclass(frozen=True)
class Slot:
    """One dynamic relocation. OFFSET is as in the file; SYMBOL is "" where there is none."""

    offset: int
    type: str
    symbol: str
    version: str
    addend: int


RELOCATION = re.compile(
    r"^(?P<offset>[0-9a-f]{16}) +(?P<info>[0-9a-f]{16}) (?P<type>R_\w+) *(?P<rest>.*)$"
)
WITH_SYMBOL = re.compile(
    r"^(?:[0-9a-f]{16}|\S+\(\)) +(?P<name>.*?) (?P<sign>[+-]) (?P<addend>[0-9a-f]+)$"
)
WITH_RESOLVER = re.compile(r"^[\w.@]*\(\) (?P<sign>[+-]) (?P<addend>[0-9a-f]+)$")
RELR = re.compile(r"^(?:\d+: )?(?P<offset>[0-9a-f]{16})$")


def _signed(sign: str, digits: str) -> int:
    value = int(digits, 16)
    if sign == "-":
        value = -value
    # readelf prints an addend without a symbol as 64 unsigned bits.
    return value - (1 << 64) if value >= 1 << 63 else value


def parse_readelf_relocations(text: str) -> list[Slot]:
    """What `readelf -rW` (or -rDW) lists, in its order. DT_RELR entries have type "RELR"."""
    slots = []
    for line in text.splitlines():
        line = line.rstrip()  # noqa: PLW2901
        relative = RELR.match(line)
        if relative:
            slots.append(Slot(int(relative["offset"], 16), "RELR", "", "", 0))
            continue
        entry = RELOCATION.match(line)
        if not entry:
            continue
        symbol, version, addend = "", "", 0
        rest = entry["rest"].strip()
        named = WITH_SYMBOL.match(rest)
        resolver = WITH_RESOLVER.match(rest)
        if named:
            symbol, _, version = named["name"].replace("@@", "@").partition("@")
            addend = _signed(named["sign"], named["addend"])
        elif resolver:  # older readelfs name the resolver of an IRELATIVE
            addend = _signed(resolver["sign"], resolver["addend"])
        elif rest:
            addend = _signed("+", rest)
        slots.append(Slot(int(entry["offset"], 16), entry["type"], symbol, version, addend))
    return slots


@lru_cache(maxsize=64)
def readelf_slots(path: Path | str, dynamic: bool = True) -> list[Slot]:
    """All dynamic relocations of a file that stays as it is; DYNAMIC needs no section headers."""
    return parse_readelf_relocations(said_by("readelf", "-rDW" if dynamic else "-rW", str(path)))


# ----------------------------------------------------------------------------------------- nm


@dataclass(frozen=True)
class NmSymbol:
    """One symbol; KIND is nm's letter, and DEFAULT says whether the version is the default one."""

    name: str
    version: str
    kind: str
    value: int | None
    default: bool


NM = re.compile(r"^(?P<value>[0-9a-f]{16})? +(?P<kind>\S) (?P<name>\S.*)$")


def parse_nm(text: str) -> list[NmSymbol]:
    """What `nm --with-symbol-versions` lists."""
    found = []
    for line in text.splitlines():
        entry = NM.match(line)
        if not entry:
            continue
        name, _, version = entry["name"].partition("@")
        value = int(entry["value"], 16) if entry["value"] else None
        default = version.startswith("@")
        found.append(NmSymbol(name, version.lstrip("@"), entry["kind"], value, default))
    return found


@lru_cache(maxsize=64)
def nm_symbols(path: Path | str, dynamic: bool = True) -> list[NmSymbol]:
    """The symbols of a file that stays as it is: those of .dynsym, or those of .symtab."""
    table = ["-D"] if dynamic else []
    return parse_nm(said_by("nm", *table, "--with-symbol-versions", str(path)))


# --------------------------------------------------------------------------------------- /proc


@dataclass(frozen=True)
class Mapping:
    """One line of /proc/PID/maps; PATH has the kernel's escapes undone."""

    start: int
    end: int
    permissions: str
    offset: int
    inode: int
    path: str


def parse_maps(text: str) -> list[Mapping]:
    """What /proc/PID/maps says."""
    found = []
    for line in text.split("\n"):
        if not line:
            continue
        fields = line.split(None, 5)
        start, end = (int(word, 16) for word in fields[0].split("-"))
        # The kernel writes a newline in a path as \012 and leaves all else alone (seq_file_path).
        path = fields[5].replace("\\012", "\n") if len(fields) > 5 else ""
        found.append(Mapping(start, end, fields[1], int(fields[2], 16), int(fields[4]), path))
    return found


def proc_maps(pid: int) -> list[Mapping]:
    """The mappings of a process."""
    return parse_maps(os.fsdecode(Path(f"/proc/{pid}/maps").read_bytes()))


def parse_auxv(data: bytes) -> dict[int, int]:
    """The auxiliary vector: type to value, without AT_NULL."""
    whole = len(data) - len(data) % 16
    return {kind: value for kind, value in struct.iter_unpack("<QQ", data[:whole]) if kind != 0}


def proc_auxv(pid: int) -> dict[int, int]:
    """The auxiliary vector of a process."""
    return parse_auxv(Path(f"/proc/{pid}/auxv").read_bytes())


# ------------------------------------------------------------------------------------ LD_DEBUG


@dataclass(frozen=True)
class Loaded:
    """An object that ld.so mapped itself (not main, ld.so, vDSO). NAME is as it was asked for."""

    name: str
    namespace: int
    requester: str  # the path of who needed or opened it
    how: str  # "needed", "dlopened" or "preloaded"
    base: int
    size: int
    dynamic: int
    unloaded: bool = False  # later, or at once since its dlopen failed


EVENT = re.compile(
    r"file=(?P<name>.*?) \[(?P<namespace>\d+)\];  "
    r"(?:(?P<how>needed|dynamically loaded) by (?P<requester>.*?) \[\d+\]"
    r"|generating link map\s+dynamic: 0x(?P<dynamic>[0-9a-f]+)"
    r"  base: 0x(?P<base>[0-9a-f]+)   size: 0x(?P<size>[0-9a-f]+)"
    r"|(?P<gone>destroying link map))",
    re.DOTALL,  # a name can hold a newline
)
PID_PREFIX = re.compile(r"^ *\d+:\t", re.MULTILINE)
START_OF_EVENT = re.compile(r"^(?=file=)", re.MULTILINE)


def parse_ld_debug_files(text: str) -> list[Loaded]:
    """What LD_DEBUG=files tells of each object that was mapped, in order; also of unloaded ones."""
    asked: dict[tuple[str, str], tuple[str, str]] = {}
    found: list[Loaded] = []
    for chunk in START_OF_EVENT.split(PID_PREFIX.sub("", text)):
        event = EVENT.match(chunk)
        if not event:
            continue
        key = (event["name"], event["namespace"])
        if event["how"]:
            how = "needed" if event["how"] == "needed" else "dlopened"
            asked[key] = (event["requester"], how)
            continue
        if event["gone"]:  # named by its path, and not as it was asked for
            name, namespace = os.path.basename(event["name"]), int(event["namespace"])
            place = max(
                i
                for i, one in enumerate(found)
                if (os.path.basename(one.name), one.namespace) == (name, namespace)
                and not one.unloaded
            )
            found[place] = replace(found[place], unloaded=True)
            continue
        # A preloaded object is mapped without anybody having asked.
        requester, how = asked.get(key, ("", "preloaded"))
        found.append(
            Loaded(
                event["name"],
                int(event["namespace"]),
                requester,
                how,
                int(event["base"], 16),
                int(event["size"], 16),
                int(event["dynamic"], 16),
            )
        )
    return found


def ld_debug_files(
    program: Program, *arguments: str, env: dict[str, str] | None = None, stdin: str = ""
) -> list[Loaded]:
    """Run PROGRAM to its end (under qemu for ARM64) and say what its ld.so mapped.

    Addresses differ from one run to the next; for those of a process under GDB give it
    LD_DEBUG=files and LD_DEBUG_OUTPUT in its environment, and read the file that it writes."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "ld"
        debug = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(output), **(env or {})}
        subprocess.run(
            program.command(*arguments, env=debug),
            input=stdin.encode(),
            capture_output=True,
            cwd=folder,
            timeout=240,
        )
        return read_ld_debug_files(output)


def read_ld_debug_files(output: Path) -> list[Loaded]:
    """What LD_DEBUG_OUTPUT=OUTPUT left in OUTPUT.PID, which must be one file."""
    written = list(output.parent.glob(f"{output.name}.*"))
    assert len(written) == 1, f"LD_DEBUG_OUTPUT left {written}"
    return parse_ld_debug_files(written[0].read_text(errors="surrogateescape"))


def interpreter(path: Path | str) -> Path:
    """The dynamic linker that a program asks for."""
    found = re.search(r"program interpreter: (\S+)\]", said_by("readelf", "-lW", str(path)))
    assert found, f"{path} asks for no dynamic linker"
    return Path(found[1])
