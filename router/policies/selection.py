"""How many experts, and in which stages: one, the first k, top-p, a mean number over time, or no further one.

`need` after j experts is the share of all weight that they do not hold. Top-p takes experts while the need is
above 1 - p (Harder Tasks Need More Experts). A target mean turns that around: the threshold is a quantile of
the needs of recent queries, so that the mean number comes out right and hard queries get more (AdaMoE fixes
the mean by null experts; here the null option is that a further expert is not worth its cost).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

VOTE_GAIN = 0.1
"""Quality that a further opinion adds when nothing has been said yet; proportional to the need."""


def needs(weights: Sequence[float], most: int) -> NDArray[np.float64]:
    """Return the need after 1, 2, ... `most` - 1 experts, for odds that come best first."""
    odds = np.asarray(weights, dtype=np.float64)
    return np.maximum(0.0, 1.0 - np.cumsum(odds / odds.sum())[: max(0, most - 1)])


def threshold_for(recent: NDArray[np.float64], target: float) -> float:
    """Return the need above which a further expert is asked so that queries like these get `target` on average.

    Args:
        recent: needs of recent queries, shape [queries, most - 1].
        target: mean number of experts, from 1 up.
    """
    pooled = np.sort(recent, axis=None)[::-1]
    extra = round(len(recent) * (target - 1))
    if extra <= 0:
        return 1.0
    if extra >= len(pooled):
        return -1.0
    return float((pooled[extra - 1] + pooled[extra]) / 2)


def how_many(weights: Sequence[float], cap: int, top_p: float | None) -> int:
    """Return how many experts of these odds are taken: `cap`, or fewer once `top_p` of all weight is reached."""
    if cap <= 1 or top_p is None:
        return cap
    reached = needs(weights, cap) <= 1 - top_p + 1e-9
    return int(np.argmax(reached)) + 1 if reached.any() else cap


def worth_asking(need: float, share: float, cost_quality: float, cost_worth: float) -> bool:
    """Say whether a further expert is worth its share of the dearest cost; always where cost does not count."""
    return cost_quality * VOTE_GAIN * need >= (1 - cost_quality) * cost_worth * share


def stages_for(weights: Sequence[float]) -> tuple[int, ...]:
    """Return how a weighted vote is asked in stages: first as many as could settle it by agreeing, which is two of
    three equal ones and never fewer than two, then one at a time. Empty when no call can be saved. Weights come
    heaviest first.
    """
    total, held = sum(weights), 0.0
    for count, weight in enumerate(weights, start=1):
        held += weight
        if count > 1 and 2 * held > total * (1 + 1e-9):
            return (count, *(1 for _ in weights[count:])) if count < len(weights) else ()
    return ()
