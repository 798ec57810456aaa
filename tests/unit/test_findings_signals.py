"""What signals and their codes mean."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from gdbext.findings.crash.signals import (
    REPORTED,
    Sender,
    explain_code,
    has_address,
    is_deadly,
    parse_disposition,
)


def test_reported_signals_are_those_that_dump_a_core_for_a_fault() -> None:
    assert all(hasattr(signal, name) for name in REPORTED)


def test_codes_are_those_of_the_c_library() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/bits/siginfo-consts.h").read_text()
    names = {"SEGV": "SIGSEGV", "BUS": "SIGBUS", "ILL": "SIGILL", "FPE": "SIGFPE"}
    first = re.compile(r"^  (SEGV|BUS|ILL|FPE)_(\w+) = 1,", re.MULTILINE)
    starts = first.findall(header)
    assert {kind for kind, _ in starts} == set(names)
    expected = {
        ("SIGSEGV", "MAPERR"): "address not mapped",
        ("SIGBUS", "ADRALN"): "misaligned address",
        ("SIGILL", "ILLOPC"): "illegal opcode",
        ("SIGFPE", "INTDIV"): "integer division by zero",
    }
    assert {(names[k], n): explain_code(names[k], 1) for k, n in starts} == expected


@pytest.mark.parametrize(
    ("name", "code", "words_in_it", "address"),
    [
        ("SIGSEGV", 2, "not permitted", True),
        ("SIGSEGV", 128, "general protection", False),
        ("SIGSEGV", 0, "sent by a program", False),
        ("SIGABRT", -6, "sent by a program", False),
        ("SIGSEGV", 77, "code 77", True),
        ("SIGABRT", 1, "code 1", False),
        ("SIGBUS", 2, "past the end of its file", True),
        ("SIGFPE", 3, "floating-point division", True),
    ],
)
def test_codes(name: str, code: int, words_in_it: str, address: bool) -> None:
    assert words_in_it in explain_code(name, code)
    assert has_address(name, code) is address


@pytest.mark.parametrize(
    ("code", "sender", "words_in_it"),
    [
        (0, Sender(7, 1000), "sent by process 7 of user 1000, "),
        (-1, Sender(7, 0), "sent by process 7 of user 0, "),
        (-6, Sender(42, 0), "sent by the process itself (raise"),
        (0, Sender(42, 0), "sent by the process itself (raise"),
        (0, Sender(0, 0), "sent from outside of "),
        (0, None, "sent by a program"),
        (-2, Sender(7, 0), "sent by a program"),  # SI_TIMER: there is a timer's id
    ],
)
def test_who_sent_it(code: int, sender: Sender | None, words_in_it: str) -> None:
    assert words_in_it in explain_code("SIGSEGV", code, sender, 42)


@pytest.mark.parametrize(
    ("what", "code", "deadly"),
    [
        ("", 1, True),
        ("SigCgt", 1, False),
        ("SigCgt SigBlk", 1, True),  # a fault is not held back: its default action is taken
        ("SigCgt SigBlk", 0, False),
        ("SigIgn", 0, False),
        ("SigIgn", 1, True),
    ],
)
def test_what_ends_a_program(what: str, code: int, deadly: bool) -> None:
    mask = 1 << signal.SIGSEGV - 1
    status = "Name:\tSigCgt\n" + "".join(f"{key}:\t{mask:016x}\n" for key in what.split())
    assert is_deadly(signal.SIGSEGV, code, parse_disposition(status)) is deadly
