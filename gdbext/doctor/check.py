"""One line of the doctor's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Check:
    """What was looked at, how it stands, and how to mend it: a command, or else a sentence."""

    name: str
    status: Status
    text: str
    remedy: str | None = None
