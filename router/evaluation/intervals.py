"""How sure is a difference? Paired bootstrap over whole questions, McNemar's test, Holm's correction.

Duplicates of a question are drawn together (one cluster a stem), so that repeated questions do not pass for evidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from router.evaluation.runs import Floats

DRAWS = 2000
LEVEL = 0.95
_CHUNK = 250
_KEEP_UP_TO = 50_000_000


class Bootstrap:
    """The same draws of questions for every figure, so that every difference is paired.

    Args:
        clusters: (n,) equal for questions that are one.
        draws: how many times the clusters are drawn with replacement.
        seed: fixes the draws.
    """

    def __init__(self, clusters: NDArray[np.int64], *, draws: int = DRAWS, seed: int = 0) -> None:
        _, self._cluster = np.unique(clusters, return_inverse=True)
        self._sizes = np.bincount(self._cluster).astype(np.float32)
        self._seed, self._draws = seed, draws
        self._kept: list[NDArray[np.float32]] = []

    def means(self, values: Floats) -> Floats:
        """Return the mean of `values` (n,) or (n, k) in each draw: (draws,) or (draws, k)."""
        columns = values[:, None] if values.ndim == 1 else values
        middle = columns.mean(axis=0)
        sums = [np.bincount(self._cluster, column, len(self._sizes)) for column in (columns - middle).T]
        table = np.stack(sums, axis=1).astype(np.float32)
        parts = [(weights @ table) / (weights @ self._sizes)[:, None] for weights in self._weights()]
        found: Floats = np.concatenate(parts).astype(np.float64) + middle
        return np.asarray(found[:, 0]) if values.ndim == 1 else found

    def _weights(self) -> Iterator[NDArray[np.float32]]:
        """Yield how often each cluster was drawn, (chunk, clusters); the same every time, kept where that is cheap."""
        if self._kept:
            yield from self._kept
            return
        groups, rng = len(self._sizes), np.random.default_rng(self._seed)
        for at in range(0, self._draws, _CHUNK):
            size = min(_CHUNK, self._draws - at)
            drawn = (np.bincount(rng.integers(groups, size=groups), minlength=groups) for _ in range(size))
            weights = np.stack([each.astype(np.float32) for each in drawn])
            if groups * self._draws <= _KEEP_UP_TO:
                self._kept.append(weights)
            yield weights

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
