"""ld.so's texts and their classes; the texts are those of glibc 2.31 to 2.43 and of musl 1.2."""

from __future__ import annotations

import pytest

from gdbext.findings.opening.dlopen_errors import CLASSES, Recorded, classify, culprit, musl_object
from gdbext.findings.opening.failures import of_event, refines


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("libx.so: cannot open shared object file: No such file or directory", "missing_file"),
        ("/x.so: cannot open shared object file: Permission denied", "no_permission"),
        ("/x.so: cannot open shared object file: Too many open files", "too_many_files"),
        ("/x.so: file too short", "not_elf"),
        ("/x.so: invalid ELF header", "not_elf"),
        ("/x.so: cannot read file data: Is a directory", "not_elf"),
        ("/x.so: wrong ELF class: ELFCLASS32", "wrong_class"),
        ("/x.so: ELF file data encoding not little-endian", "wrong_machine"),
        ("/x.so: ELF file OS ABI invalid", "not_loadable"),
        ("/x.so: only ET_DYN and ET_EXEC can be loaded", "not_loadable"),
        ("/x.so: object file has no dynamic section", "not_loadable"),
        ("/x.so: object file has no loadable segments", "not_loadable"),
        ("/x.so: shared object cannot be dlopen()ed", "not_loadable"),
        ("/x.so: cannot dynamically load position-independent executable", "not_loadable"),
        ("/x.so: undefined symbol: foo, version V1", "undefined_symbol"),
        ("/x.so: symbol f, version V not defined in file libc.so.6 with link time reference",
         "undefined_symbol"),
        ("/lib/libc.so.6: version `GLIBC_2.99' not found (required by /x.so)",
         "version_not_found"),
        ("/x.so: DT_RELR without GLIBC_ABI_DT_RELR dependency", "version_not_found"),
        ("/x.so: cannot allocate memory in static TLS block", "static_tls"),
        ("/x.so: cannot enable executable stack as shared object requires: Invalid argument",
         "executable_stack"),
        ("/x.so: CPU ISA level is lower than required", "cpu_level"),
        ("/x.so: failed to map segment from shared object: Operation not permitted",
         "no_permission"),
        ("/x.so: failed to map segment from shared object: Cannot allocate memory", "no_memory"),
        ("/x.so: failed to map segment from shared object", "cannot_map"),
        ("/x.so: cannot create shared object descriptor: Cannot allocate memory", "no_memory"),
        ("no more namespaces available for dlmopen()", "namespace_limit"),
        ("invalid mode for dlopen(): Invalid argument", "wrong_use"),
        ("/x.so: shared object not open", "wrong_use"),
        ("/x.so: unexpected reloc type 0x101", "wrong_machine"),
        ("Error loading shared library libx.so: No such file or directory (needed by /y.so)",
         "missing_file"),
        ("Error loading shared library /x.so: Exec format error", "not_elf"),
        ("Error relocating /x.so: foo: symbol not found", "undefined_symbol"),
        ("Error relocating /x.so: : initial-exec TLS resolves to dynamic definition in /x.so",
         "static_tls"),
        ("something that nobody says", "unknown"),
    ],
)  # fmt: skip
def test_classes(text: str, kind: str) -> None:
    assert kind in CLASSES
    assert classify(text) == kind


def test_errno_decides_where_the_text_does_not() -> None:
    assert classify("cannot open shared object file", 13) == "no_permission"
    assert classify("cannot open shared object file", 24) == "too_many_files"
    assert classify("failed to map segment from shared object", 12) == "no_memory"
    assert classify("undefined symbol: x", 13) == "undefined_symbol"


def test_whose_fault_it_is() -> None:
    text = "version `V' not found (required by /a b/x.so)"
    assert culprit(Recorded("/lib/l.so", text, 0, "", None, None)) == "/a b/x.so"
    text = "Error loading shared library libx.so: No such file or directory (needed by /y.so)"
    assert culprit(of_event("", text, 0, None)) == "/y.so"
    assert musl_object("Error relocating /x.so: foo: symbol not found") == "/x.so"


def test_events_of_a_trace() -> None:
    event = of_event("libx.so", "cannot open shared object file", 2, "host!main")
    assert (event.object, event.code, event.thread) == ("libx.so", 2, None)
    assert "host!main" in event.source


def test_finer_classes() -> None:
    assert refines("missing_file", "wrong_machine")
    assert not refines("wrong_machine", "missing_file")
