"""How much routing gained, relative to what could be gained (LLMRouterBench 2601.07206, RouteLLM 2406.18665).

All accuracies are fractions. Where a formula would divide by nothing (there is no gap to close) the answer is None.
"""

from __future__ import annotations

import numpy as np

from router.evaluation.runs import Floats, Indices


def relative_gain(accuracy: float, reference: float) -> float | None:
    """Return Gain@R or Gain@B: (A - reference) / reference, the reference random or the best single expert."""
    return (accuracy - reference) / reference if reference else None


def oracle_gap(accuracy: float, oracle: float) -> float | None:
    """Return Gap@O: (oracle - A) / A."""
    return (oracle - accuracy) / accuracy if accuracy else None


def gap_closed(accuracy: float, floor: float, ceiling: float) -> float | None:
    """Return the share of the way from the best single expert (`floor`) to a ceiling (true category, oracle)."""
    return (accuracy - floor) / (ceiling - floor) if ceiling > floor else None


def strong_share_curve(preference: Floats, weak: Floats, strong: Floats) -> tuple[Floats, Floats]:
    """Return (share of calls to the strong expert, accuracy), both (n + 1,), as the threshold on `preference` falls.

    The questions with the highest preference for the strong expert go to it first; equal preferences in order.
    """
    order = np.argsort(-preference, kind="stable")
    gained = np.concatenate([[0.0], np.cumsum((strong - weak)[order])])
    n = len(preference)
    return np.arange(n + 1) / n, weak.mean() + gained / n


def average_pgr(preference: Floats, weak: Floats, strong: Floats) -> float | None:
    """Return APGR: the area under accuracy over the share of strong calls, as PGR = (A - weak) / (strong - weak).

    Random gives 0.5.
    """
    shares, accuracy = strong_share_curve(preference, weak, strong)
    return gap_closed(float(np.trapezoid(accuracy, shares)), float(weak.mean()), float(strong.mean()))


def call_performance_threshold(preference: Floats, weak: Floats, strong: Floats, recovered: float) -> float | None:
    """Return CPT(x): the least share of strong calls whose PGR reaches `recovered` (0.5 for CPT50), or None."""
    if strong.mean() <= weak.mean():
        return None
    shares, accuracy = strong_share_curve(preference, weak, strong)
    reached = (accuracy - weak.mean()) / (strong.mean() - weak.mean()) >= recovered - 1e-12
    return float(shares[reached.argmax()]) if reached.any() else None


def load_entropy(first: Indices, experts: int) -> float:
    """Return how evenly the experts are used: the entropy of their shares over log(experts), 1 when equally."""
    if experts < 2:
        return 1.0
    shares = np.bincount(first[first >= 0], minlength=experts) / max(1, (first >= 0).sum())
    used = shares[shares > 0]
    return float(-(used * np.log(used)).sum() / np.log(experts)) + 0.0


def error_correlation(scores: Floats) -> tuple[float, float]:
    """Return (mean, largest) correlation between two experts' being right, over all pairs of columns.

    Experts that are always or never right have none and are left out; (nan, nan) where no pair is left.
    """
    varied = scores[:, scores.std(axis=0) > 0]
    if varied.shape[1] < 2:
        return float("nan"), float("nan")
    pairs = np.asarray(np.corrcoef(varied.T))[np.triu_indices(varied.shape[1], 1)]
    return float(pairs.mean()), float(pairs.max())


def vote_efficiency(vote: float, top1: float, any_right: float) -> float | None:
    """Return (vote - top1) / (any of the voters right - top1): what share of the help on hand the vote found."""
    return gap_closed(vote, top1, any_right)
