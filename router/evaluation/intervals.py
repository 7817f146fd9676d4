"""How sure is a difference? Paired bootstrap over whole questions, McNemar's test, Holm's correction.

Duplicates of a question are drawn together (one cluster a stem), so that repeated questions do not pass for evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from router.evaluation.runs import Floats

DRAWS = 2000
LEVEL = 0.95
_CHUNK = 250


class Bootstrap:
    """The same draws of questions for every figure, so that every difference is paired.

    Args:
        clusters: (n,) equal for questions that are one.
        draws: how many times the clusters are drawn with replacement.
        seed: fixes the draws.
    """

    def __init__(self, clusters: NDArray[np.int64], *, draws: int = DRAWS, seed: int = 0) -> None:
        _, self._cluster = np.unique(clusters, return_inverse=True)
        self._sizes = np.bincount(self._cluster).astype(np.float64)
        self._seed, self._draws = seed, draws

    def means(self, values: Floats) -> Floats:
        """Return the mean of `values` (n,) or (n, k) in each draw: (draws,) or (draws, k)."""
        columns = values[:, None] if values.ndim == 1 else values
        sums = np.zeros((len(self._sizes), columns.shape[1]))
        np.add.at(sums, self._cluster, columns)
        rng = np.random.default_rng(self._seed)
        parts = [self._drawn(rng, sums, min(_CHUNK, self._draws - at)) for at in range(0, self._draws, _CHUNK)]
        found = np.concatenate(parts)
        return found[:, 0] if values.ndim == 1 else found

    def _drawn(self, rng: np.random.Generator, sums: Floats, draws: int) -> Floats:
        groups = len(self._sizes)
        weights = np.stack([np.bincount(rng.integers(groups, size=groups), minlength=groups) for _ in range(draws)])
        found: Floats = (weights @ sums) / (weights @ self._sizes)[:, None]
        return found

    def interval(self, values: Floats, level: float = LEVEL) -> tuple[float, float]:
        """Return the central interval of the mean of `values` (n,); pass a difference for a paired one."""
        return percentile_interval(self.means(values), level)


def percentile_interval(draws: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Return the central `level` of a bootstrap distribution (draws,)."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mcnemar(first: Floats, second: Floats) -> float:
    """Return the two-sided p of McNemar's test that two routers are equally often right.

    Exact (binomial) below 1,000 discordant questions, else chi-squared with continuity correction. Graded
    scores count by which is larger (the sign test).
    """
    wins, losses = int((first > second).sum()), int((first < second).sum())
    total, fewer = wins + losses, min(wins, losses)
    if total == 0:
        return 1.0
    if total < 1000:
        tail = sum(math.comb(total, place) for place in range(fewer + 1))
        return min(1.0, float(2 * tail / 2**total))
    return math.erfc(math.sqrt(max(0.0, abs(wins - losses) - 1) ** 2 / total / 2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for having asked several questions (Holm 1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted
