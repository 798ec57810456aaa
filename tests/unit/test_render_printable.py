"""Names from the program on a terminal: nothing in them may do anything there."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbext.render.printable import printable, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("/lib/libc.so.6", "/lib/libc.so.6"),
        ("/ünï/日本 x", "/ünï/日本 x"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b]0;title\x07\x1b[31m", "\\x1b]0;title\\x07\\x1b[31m"),
        ("\0\x7f\x80\x9b1m", "\\x00\\x7f\\x80\\x9b1m"),
        ("a\udcff\udc80b", "a\\xff\\x80b"),
        ("\u202eevil\u2066\u200f\u061c", "\\u202eevil\\u2066\\u200f\\u061c"),
        ("\u200b\ufeff\u2028\u2029\u00ad\xa0", "\\u200b\\ufeff\\u2028\\u2029\\xad\\xa0"),
        ("\ue000\U000e0041", "\\ue000\\U000e0041"),
        ("\ud800", "\\ud800"),  # a surrogate that stands for no byte
        ("\udcff\n", "\\xff\\n"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected


@given(st.text(st.characters(codec=None), max_size=30))
@settings(max_examples=500, deadline=None)
def test_nothing_odd_remains(text: str) -> None:
    out = printable(text)
    out.encode("utf-8")  # every terminal takes it
    assert out.isprintable()
    assert not {unicodedata.category(c) for c in out} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert printable(out) == out
    if text.isprintable():
        assert out == text


@given(st.binary(max_size=30))
@settings(max_examples=300, deadline=None)
def test_bytes_are_escaped_not_dropped(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    out = shown(text)
    out.encode("utf-8")
    assert out == raw.decode("utf-8", "backslashreplace")
