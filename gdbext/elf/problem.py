"""The expected failures: what a user can read and act on, as opposed to a bug."""

from __future__ import annotations


class Problem(Exception):
    """One clear line for the user: what is wrong and what to do. Never used for a bug."""


class Unreadable(Problem):
    """Bytes that are not there: unmapped, not dumped into the core, or past the end of a file."""

    def __init__(self, address: int, size: int, why: str = "cannot be read") -> None:
        super().__init__(f"{size} bytes at {address:#x} {why}")
        self.address = address
        self.size = size
