"""Which experts to keep when not all can be: the pool whose category map is worth most within a budget.

    maximise  sum over categories of share * (best skill in the pool)   subject to  sum of sizes <= budget

(Composition of Experts, 2412.01868). Exact for a dozen experts, by trying every subset; above that greedy, by what each
adds per unit of its size or altogether, whichever ends better. The worth of a pool is submodular, so that greedy choice
is never far off (Khuller, Moss & Naor 1999).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from router.policies.smoothing import Floats

EXACT = 12
_SLACK = 1e-12


class Chosen(NamedTuple):
    """A pool: the experts' columns in order, its worth (0..1), its size, and whether every other pool was tried."""

    columns: tuple[int, ...]
    worth: float
    size: float
    exact: bool


def best_pool(skill: Floats, share: Floats, sizes: Floats, budget: float) -> Chosen:
    """Return the pool within the budget that is worth most; of equals the smallest.

    Args:
        skill: (categories, m) mean score.
        share: (categories,) of the questions.
        sizes: (m,) billions of parameters, or USD; the same unit as `budget`.

    Raises:
        ValueError: no expert fits the budget alone.
    """
    fitting = [column for column in range(len(sizes)) if sizes[column] <= budget]
    if not fitting:
        raise ValueError(f"no expert fits a budget of {budget:g}; the smallest takes {min(sizes):g}")
    exact = len(fitting) <= EXACT
    pools = _all_pools(fitting, sizes, budget) if exact else grown_pools(fitting, skill, share, sizes, budget)
    found = max(pools, key=lambda pool: (round(worth(skill, share, pool), 12), -float(sizes[list(pool)].sum())))
    return Chosen(tuple(sorted(found)), worth(skill, share, found), float(sizes[list(found)].sum()), exact)


def worth(skill: Floats, share: Floats, pool: Sequence[int]) -> float:
    """Return the mean score of asking, in each category, the pool's best expert."""
    return float(share @ skill[:, list(pool)].max(axis=1)) if len(pool) else 0.0


def _all_pools(fitting: Sequence[int], sizes: Floats, budget: float) -> list[tuple[int, ...]]:
    return [
        pool
        for count in range(1, len(fitting) + 1)
        for pool in combinations(fitting, count)
        if sizes[list(pool)].sum() <= budget + _SLACK
    ]


def grown_pools(
    fitting: Sequence[int], skill: Floats, share: Floats, sizes: Floats, budget: float
) -> list[tuple[int, ...]]:
    """Return the pools of the `fitting` columns grown by both greedy rules, and the best single expert."""
    rules: tuple[Callable[[float, float], float], ...] = (lambda gain, size: gain, lambda gain, size: gain / size)
    alone = max(fitting, key=lambda column: worth(skill, share, [column]))
    return [(alone,), *(_grown(fitting, skill, share, sizes, budget, rule) for rule in rules)]


def _grown(
    fitting: Sequence[int],
    skill: Floats,
    share: Floats,
    sizes: Floats,
    budget: float,
    rule: Callable[[float, float], float],
) -> tuple[int, ...]:
    pool: list[int] = []
    while True:
        room, now = budget - float(sizes[pool].sum()), worth(skill, share, pool)
        able = [column for column in fitting if column not in pool and sizes[column] <= room + _SLACK]
        gains = {column: worth(skill, share, [*pool, column]) - now for column in able}
        useful = [column for column in able if gains[column] > _SLACK]
        if not useful:
            return tuple(pool) or (min(fitting, key=lambda column: float(sizes[column])),)
        pool.append(max(useful, key=lambda column: rule(gains[column], max(float(sizes[column]), _SLACK))))


def shares(labels: Floats) -> Floats:
    """Return how much of the questions each category is, (categories,), from labels (n, categories)."""
    return np.asarray(labels.mean(axis=0))
