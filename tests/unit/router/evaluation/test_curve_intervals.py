"""Intervals of a curve's figures."""

from __future__ import annotations

import numpy as np
import pytest

from router.evaluation.curve_intervals import CurveDraws
from router.evaluation.frontier import average_improvement_in_quality
from router.evaluation.intervals import Bootstrap
from router.evaluation.runs import Floats, Run

N = 800


def run(accuracy: float, cost: float, seed: int) -> Run:
    quality: Floats = (np.random.default_rng(seed).random(N) < accuracy).astype(float)
    return Run(quality, np.full(N, cost), np.ones(N), np.zeros(N, dtype=np.int64))


CHEAP, DEAR = run(0.5, 1.0, 0), run(0.7, 4.0, 1)
SINGLES = np.tile([1.0, 4.0], (N, 1))


def drawn(settings: list[Run]) -> CurveDraws:
    return CurveDraws.of(settings, DEAR, SINGLES, Bootstrap(np.arange(N), draws=300))


def test_the_interval_of_aiq_lies_around_the_figure_itself() -> None:
    low, high = drawn([CHEAP, DEAR]).aiq_interval()
    aiq = average_improvement_in_quality(np.array([1.0, 4.0]), np.array([CHEAP.accuracy, DEAR.accuracy]), 1.0, 4.0)
    assert low < aiq < high
    assert 0.02 < high - low < 0.08


def test_a_setting_that_is_the_best_expert_at_half_its_price_costs_half_in_every_draw() -> None:
    half = Run(DEAR.quality, DEAR.cost / 2, DEAR.experts, DEAR.first)
    assert drawn([CHEAP, half, DEAR]).ratio_interval() == pytest.approx((0.5, 0.5))


def test_a_curve_that_never_gets_there_has_no_ratio() -> None:
    assert drawn([CHEAP]).ratio_interval() == (np.inf, np.inf)


def test_the_lead_over_a_curve_is_paired() -> None:
    better = Run(np.minimum(CHEAP.quality + 0.1, 1.0), CHEAP.cost, CHEAP.experts, CHEAP.first)
    low, high = drawn([better]).lead_interval(drawn([CHEAP]))
    assert 0.03 < low < high < 0.07
    assert drawn([CHEAP]).lead_interval(drawn([CHEAP])) == (0.0, 0.0)
