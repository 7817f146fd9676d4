"""Trace what a router costs and what it reaches: for every price of money, ask the expert of highest utility.

Utility is estimate - lambda * expected cost / dearest mean cost (Avengers-Pro 2508.12631, RouterBench 2403.12031).
The true cost of a call is not known before it is made: choices see the expected cost, the run is charged the true one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.evaluation.runs import Floats, Run, single_choice

LAMBDAS: Floats = np.concatenate([[0.0], np.logspace(-3, 2, 61)])
"""What a question's share of the dearest expert's cost is worth in quality: 0 is quality alone."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """What a call to each expert is expected to cost: intercept + slope * length of the text, fitted on training calls.

    `intercept`, `slope`, `floor` and `mean` are (m,), USD; `floor` is the cheapest call seen.
    """

    intercept: Floats
    slope: Floats
    floor: Floats
    mean: Floats

    @classmethod
    def fit(cls, lengths: Floats, costs: Floats) -> CostModel:
        """Fit a line an expert by least squares; `lengths` (n,) characters, `costs` (n, m) USD."""
        centred = lengths - lengths.mean()
        spread = float((centred**2).sum())
        slope = np.maximum(centred @ (costs - costs.mean(axis=0)) / spread if spread else costs[0] * 0.0, 0.0)
        mean = costs.mean(axis=0)
        return cls(mean - slope * lengths.mean(), slope, costs.min(axis=0), mean)

    def expected(self, lengths: Floats) -> Floats:
        """Return USD (n, m) for texts of these lengths."""
        found: Floats = np.maximum(self.intercept + lengths[:, None] * self.slope, self.floor)
        return found


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean (cost, quality) of a router at each lambda, all (k,); cost is USD a question."""

    lambdas: Floats
    costs: Floats
    qualities: Floats


def run_at(estimates: Floats, expected: Floats, scores: Floats, costs: Floats, price: float, unit: float) -> Run:
    """Return the run of the highest `estimate - price * expected / unit`; all arrays (n, m)."""
    return single_choice(scores, costs, (estimates - price * expected / unit).argmax(axis=1))


def trace_runs(estimates: Floats, expected: Floats, scores: Floats, costs: Floats, unit: float) -> list[Run]:
    """Return the runs at each of LAMBDAS; `unit` is the mean training cost of the dearest expert."""
    return [run_at(estimates, expected, scores, costs, float(price), unit) for price in LAMBDAS]


def trace(estimates: Floats, expected: Floats, scores: Floats, costs: Floats, unit: float) -> Curve:
    """Return the curve over LAMBDAS of choosing by utility."""
    runs = trace_runs(estimates, expected, scores, costs, unit)
    spent = np.array([run.cost.mean() for run in runs])
    return Curve(LAMBDAS, spent, np.array([run.accuracy for run in runs]))
