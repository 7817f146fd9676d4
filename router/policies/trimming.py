"""Give up experts that a batch hardly needs: waking a model for a handful of queries costs more than it brings.

Symbolic-MoE (2503.05641, section 3.2): experts recruited by under 5 % of the queries are removed. Their places
go to the next best of each query that stay. Pure: a batch's planner calls it before anything is loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from experts.types import ExpertName

LEAST_SHARE = 0.05
LEAST_EXPERTS = 2


def trimmed(
    rankings: Sequence[Sequence[ExpertName]],
    counts: Sequence[int],
    *,
    share: float = LEAST_SHARE,
    least: int = LEAST_EXPERTS,
) -> list[tuple[ExpertName, ...]]:
    """Return who answers each query when rarely recruited experts are left out.

    Args:
        rankings: each query's candidates, best first.
        counts: how many of them each query recruits, at least one.
        share: experts recruited by fewer than this share of the queries go.
        least: experts that stay in any case, the most recruited ones; more only go where more are recruited.
    """
    staying = frequent(rankings, counts, share=share, least=least)
    return [_refilled(ranking, count, staying) for ranking, count in zip(rankings, counts, strict=True)]


def frequent(
    rankings: Sequence[Sequence[ExpertName]], counts: Sequence[int], *, share: float, least: int
) -> frozenset[ExpertName]:
    """Return the experts that stay: recruited often enough, and never fewer than `least`."""
    recruited = Counter(
        name for ranking, count in zip(rankings, counts, strict=True) for name in dict.fromkeys(ranking[:count])
    )
    enough = {name for name, times in recruited.items() if times >= share * len(rankings)}
    return frozenset(enough | {name for name, _ in recruited.most_common(least)})


def _refilled(ranking: Sequence[ExpertName], count: int, staying: frozenset[ExpertName]) -> tuple[ExpertName, ...]:
    """Return the best `count` that stay; a query none of whose candidates stays keeps its first."""
    kept = tuple(name for name in ranking if name in staying)[:count]
    return kept or tuple(ranking[:1])
