"""Names from the program, made safe to print."""

from __future__ import annotations


def shown(text: str) -> str:
    r"""`text` with surrogate-escaped bytes as \xNN: a string that every encoder takes."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    """`text` on one line of a terminal: control characters and what cannot be encoded escaped."""
    if text.isprintable():
        return text
    text = shown(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def count(number: int, noun: str) -> str:
    """`1 module`, `2 modules`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
