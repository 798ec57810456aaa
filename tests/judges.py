"""Judging the documents of plug-links and plug-got by strangers, for a program at a stop."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests import dwarf, oracles
from tests.files import File, local, look, section, with_sections, word
from tests.harness import Gdb
from tests.oracles import AT_BASE, AT_ENTRY, AT_SYSINFO_EHDR, Loaded
from tests.programs import Program

Document = dict[str, Any]
NO_SLOTS = ("_RELATIVE", "_COPY", "_NONE", "RELR")
TLS = re.compile(r"TPOFF|TPREL|DTPMOD|DTPOFF|DTPREL|TLSDESC")


@cache
def layout() -> dict[str, dwarf.Member]:
    """glibc's struct link_map of this machine, by DWARF."""
    return dwarf.libc_link_map_layout()


@cache
def exported(path: Path) -> dict[int, set[str]]:
    """The names that `nm -D` gives to each address of a file."""
    names: dict[int, set[str]] = {}
    for symbol in oracles.nm_symbols(path):
        if symbol.value is not None:
            names.setdefault(symbol.value, set()).add(symbol.name)
    return names


def read(gdb: Gdb, address: int, size: int) -> bytes:
    """Memory: by /proc where there is one, by GDB's own command otherwise."""
    if gdb.pid:
        with Path(f"/proc/{gdb.pid}/mem").open("rb") as memory:
            memory.seek(address)
            return memory.read(size)
    asked = f"gdb.selected_inferior().read_memory({address}, {size}).tobytes().hex()"
    return bytes.fromhex(gdb.python(asked))


def auxv(gdb: Gdb) -> dict[int, int]:
    """The auxiliary vector: by /proc, or as GDB prints it."""
    if gdb.pid:
        return oracles.proc_auxv(gdb.pid)
    rows = re.findall(r"^(\d+) +AT_\w+ .*?(0x[0-9a-f]+|\d+)$", gdb.cmd("info auxv"), re.MULTILINE)
    return {int(kind): int(value, 0) for kind, value in rows}


def modules(links: Document) -> list[Document]:
    """All modules of all namespaces, each with the key "namespace" added."""
    return [
        {**module, "namespace": namespace["index"]}
        for namespace in links["namespaces"]
        for module in namespace["modules"]
    ]


def called(links: Document, name: str) -> Document:
    """The one module whose path ends in NAME."""
    found = [module for module in modules(links) if os.path.basename(module["path"]) == name]
    assert len(found) == 1, [module["path"] for module in modules(links)]
    return found[0]


@dataclass(frozen=True)
class Object:
    """A module with its file and its load bias; BASE comes from a stranger, not from gdbext."""

    module: Document
    file: File
    base: int

    def holds(self, address: int) -> bool:
        return self.file.holds(address - self.base)


# ------------------------------------------------------------------------------------ links


def judge_links(
    gdb: Gdb, program: Program, links: Document, loaded: Sequence[Loaded]
) -> list[Object]:
    """Every fact of plug-links that a stranger knows too; LOADED is what LD_DEBUG=files said."""
    assert links["problems"] == []
    vector = auxv(gdb)
    objects = []
    for namespace in links["namespaces"]:
        index = namespace["index"]
        if program.set != "musl":
            kept = [one for one in loaded if one.namespace == index and not one.unloaded]
            judge_chain(program, namespace["modules"], kept)
        own = [judged_module(gdb, program, m, vector, index) for m in namespace["modules"]]
        judge_needs(own)
        objects += own
    first = links["namespaces"][0]["modules"][0]
    assert first["kind"] == "main"
    assert first["name"] == ("" if program.set != "musl" else str(program.path))
    if gdb.pid:
        judge_maps(gdb.pid, objects)
    if gdb.pid and program.set != "musl":
        judge_private(gdb, objects)
    return [one for one in objects if one.module["kind"] != "vdso"]


def judge_chain(program: Program, chain: Sequence[Document], loaded: Sequence[Loaded]) -> None:
    """Order, names, bases and reasons of what ld.so mapped itself, in one namespace."""
    listed = [m for m in chain if m["kind"] not in ("main", "vdso", "linker")]
    assert [(os.path.basename(m["path"]), int(m["base"], 16)) for m in listed] == [
        (os.path.basename(one.name), one.base) for one in loaded
    ], "the chain is not what LD_DEBUG=files tells"
    for module, one in zip(listed, loaded):
        # A preloaded name without a slash is "needed by" the program, which does not list it.
        wanted = one.requester != str(program.path) or one.name in look(program.path).needed
        assert module["kind"] == (one.how if wanted or one.how != "needed" else "preloaded")
        assert int(module["dynamic"], 16) == one.dynamic
        if module["kind"] == "needed":
            assert one.requester in (*module["needed_by"], str(program.path))


def judged_module(
    gdb: Gdb, program: Program, module: Document, vector: dict[int, int], namespace: int
) -> Object:
    """One module against its file's headers and the auxiliary vector."""
    base = int(module["base"], 16)
    module = {**module, "namespace": namespace}
    if module["kind"] == "vdso":
        assert int(module["start"], 16) == vector[AT_SYSINFO_EHDR]
        return Object(module, look(program.path), 1 << 63)
    file = look(program.path if module["kind"] == "main" else local(module["path"], gdb.arm64))
    if module["kind"] == "main":
        base = vector[AT_ENTRY] - file.entry
        assert Path(module["path"]).samefile(program.path)
    elif module["kind"] == "linker":
        base = vector[AT_BASE]
    elif program.set == "musl":
        maps = [m for m in oracles.proc_maps(gdb.pid or 0) if Path(m.path) == file.path]
        base = maps[0].start - file.start
    assert int(module["base"], 16) == base
    start, end = (int(module[key], 16) for key in ("start", "end"))
    if not (module["kind"] == "linker" and namespace):
        assert (start, end) == (base + file.start, base + file.end)
    assert module["build_id"] == file.build_id
    assert module["soname"] == file.soname
    assert module["needed"] == list(file.needed)
    assert module["relro"] == file.relro
    judge_binding(gdb, module, file, base)
    if file.tls is None or program.set != "musl":  # whose linker has no such number
        assert (module["tls_module_id"] is not None) == (file.tls is not None)
    return Object(module, file, base)


def judge_binding(gdb: Gdb, module: Document, file: File, base: int) -> None:
    """Lazy, if the resolver is in the GOT: for RTLD_NOW, ld.so itself and musl it is not."""
    assert (module["binding"] is not None) == file.plt
    if file.plt:
        assert file.pltgot is not None
        resolver = word(read(gdb, base + file.pltgot, 24), 16)
        assert module["binding"] == ("lazy" if resolver and not file.now else "now")


def judge_needs(objects: Sequence[Object]) -> None:
    """needed_by of each module of one namespace, by everybody's DT_NEEDED."""
    for one in objects:
        if one.module["kind"] == "vdso":
            continue
        names = {one.file.soname, os.path.basename(one.module["path"])}
        needing = [o for o in objects if o is not one and names & set(o.file.needed)]
        needing = [o for o in needing if o.module["kind"] != "vdso"]
        assert one.module["needed_by"] == [o.module["path"] for o in needing], one.module["path"]


def judge_maps(pid: int, objects: Sequence[Object]) -> None:
    """The same files at the same places as in /proc/PID/maps, no other and none missing."""
    mapped: dict[str, set[int]] = {}
    for mapping in oracles.proc_maps(pid):
        path = Path(mapping.path)
        if mapping.offset == 0 and path.is_file() and path.open("rb").read(4) == b"\x7fELF":
            mapped.setdefault(str(path.resolve()), set()).add(mapping.start)
    shown: dict[str, set[int]] = {}
    for one in objects:
        if one.module["kind"] != "vdso":
            path = Path(one.module["path"]).resolve()
            shown.setdefault(str(path), set()).add(int(one.module["start"], 16))
    assert {path: min(starts) for path, starts in shown.items()} == {
        path: min(starts) for path, starts in mapped.items()
    }
    assert all(starts <= mapped[path] for path, starts in shown.items())


def judge_private(gdb: Gdb, objects: Sequence[Object]) -> None:
    """Open counts, scope flags and TLS numbers, read where DWARF says that they are."""
    where = layout()
    for one in objects:
        module = one.module
        data = read(gdb, int(module["link_map"], 16), where["sizeof"].size)
        if module["open_count"] is None:
            assert module["kind"] == "linker"
            assert word(data, 40) != int(module["link_map"], 16), "not a proxy"
            continue

        def field(name: str, data: bytes = data) -> int:
            member = where[name]
            value = int.from_bytes(data[member.offset : member.offset + member.size], "little")
            return value >> member.bit & (1 << member.bits) - 1 if member.bits else value

        assert module["open_count"] == field("l_direct_opencount")
        assert module["global"] == bool(field("l_global"))
        assert (module["tls_module_id"] or 0) == field("l_tls_modid")
        assert module["nodelete"] in (
            bool(field("l_nodelete_active")),
            bool(field("l_flags_1") & 8),
        )


# -------------------------------------------------------------------------------------- got


def wanted_slots(one: Object) -> list[tuple[int, str, str, str]]:
    """(address, type, symbol, version) of each slot, as readelf lists the relocations."""
    return sorted(
        (one.base + slot.offset, plain(slot.type), slot.symbol, slot.version)
        for slot in oracles.readelf_slots(with_sections(one.file.path))
        if not slot.type.endswith(NO_SLOTS)
    )


def plain(kind: str) -> str:
    """AAELF64 names TLS relocations without the size that binutils adds."""
    return re.sub(r"(?<=^R_AARCH64_TLS_)(DTPMOD|DTPREL|TPREL)64$", r"\1", kind)


def judge_got(gdb: Gdb, got: Document, objects: Sequence[Object]) -> int:
    """Every slot of every module; the number of slots."""
    owners = {(o.module["path"], o.module["namespace"]): o for o in objects}
    proxies = {k for k, o in owners.items() if o.module["kind"] == "linker" and k[1]}
    shown = {(module["path"], module["namespace"]): module for module in got["modules"]}
    assert [key for key in shown if key in owners] == [k for k in owners if k not in proxies]
    assert len(shown) == len(got["modules"])
    for key, one in owners.items():
        if key not in proxies:
            judge_module_slots(
                gdb, one, shown[key], [owners[k] for k in owners if k not in proxies]
            )
    return sum(len(module["slots"]) for module in got["modules"])


def judge_module_slots(gdb: Gdb, one: Object, module: Document, objects: Sequence[Object]) -> None:
    """The slots of one module: which there are, what they hold, and where that leads."""
    assert module["problem"] is None
    slots = module["slots"]
    keys = [
        (int(s["address"], 16), s["type"], s["symbol"] or "", s["version"] or "") for s in slots
    ]
    assert keys == wanted_slots(one)
    plt = section(with_sections(one.file.path), ".plt")
    data = {
        first: read(gdb, one.base + first, last - first)
        for first, last in one.file.loads
        if any(first <= address - one.base < last for address, *_ in keys)
    }
    for slot, (address, kind, symbol, _) in zip(slots, keys):
        place = address - one.base
        first = max(start for start in data if start <= place)
        value = word(data[first], place - first)
        assert int(slot["value"], 16) == value, f"{slot} in {module['path']}"
        if TLS.search(kind):
            continue  # test_got.py
        if value == 0:
            assert slot["state"] == "null", slot
        elif kind.endswith("_JUMP_SLOT") and plt and plt[0] <= value - one.base < plt[1]:
            assert slot["state"] == "lazy", slot
        else:
            judge_bound(slot, symbol, value, objects)


def judge_bound(slot: Document, symbol: str, value: int, objects: Sequence[Object]) -> None:
    """The module and the name that a slot leads to."""
    owner = [o for o in objects if o.holds(value)] or [o for o in objects if o.holds(value - 1)]
    if not owner:  # the vDSO, an absolute value, or a wild one
        absolute = slot["definition"] == symbol and slot["verdict"] == "ok"
        vdso = "vdso" in (slot["provider"] or "")
        wild = not (absolute or vdso or slot["type"].endswith("64"))
        assert slot["state"] == ("dangling" if wild else "bound"), slot
        return
    assert slot["state"] == "bound", slot
    assert slot["provider"] == owner[0].module["path"], slot
    names = exported(owner[0].file.path).get(value - owner[0].base, set())
    if symbol in names:
        assert slot["definition"] == symbol, slot
    elif names:
        assert slot["definition"] in names, slot
