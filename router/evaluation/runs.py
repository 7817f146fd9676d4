"""What a way of routing did, question by question: how good, how dear, how many experts asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]
THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Run:
    """One way of routing on n questions.

    `quality` (n,) in 0..1; `cost` (n,) in USD, nan where a price is unknown; `experts` (n,) how many were asked;
    `first` (n,) the column of the expert asked first, -1 where that is not one expert (random, an oracle's tie).
    """

    quality: Floats
    cost: Floats
    experts: Floats
    first: Indices

    @property
    def accuracy(self) -> float:
        return float(self.quality.mean())

    @property
    def cost_per_1k(self) -> float | None:
        """USD per 1,000 questions; None where a price is unknown."""
        mean = float(self.cost.mean())
        return None if np.isnan(mean) else mean * THOUSAND

    @property
    def mean_experts(self) -> float:
        return float(self.experts.mean())

    @property
    def accuracy_per_call(self) -> float:
        return self.accuracy / self.mean_experts


def single_choice(scores: Floats, costs: Floats, choice: Indices) -> Run:
    """Return the run of asking one expert a question: `scores` and `costs` (n, m), `choice` (n,) columns."""
    rows = np.arange(len(scores))
    first = np.asarray(choice, dtype=np.int64)
    return Run(scores[rows, first], costs[rows, first], np.ones(len(scores)), first)


def best_by(estimates: Floats, costs: Floats | None = None) -> Indices:
    """Return each row's column of the highest estimate, the cheaper of equals (then the first)."""
    top = estimates >= estimates.max(axis=1, keepdims=True)
    if costs is None or np.isnan(costs).any():
        return np.asarray(top.argmax(axis=1))
    return np.asarray(np.where(top, costs, np.inf).argmin(axis=1))
