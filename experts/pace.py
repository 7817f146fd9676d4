"""How fast experts lately answered, as routing reads it: means in which each answer counts less as others follow."""

from __future__ import annotations

from dataclasses import dataclass

from experts.types import ExpertName

NEWEST_SHARE = 0.1
"""Weight of the newest answer: the last ten make up about two thirds of the mean."""


@dataclass(frozen=True, slots=True)
class AnswerTimes:
    """Mean ms of an expert's answers from when it was sent a call, without the wait for a place."""

    first_token_ms: float
    total_ms: float


class Pace:
    """Times per expert; one that never answered has none."""

    def __init__(self) -> None:
        self._times: dict[ExpertName, AnswerTimes] = {}

    def of(self, expert: ExpertName) -> AnswerTimes | None:
        """Return its times, or None."""
        return self._times.get(expert)

    def answered(self, expert: ExpertName, first_token_ms: float, total_ms: float) -> None:
        """Count one whole answer."""
        old = self._times.get(expert)
        if old is None:
            self._times[expert] = AnswerTimes(first_token_ms, total_ms)
            return
        first = old.first_token_ms + NEWEST_SHARE * (first_token_ms - old.first_token_ms)
        total = old.total_ms + NEWEST_SHARE * (total_ms - old.total_ms)
        self._times[expert] = AnswerTimes(first, total)
