"""Verdicts: planted hijacks are always found, and healthy programs never raise one.

Only the test writes to the program's memory, by GDB's `set var`; gdbext never does.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests import judges
from tests.files import local
from tests.harness import Gdb
from tests.oracles import nm_symbols, said_by
from tests.programs import Program

Document = dict[str, Any]
BAD = ("redirected", "dangling", "stale")
FOUND = ("redirected", "dangling")
on_x86_64 = pytest.mark.parametrize("cpu", ["x86_64"], indirect=True)


class Target:
    """A stopped program whose slots a test overwrites, and puts back."""

    def __init__(self, gdb: Gdb) -> None:
        self.gdb = gdb
        self.links = gdb.json("plug-links")

    def module(self, name: str) -> Document:
        return judges.called(self.links, name)

    def file(self, name: str) -> Path:
        return local(self.module(name)["path"], self.gdb.arm64)

    def symbol(self, module: str, name: str, dynamic: bool = True) -> int:
        """The address of a symbol by nm."""
        values = {
            s.value for s in nm_symbols(self.file(module), dynamic) if s.name == name and s.value
        }
        (value,) = values
        return int(self.module(module)["base"], 16) + value

    def slots(self, module: str) -> list[Document]:
        (found,) = self.gdb.json(f"plug-got {module}")["modules"]
        slots: list[Document] = found["slots"]
        return slots

    def slot(
        self, module: str, symbol: str | None, kind: str = "JUMP_SLOT", nth: int = 0
    ) -> Document:
        found = [s for s in self.slots(module) if s["symbol"] == symbol and kind in s["type"]]
        return found[nth]

    def header(self, module: str) -> Document:
        (found,) = self.gdb.json(f"plug-got {module}")["modules"]
        header: Document = found["got_header"]
        return header

    def word(self, address: int) -> int:
        (value,) = struct.unpack("<Q", judges.read(self.gdb, address, 8))
        return int(value)

    def variable(self, name: str) -> int:
        return int(self.gdb.python(f"int(gdb.parse_and_eval('(unsigned long){name}'))"))

    def stub(self, module: str, symbol: str) -> int:
        """The address of a PLT entry, by objdump."""
        objdump = "aarch64-linux-gnu-objdump" if self.gdb.arm64 else "objdump"
        for line in said_by(objdump, "-d", "-j", ".plt", str(self.file(module))).splitlines():
            if line.endswith(f"<{symbol}@plt>:"):
                return int(self.module(module)["base"], 16) + int(line.split()[0], 16)
        raise AssertionError(f"no PLT entry of {symbol}")

    def write(self, address: int, value: int) -> None:
        said = self.gdb.cmd(f"set var *(unsigned long *){address:#x} = {value & (1 << 64) - 1:#x}")
        assert said == ""
        assert self.word(address) == value & (1 << 64) - 1

    def planted(self, module: str, slot: Document, value: int) -> Document:
        """The slot as plug-got shows it while it holds VALUE."""
        address, before = int(slot["address"], 16), int(slot["value"], 16)
        assert value != before
        self.write(address, value)
        (after,) = (s for s in self.slots(module) if s["address"] == slot["address"])
        self.write(address, before)
        assert int(after["value"], 16) == value & (1 << 64) - 1
        return after

    @cached_property
    def heap(self) -> int:
        return self.variable("heap")

    @cached_property
    def mapped(self) -> int:
        return self.variable("mapped")


@pytest.fixture
def target(live: Callable[..., Gdb]) -> Target:
    made = Target(live("hijack/host"))
    assert verdicts(made.gdb) == set()
    return made


def verdicts(gdb: Gdb) -> set[tuple[str, str, str, str]]:
    """Every slot and table with a bad verdict: (verdict, module, symbol, reason)."""
    found = set()
    slots = 0
    for module in gdb.json("plug-got -all")["modules"]:
        name = os.path.basename(module["path"])
        header = module["got_header"]
        if header is not None and header["verdict"] != "ok":
            found.add((header["verdict"], name, "GOT", header["reason"]))
        for slot in module["slots"]:
            slots += 1
            if slot["verdict"] in BAD:
                found.add((slot["verdict"], name, slot["symbol"], slot["reason"]))
    assert slots > 100
    return found


# --------------------------------------------------------------------------------- functions


def wrong_functions(target: Target) -> Iterator[tuple[str, str, int]]:
    """(what it is, whose slot of libplugin.so, what a hijacker puts there)."""
    libc = "libc.so.6"
    for symbol in ("twin", "abs", "strlen", "rand"):  # bound, bound in libc, an IFUNC, lazy
        yield "another library's function", symbol, target.symbol("libother.so", "unrelated")
        yield "a function of libc", symbol, target.symbol(libc, "system")
        yield "mapped memory", symbol, target.mapped
        yield "the heap", symbol, target.heap
        yield "nothing is there", symbol, 0x10000
        yield "zero", symbol, 0
        yield "data of a library", symbol, target.symbol("libtarget.so", "shared_number")
        yield "a stub of another symbol", symbol, target.stub("libplugin.so", "labs")
        yield "a stub of its own", symbol, target.stub("libplugin.so", symbol)
        yield "behind its first instruction", symbol, target.stub("libplugin.so", symbol) + 4
    for symbol in ("twin", "other_function"):
        yield "a local function", symbol, target.variable("local_function")
    yield "the middle of the right one", "twin", target.symbol("libtarget.so", "twin") + 4
    yield "the middle of the right one", "abs", target.symbol(libc, "abs") + 4
    yield "the same name, later in scope", "twin", target.symbol("libother.so", "twin")
    yield "the same name, not in scope", "twin", target.symbol("libstranger.so", "twin")
    yield "another of the right library", "twin", target.symbol("libtarget.so", "other_function")
    yield (
        "another IFUNC's resolver",
        "strlen",
        target.symbol(libc, "memcpy" if target.gdb.arm64 else "strcpy"),
    )
    yield "the resolver itself", "strlen", target.symbol(libc, "strlen")
    yield (
        "what memcpy's resolver gives",
        "strlen",
        int(target.slot("libplugin.so", "memcpy")["value"], 16),
    )
    yield "a function of ld.so", "twin", target.symbol(linker(target), "_dl_find_dso_for_object")
    lazy = int(target.slot("libplugin.so", "labs")["value"], 16)
    if target.gdb.arm64:
        yield "behind the start of PLT0", "rand", lazy + 4
    else:
        yield "another's lazy value", "rand", lazy
        yield "another's lazy value", "twin", lazy
        yield "a push of another number", "rand", lazy + 1


def linker(target: Target) -> str:
    return "ld-linux-aarch64.so.1" if target.gdb.arm64 else "ld-linux-x86-64.so.2"


def test_functions(target: Target) -> None:
    missed = []
    rows = list(wrong_functions(target))
    assert target.slot("libplugin.so", "rand")["state"] == "lazy"
    assert target.slot("libplugin.so", "strlen")["state"] == "bound"
    for what, symbol, value in rows:
        slot = target.planted("libplugin.so", target.slot("libplugin.so", symbol), value)
        if slot["verdict"] not in FOUND or not slot["reason"]:
            missed.append((what, symbol, slot))
    assert missed == []
    assert verdicts(target.gdb) == set()


def test_a_lazy_slot_set_back_is_lazy(target: Target) -> None:
    """Not a hijack: ld.so would bind it anew."""
    slot = target.slot("libplugin.so", "twin")
    stub = target.stub("libplugin.so", "twin")
    lazy = target.slot("libplugin.so", "rand")["value"] if target.gdb.arm64 else hex(stub + 6)
    after = target.planted("libplugin.so", slot, int(lazy, 16))
    assert (after["state"], after["verdict"]) == ("lazy", "ok")


# -------------------------------------------------------------------------------- GOT[1], [2]


def test_got_header(target: Target) -> None:
    maps = {
        os.path.basename(m["path"]): int(m["link_map"], 16) for m in judges.modules(target.links)
    }
    data = target.symbol("libtarget.so", "shared_number")
    code = target.symbol("libtarget.so", "twin")
    loader = target.symbol(linker(target), "_dl_find_dso_for_object")
    rows = [
        (1, maps["libtarget.so"]), (1, 0), (1, target.heap), (1, data), (1, target.mapped),
        (2, code), (2, 0), (2, target.heap), (2, data), (2, target.mapped), (2, 0x10000),
        (2, loader), (2, target.symbol("libc.so.6", "system")),
    ]  # fmt: skip
    for module in ("libplugin.so", "host"):
        header = target.header(module)
        assert header["verdict"] == "ok"
        address = int(header["address"], 16)
        values = [int(v, 16) for v in header["values"]]
        for place, value in rows:
            target.write(address + 8 * place, value)
            shown = target.header(module)
            target.write(address + 8 * place, values[place])
            assert shown["verdict"] == "redirected", (module, place, hex(value), shown)
            assert shown["reason"]
        resolver = values[2]
        target.write(address + 16, resolver + 4)
        assert target.header(module)["verdict"] == "redirected"
        target.write(address + 16, resolver)
    assert verdicts(target.gdb) == set()


@on_x86_64
def test_every_resolver_replaced(target: Target) -> None:
    """No module is left to tell what the right one is."""
    changed = []
    loader = target.symbol(linker(target), "_dl_find_dso_for_object")
    for module in target.gdb.json("plug-got -all")["modules"]:
        header = module["got_header"]
        if header and int(header["values"][2], 16):
            target.write(int(header["address"], 16) + 16, loader)
            changed.append(os.path.basename(module["path"]))
    assert len(changed) > 3
    for name in changed:
        assert target.header(name)["verdict"] != "ok", name


# ---------------------------------------------------------------------------- data and TLS


def test_data_pointers(target: Target) -> None:
    slot = target.slot("libplugin.so", "shared_number", "GLOB_DAT")
    assert (slot["verdict"], slot["state"]) == ("ok", "bound")
    for value in (
        target.symbol("libother.so", "shared_number"),
        target.symbol("libstranger.so", "shared_number"),
        target.symbol("libtarget.so", "another_number"),
        target.symbol("libtarget.so", "shared_number") + 1,
        target.heap, target.mapped, 0x10000, 0,
    ):  # fmt: skip
        after = target.planted("libplugin.so", slot, value)
        assert after["verdict"] in FOUND, after
        assert after["reason"]


def test_tls(target: Target) -> None:
    numbers = {m["tls_module_id"] for m in judges.modules(target.links)} - {None, 0}
    count = 0
    for module, kind in (
        ("libtlsgd.so", "DTPMOD"), ("libtlsgd.so", "DTPOFF|DTPREL"), ("libtlsie.so", "TPOFF|TPREL"),
        ("libtlsdesc.so", "TLSDESC"),
    ):  # fmt: skip
        for slot in target.slots(module):
            if not any(k in slot["type"] for k in kind.split("|")):
                continue
            count += 1
            right = int(slot["value"], 16)
            wrong = [right + 8, target.heap, target.symbol("libtarget.so", "twin"), 0]
            if kind == "DTPMOD":
                wrong += [*sorted(numbers - {right}), max(numbers) + 1]
            for value in wrong:
                if value == right:
                    continue
                after = target.planted(module, slot, value)
                assert after["verdict"] in FOUND, (kind, hex(value), after)
                assert after["reason"]
            if kind == "TLSDESC":
                argument = int(slot["address"], 16) + 8
                before = target.word(argument)
                for value in (before + 8, target.heap, 0):
                    target.write(argument, value)
                    (after,) = (s for s in target.slots(module) if s["address"] == slot["address"])
                    target.write(argument, before)
                    assert after["verdict"] in FOUND, (hex(value), after)
    assert count >= 7
    assert verdicts(target.gdb) == set()


def test_irelative(target: Target) -> None:
    slots = [s for s in target.slots("libifunc.so") if s["type"].endswith("_IRELATIVE")]
    assert len(slots) == 2
    base = int(target.module("libifunc.so")["base"], 16)
    local_symbols = {
        s.name: base + s.value
        for s in nm_symbols(target.file("libifunc.so"), dynamic=False)
        if s.value is not None
    }
    for slot in slots:
        assert (slot["verdict"], int(slot["value"], 16)) == ("ok", local_symbols["two"])
        for value in (
            local_symbols["forty"], local_symbols["two"] + 4, local_symbols["sum_of_locals"],
            local_symbols["resolve_two"], target.symbol("libc.so.6", "system"), target.heap,
            target.mapped, 0x10000, 0,
        ):  # fmt: skip
            after = target.planted("libifunc.so", slot, value)
            assert after["verdict"] in FOUND, (hex(value), after)
            assert after["reason"]


# ----------------------------------------------------------------------------------- healthy


HEALTHY = ("dlopens/host", "tls/host", "ifunc/host", "relro/host", "cet/host", "noplt/host",
           "nopie/host", "namespaces/host", "cxx/host", "vdso/host")  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("now", ["lazy", "now"])
def test_healthy(live: Callable[..., Gdb], name: str, now: str) -> None:
    assert verdicts(live(name, env={"LD_BIND_NOW": "1"} if now == "now" else {})) == set()


@pytest.mark.parametrize("audit", ["libsymbind.so", "libpltenter.so"])
@pytest.mark.parametrize("now", ["lazy", "now"])
def test_healthy_under_audit(
    live: Callable[..., Gdb], program: Callable[[str], Program], audit: str, now: str
) -> None:
    env = {"LD_AUDIT": str(program("audit/host").folder / audit)}
    gdb = live("audit/host", env={**env, **({"LD_BIND_NOW": "1"} if now == "now" else {})})
    assert verdicts(gdb) == set()


def test_an_audit_hook_is_found(
    live: Callable[..., Gdb], program: Callable[[str], Program]
) -> None:
    gdb = live("audit/host", env={"LD_AUDIT": str(program("audit/host").folder / "libhook.so")})
    found = verdicts(gdb)
    assert {row[:3] for row in found} >= {("redirected", "host", "abs")}
    assert {row[2] for row in found} == {"abs"}


@on_x86_64
def test_time_resolves_into_the_vdso(live: Callable[..., Gdb]) -> None:
    target = Target(live("vdso/host"))
    for symbol in ("time", "gettimeofday"):
        slot = target.slot("host", symbol)
        assert (slot["verdict"], slot["provider"]) == ("ok", "linux-vdso.so.1"), slot
    for symbol, other in (("time", "clock_gettime"), ("gettimeofday", "getcpu")):
        start = int(target.module("linux-vdso.so.1")["start"], 16)
        wrong = start + vdso_symbols(target)[f"__vdso_{other}"]
        assert target.planted("host", target.slot("host", symbol), wrong)["verdict"] == "redirected"


def vdso_symbols(target: Target) -> dict[str, int]:
    """The names and values of the vDSO's symbols, by nm on a copy of it."""
    module = target.module("linux-vdso.so.1")
    start, end = int(module["start"], 16), int(module["end"], 16)
    path = target.gdb.log.parent / "vdso.so"
    path.write_bytes(judges.read(target.gdb, start, end - start))
    return {s.name: s.value for s in nm_symbols(path) if s.value is not None}


@on_x86_64
@pytest.mark.parametrize(
    ("name", "preload"),
    [
        ("cxx/host", "libjemalloc.so.2"),
        ("audit/host", "libjemalloc.so.2"),
        ("audit/host", "libasan.so.8"),
    ],
)
@pytest.mark.parametrize("now", ["lazy", "now"])
def test_healthy_with_another_allocator(
    live: Callable[..., Gdb], preload: str, now: str, name: str
) -> None:
    env = {"LD_PRELOAD": f"/usr/lib/x86_64-linux-gnu/{preload}"}
    if preload.startswith("libasan"):
        env = {**env, "ASAN_OPTIONS": "detect_leaks=0"}
    gdb = live(name, env={**env, **({"LD_BIND_NOW": "1"} if now == "now" else {})})
    assert preload in gdb.cmd("plug-links")
    assert verdicts(gdb) == set()


@on_x86_64
@pytest.mark.parametrize("now", ["lazy", "now"])
def test_healthy_sanitizer(live: Callable[..., Gdb], now: str) -> None:
    env = {"ASAN_OPTIONS": "detect_leaks=0", **({"LD_BIND_NOW": "1"} if now == "now" else {})}
    gdb = live("sanitizer/host", env=env)
    assert "libasan.so" in gdb.cmd("plug-links")
    assert verdicts(gdb) == set()


def test_stale(live: Callable[..., Gdb]) -> None:
    """A plugin is bound to its own dependency; another, global one comes in front of that later."""
    gdb = live("promote/opener", "open:n:libearly.so", "open:ng:libglobal.so")
    found = {row[:3] for row in verdicts(gdb)}
    assert found == {("stale", "libearly.so", "twin")}
    slot = Target(gdb).slot("libearly.so", "twin")
    assert "came in front by a dlopen or dlclose after this was bound" in slot["reason"]
    assert os.path.basename(slot["expected"]) == "libglobal.so"
