"""The oracles on real programs, on both CPUs where the tool works for both."""

from __future__ import annotations

from collections.abc import Callable

from tests import dwarf, oracles
from tests.programs import Program


def test_ld_debug_files_of_a_run(program: Callable[[str], Program]) -> None:
    loaded = oracles.ld_debug_files(program("namespaces/host"))
    assert [(one.name, one.namespace, one.how) for one in loaded] == [
        ("libc.so.6", 0, "needed"),
        ("libns.so", 0, "dlopened"),
        ("libns.so", 1, "dlopened"),
        ("libc.so.6", 1, "needed"),
        ("libns.so", 2, "dlopened"),
        ("libc.so.6", 2, "needed"),
    ]
    assert len({one.base for one in loaded}) == 6
    assert loaded[3].requester.endswith("/namespaces/libns.so")


def test_readelf_without_section_headers(program: Callable[[str], Program]) -> None:
    folder = program("nosections/host").folder
    bare = oracles.readelf_slots(folder / "libplugin.so")
    assert bare == oracles.readelf_slots(folder / "with_sections.so", dynamic=False)
    assert any(slot.symbol == "abs" for slot in bare)


def test_nm_and_readelf_agree_on_what_is_imported(program: Callable[[str], Program]) -> None:
    path = program("dlopens/host").folder / "liblazy.so"
    undefined = {one.name for one in oracles.nm_symbols(path) if one.value is None}
    assert {slot.symbol for slot in oracles.readelf_slots(path)} - {""} <= undefined


def test_link_map_layout() -> None:
    layout = dwarf.libc_link_map_layout()
    # The public part is ABI (link.h); l_real and l_ns have been at 40 and 48 in every glibc seen.
    offsets = {name: layout[name].offset for name in ("l_addr", "l_name", "l_real", "l_ns")}
    assert offsets == {"l_addr": 0, "l_name": 8, "l_real": 40, "l_ns": 48}
    assert layout["l_type"].bits == 2
    assert layout["l_phdr"].offset < layout["l_scope"].offset < layout["sizeof"].size
