"""Can an estimate be taken at its word? Calibration errors, proper scores, and what abstaining buys.

`estimates` and `outcomes` are arrays of one shape, flattened; outcomes are 0..1 (a graded score counts as a
probability of being right). nan outcomes do not count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.evaluation.runs import Floats

BINS = 15


def reliability(estimates: Floats, outcomes: Floats, bins: int = BINS) -> list[tuple[float, float, int]]:
    """Return (mean estimate, mean outcome, count) of each non-empty bin of equal width over 0..1."""
    p, y = _measured(estimates, outcomes)
    place = np.clip((p * bins).astype(np.int64), 0, bins - 1)
    return _binned(p, y, place, bins)


def expected_calibration_error(estimates: Floats, outcomes: Floats, bins: int = BINS) -> float:
    """Return ECE = sum over bins of |outcome - estimate| * share, equal widths (Guo et al. 2017, equation 3)."""
    return _weighted_gap(reliability(estimates, outcomes, bins))


def adaptive_calibration_error(estimates: Floats, outcomes: Floats, bins: int = BINS) -> float:
    """Return ECE over bins of equally many cases (Nixon et al. 2019): no bin is nearly empty."""
    p, y = _measured(estimates, outcomes)
    place = np.empty(len(p), dtype=np.int64)
    place[np.argsort(p, kind="stable")] = np.arange(len(p)) * bins // len(p)
    return _weighted_gap(_binned(p, y, place, bins))


def brier_score(estimates: Floats, outcomes: Floats) -> float:
    """Return the mean squared difference."""
    p, y = _measured(estimates, outcomes)
    return float(((p - y) ** 2).mean())


def negative_log_likelihood(estimates: Floats, outcomes: Floats, floor: float = 1e-6) -> float:
    """Return the mean cross-entropy in nats; estimates are kept `floor` away from 0 and 1."""
    p, y = _measured(estimates, outcomes)
    p = np.clip(p, floor, 1 - floor)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())


def risk_coverage(confidence: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """Return (coverage, risk), both (n,): keeping the most confident share, how often is it wrong?"""
    order = np.argsort(-confidence, kind="stable")
    kept = np.arange(1, len(order) + 1)
    return kept / len(order), np.cumsum(1 - quality[order]) / kept


def area_under_risk_coverage(confidence: Floats, quality: Floats) -> float:
    """Return AURC, the mean risk over all coverages (Geifman & El-Yaniv 2017); equal confidences count averaged."""
    _, inverse = np.unique(-confidence, return_inverse=True)
    mean = np.bincount(inverse, quality) / np.bincount(inverse)
    return float(risk_coverage(confidence, mean[inverse])[1].mean())


def _measured(estimates: Floats, outcomes: Floats) -> tuple[Floats, Floats]:
    p, y = np.ravel(estimates), np.ravel(outcomes)
    known = ~np.isnan(y)
    return p[known], y[known]


def _binned(p: Floats, y: Floats, place: NDArray[np.int64], bins: int) -> list[tuple[float, float, int]]:
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, p, minlength=bins), np.bincount(place, y, minlength=bins)
    return [
        (float(sums[0][b] / counts[b]), float(sums[1][b] / counts[b]), int(counts[b])) for b in np.flatnonzero(counts)
    ]


def _weighted_gap(bins: list[tuple[float, float, int]]) -> float:
    total = sum(count for *_, count in bins)
    return float(sum(abs(outcome - estimate) * count for estimate, outcome, count in bins) / total)
