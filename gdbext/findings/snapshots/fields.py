"""The fields of a JSON document that somebody else wrote: each is checked when it is asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gdbext.elf.problem import Problem

_MOST = 1 << 64
# Every list and object takes 60 bytes of memory or more, for two bytes of text.
_MOST_CONTAINERS = 4_000_000
_LONGEST_NUMBER = 20  # digits of 64 bits
_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number",
          bool: "true or false", type(None): "null"}  # fmt: skip


def parse(data: bytes) -> object:
    """JSON as Python has it; raises Problem, also for what would take too much to hold."""
    if data.count(b"[") + data.count(b"{") > _MOST_CONTAINERS:
        raise Problem("it is JSON with too many lists and objects")
    try:
        return json.loads(data.decode(), parse_int=_PARSE_INT)
    except RecursionError as error:
        raise Problem("it is JSON that is nested too deeply") from error
    except ValueError as error:  # also what is not UTF-8, and a number of thousands of digits
        raise Problem(f"it is not JSON: {error}") from error


def _short_number(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


# Time grows with the square of the digits, so newer Pythons refuse very long numbers themselves,
# without a call for each.
_PARSE_INT = None if hasattr(sys, "get_int_max_str_digits") else _short_number


@dataclass(frozen=True)
class Fields:
    """An object of the document; `where` says which one, for the error."""

    where: str
    values: dict[str, Any]

    @classmethod
    def of(cls, where: str, value: object) -> Fields:
        """An object; raises Problem for anything else."""
        if type(value) is not dict:
            raise wrong(where, value, "an object")
        return cls(where, value)

    def get(self, key: str) -> Any:  # noqa: ANN401
        """A value as it is."""
        if key not in self.values:
            raise Problem(f"{self._name(key)} is missing")
        return self.values[key]

    def text(self, key: str) -> str:
        """A text."""
        value = self.get(key)
        if type(value) is not str:
            raise wrong(self._name(key), value, "a text")
        return value

    def number(self, key: str, least: int = 0) -> int:
        """A whole number from `least` on, of 64 bits."""
        value = self.get(key)
        if type(value) is not int or not least <= value < _MOST:
            raise wrong(self._name(key), value, f"a whole number from {least} on")
        return value

    def text_or_none(self, key: str) -> str | None:
        """A text, or null."""
        return None if self.get(key) is None else self.text(key)

    def number_or_none(self, key: str) -> int | None:
        """A whole number, or null."""
        return None if self.get(key) is None else self.number(key)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.get(key)
        if type(value) is not bool:
            raise wrong(self._name(key), value, "true or false")
        return value

    def simple(self, key: str) -> str | int | bool | None:
        """A text, a whole number, true, false or null."""
        value = self.get(key)
        if value is None or type(value) in (str, bool):
            return value  # type: ignore[no-any-return]
        return self.number(key)

    def part(self, key: str) -> Fields:
        """An object."""
        return Fields.of(self._name(key), self.get(key))

    def part_or_none(self, key: str) -> Fields | None:
        """An object, or null."""
        return None if self.get(key) is None else self.part(key)

    def items(self, key: str) -> list[Any]:
        """A list of anything."""
        value = self.get(key)
        if type(value) is not list:
            raise wrong(self._name(key), value, "a list")
        return value

    def parts(self, key: str) -> Iterator[Fields]:
        """A list of objects."""
        for index, value in enumerate(self.items(key)):
            yield Fields.of(f"{self._name(key)}[{index}]", value)

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        found = self.items(key)
        if not set(map(type, found)) <= {str}:
            raise Problem(f"{self._name(key)} is not a list of texts")
        return found

    def numbers(self, key: str, least: int = 0, below: int = _MOST) -> list[int]:
        """A list of whole numbers in a range."""
        found = self.items(key)
        whole = set(map(type, found)) <= {int}
        if not whole or (found and not least <= min(found) <= max(found) < below):
            raise Problem(f"{self._name(key)} is not a list of whole numbers in their range")
        return found

    def words(self, key: str, words: Sequence[str]) -> list[str]:
        """A list of texts, written as numbers into `words`."""
        return [words[number] for number in self.numbers(key, 0, len(words))]

    def _name(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key


def wrong(where: str, value: object, wanted: str) -> Problem:
    """What to raise for a value of the wrong type, or out of its range."""
    return Problem(f"{where or 'it'} is {_KINDS.get(type(value), 'something')}, not {wanted}")
