"""Hulls and areas whose values one can work out on paper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.evaluation.frontier import (
    average_improvement_in_quality,
    convex_hull,
    cost_for_quality,
    height,
    hypervolume,
    quality_neutral_cost,
    undominated,
)

COSTS, QUALITIES = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.2, 0.3, 0.6, 0.5])


def test_the_hull_leaves_out_what_a_mixture_beats() -> None:
    x, y = convex_hull(COSTS, QUALITIES)

    assert [1.0, 3.0] == x.tolist()
    assert [0.2, 0.6] == y.tolist()


def test_aiq_is_the_mean_height_over_the_range() -> None:
    assert pytest.approx((2 * 0.4 + 1 * 0.6) / 3) == average_improvement_in_quality(COSTS, QUALITIES, 1.0, 4.0)


def test_aiq_of_one_point_is_its_quality() -> None:
    assert 0.7 == pytest.approx(average_improvement_in_quality(np.array([2.0]), np.array([0.7]), 1.0, 4.0))
    assert 0.7 == average_improvement_in_quality(np.array([2.0]), np.array([0.7]), 2.0, 2.0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0, 1)), min_size=2, max_size=12))
def test_the_hull_is_the_best_mixture_of_two_points(points: list[tuple[float, float]]) -> None:
    costs, qualities = np.array(points).T
    for at in np.linspace(costs.min(), costs.max(), 7):
        mixtures = [
            qa + (qb - qa) * (at - ca) / (cb - ca) if cb > ca else max(qa, qb)
            for ca, qa in points
            for cb, qb in points
            if ca <= at <= cb
        ]
        best = max(max(mixtures), qualities[costs <= at].max())
        assert best == pytest.approx(height(costs, qualities, np.array([at]))[0], abs=1e-6)


def test_undominated_points_are_cheaper_or_better_than_every_other() -> None:
    assert [True, True, True, False] == undominated(COSTS, QUALITIES).tolist()
    assert [True, True] == undominated(np.array([1.0, 1.0]), np.array([0.5, 0.5])).tolist()


def test_hypervolume_adds_up_steps() -> None:
    found = hypervolume(np.array([1.0, 2.0, 9.0]), np.array([0.5, 0.7, 0.9]), 4.0, 0.3)

    assert pytest.approx(0.25 * 0.2 + 0.5 * 0.4) == found
    assert 0.0 == hypervolume(COSTS, QUALITIES, 0.5, 0.3)


def test_the_best_experts_quality_has_a_price_on_the_hull() -> None:
    assert pytest.approx(2.0) == cost_for_quality(COSTS, QUALITIES, 0.4)
    assert pytest.approx(0.5) == quality_neutral_cost(COSTS, QUALITIES, 0.4, 4.0)
    assert quality_neutral_cost(COSTS, QUALITIES, 0.9, 4.0) is None
