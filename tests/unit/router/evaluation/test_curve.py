"""Costs that are guessed before a call and charged after it."""

from __future__ import annotations

import numpy as np
import pytest

from router.evaluation.curve import LAMBDAS, CostModel, run_at, trace


def test_expected_cost_follows_length_by_expert() -> None:
    lengths = np.array([100.0, 200.0, 300.0])
    costs = np.stack([lengths * 2 + 10, np.full(3, 7.0)], axis=1)

    model = CostModel.fit(lengths, costs)

    assert pytest.approx(np.array([[810.0, 7.0]])) == model.expected(np.array([400.0]))
    assert pytest.approx(np.array([[210.0, 7.0]])) == model.expected(np.array([1.0])), "never under the cheapest seen"


def test_expected_cost_of_equally_long_texts_is_the_mean() -> None:
    model = CostModel.fit(np.full(2, 5.0), np.array([[1.0], [3.0]]))

    assert [[2.0]] == model.expected(np.array([9.0])).tolist()


def test_choices_see_the_expected_cost_and_pay_the_true_one() -> None:
    run = run_at(
        np.array([[0.9, 0.8]]), np.array([[4.0, 1.0]]), np.array([[1.0, 0.0]]), np.array([[40.0, 9.0]]), 1.0, 4.0
    )

    assert (1, 9.0) == (run.first[0], run.cost[0])


def test_a_curve_goes_from_quality_alone_to_the_cheapest() -> None:
    estimates = np.array([[0.9, 0.5], [0.4, 0.5]])
    costs = np.array([[10.0, 1.0], [10.0, 1.0]])

    curve = trace(estimates, costs, np.array([[1.0, 0.0], [0.0, 1.0]]), costs, 10.0)

    assert len(LAMBDAS) == len(curve.costs)
    assert (5.5, 1.0) == (curve.costs[0], curve.qualities[0])
    assert (1.0, 0.5) == (curve.costs[-1], curve.qualities[-1])
