"""RouterArena's figures (2510.00202): one score for accuracy and price, and how near the choices are to optimal."""

from __future__ import annotations

import numpy as np

from router.evaluation.baselines import oracle
from router.evaluation.runs import Floats, Run

BETA = 0.1
DEAREST, CHEAPEST = 200.0, 0.0044
"""USD per 1,000 queries that count as cost score 0 and 1."""


def arena_score(accuracy: float, cost_per_1k: float, beta: float = BETA) -> float:
    """Return (1 + beta) * A * C / (beta * A + C), C the log-scaled cheapness in 0..1."""
    cost = min(max(cost_per_1k, CHEAPEST), DEAREST)
    cheapness = float((np.log2(DEAREST) - np.log2(cost)) / (np.log2(DEAREST) - np.log2(CHEAPEST)))
    below = beta * accuracy + cheapness
    return (1 + beta) * accuracy * cheapness / below if below else 0.0


def optimal_selection(run: Run, scores: Floats, costs: Floats) -> float:
    """Return Opt.Sel: the share of questions that some expert can answer where the cheapest right one was asked."""
    best = oracle(scores, costs)
    answerable = best.quality > 0
    return float((run.first == best.first)[answerable].mean()) if answerable.any() else 0.0


def optimal_cost(run: Run, scores: Floats, costs: Floats) -> float | None:
    """Return Opt.Cost: the oracle's cost over the run's, on the questions that the run answered rightly."""
    answered = run.quality >= 0.5
    paid = float(run.cost[answered].sum())
    return float(oracle(scores, costs).cost[answered].sum() / paid) if paid > 0 else None


def optimal_accuracy(run: Run, scores: Floats) -> float | None:
    """Return Opt.Acc: the run's accuracy over the oracle's."""
    reachable = float(scores.max(axis=1).mean())
    return run.accuracy / reachable if reachable else None
