"""What is said of a GOT slot: the verdict, the module that was expected, the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbext.linker.loaded.modules import Module


class Judgement(NamedTuple):
    """`expected` is the module whose definition ld.so's lookup gives now; None where there is
    none, or where it cannot be known. `reason` is None where there is nothing to say."""

    verdict: str
    expected: Module | None
    reason: str | None


@dataclass(frozen=True)
class Judgements:
    """The judgements of a module's slots: a column for each field, and rows made when asked for."""

    verdicts: list[str]
    expected: list[Module | None]
    reasons: list[str | None]

    def __len__(self) -> int:
        return len(self.verdicts)

    def __getitem__(self, i: int) -> Judgement:
        return Judgement(self.verdicts[i], self.expected[i], self.reasons[i])

    def __iter__(self) -> Iterator[Judgement]:
        return map(Judgement, self.verdicts, self.expected, self.reasons)

    def only(self, indices: Sequence[int]) -> Judgements:
        """Those with these indices."""
        verdicts, expected, reasons = self.verdicts, self.expected, self.reasons
        return Judgements(
            [verdicts[i] for i in indices],
            [expected[i] for i in indices],
            [reasons[i] for i in indices],
        )
