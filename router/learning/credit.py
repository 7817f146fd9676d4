"""Whose answer was it? From one score for what a user saw to how right each expert turned out.

one expert answered     it gets the score
several voted           who agreed with the winner gets the score; who disagreed is wrong as far as the winner is
                        known to be right, and nothing is known about it when the winner was wrong
several were fused      each gets the score, trusted by its weight
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from experts.types import ExpertName


class Credit(NamedTuple):
    """How right an expert was (0..1), and how much that is to be trusted (0..1)."""

    score: float
    trust: float


@dataclass(frozen=True, slots=True)
class Authorship:
    """Who made an answer.

    Args:
        answered_by: whose words the user saw: an expert, or the fuser.
        weights: candidates that answered, with the router's weights; empty when only one expert was asked.
        finals: the comparable final answer of each candidate, where the strategy compared them.
    """

    answered_by: ExpertName
    weights: Mapping[ExpertName, float] = field(default_factory=dict)
    finals: Mapping[ExpertName, str | None] = field(default_factory=dict)

    @property
    def experts(self) -> frozenset[ExpertName]:
        """Everybody who had a part in it."""
        return frozenset({self.answered_by, *self.weights})


def credits(score: float, authorship: Authorship) -> dict[ExpertName, Credit]:
    """Return what one score for the whole answer says about each expert."""
    if len(authorship.weights) < 2:
        return {authorship.answered_by: Credit(score, 1.0)}
    winner = authorship.finals.get(authorship.answered_by)
    if winner is not None:
        return _voted(score, winner, authorship)
    total = sum(authorship.weights.values()) or 1.0
    return {expert: Credit(score, weight / total) for expert, weight in authorship.weights.items()}


def _voted(score: float, winner: str, authorship: Authorship) -> dict[ExpertName, Credit]:
    found: dict[ExpertName, Credit] = {}
    for expert in authorship.weights:
        final = authorship.finals.get(expert)
        if final == winner:
            found[expert] = Credit(score, 1.0)
        elif final is not None and score > 0.5:
            found[expert] = Credit(0.0, 2 * score - 1)
    return found
