"""Gains, calibration, baselines and RouterArena's score, each against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from router.evaluation import arena, calibration, gains
from router.evaluation.baselines import (
    CategoryTable,
    any_of,
    best_single,
    low_coverage_recall,
    oracle,
    random_run,
)
from router.evaluation.runs import best_by, single_choice

SCORES = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0.0]])
COSTS = np.array([[3.0, 2.0, 1.0]]).repeat(4, axis=0)


def test_random_is_the_mean_of_all_and_the_oracle_the_cheapest_right_one() -> None:
    assert pytest.approx(4 / 12) == random_run(SCORES, COSTS).accuracy
    assert (0.75, [0, 1, 2, 2]) == (oracle(SCORES, COSTS).accuracy, oracle(SCORES, COSTS).first.tolist())
    assert pytest.approx((3 + 2 + 1 + 1) / 4 * 1000) == oracle(SCORES, COSTS).cost_per_1k


def test_the_best_single_expert_is_the_cheaper_of_equals() -> None:
    assert 0 == best_single(SCORES, COSTS)
    assert 2 == best_single(np.array([[1.0, 0.0, 1.0]]), COSTS[:1])
    assert 1 == best_single(np.array([[0.0, 1.0], [math.nan, 0.0]]))


def test_ties_of_estimates_go_to_the_cheaper_expert() -> None:
    assert [2] == best_by(np.array([[0.5, 0.4, 0.5]]), COSTS[:1]).tolist()
    assert [0] == best_by(np.array([[0.5, 0.4, 0.5]]), COSTS[:1] * math.nan).tolist()


def test_a_category_table_shrinks_toward_each_experts_mean() -> None:
    table = CategoryTable.fit(SCORES, np.array(["m", "m", "l", ""]), shrinkage=2.0)

    assert ("l", "m") == table.names
    assert pytest.approx((2 + 2 * 0.5) / (2 + 2)) == table.rows[1, 0]
    assert [0.5, 0.25, 0.25] == table.estimates(np.array(["unheard of"]))[0].tolist()


def test_any_of_k_counts_the_best_of_the_k_asked() -> None:
    estimates = np.array([[0.3, 0.2, 0.1]]).repeat(4, axis=0)

    assert (0.5, 0.75) == (any_of(SCORES, estimates, 2), any_of(SCORES, estimates, 3))


def test_low_coverage_recall_looks_only_where_few_are_right() -> None:
    run = single_choice(SCORES, COSTS, np.array([0, 2, 2, 0]))

    assert 1.0 == low_coverage_recall(run, SCORES, most=1)
    assert pytest.approx(2 / 3) == low_coverage_recall(run, SCORES)
    assert low_coverage_recall(run, SCORES * 0) is None


def test_gains_are_shares_of_what_they_name() -> None:
    assert pytest.approx(0.2) == gains.relative_gain(0.6, 0.5)
    assert pytest.approx(0.5) == gains.oracle_gap(0.6, 0.9)
    assert pytest.approx(0.25) == gains.gap_closed(0.6, 0.5, 0.9)
    assert gains.gap_closed(0.6, 0.5, 0.5) is None
    assert pytest.approx(0.5) == gains.vote_efficiency(0.7, 0.6, 0.8)


def test_apgr_is_half_for_a_coin_and_more_for_one_who_knows() -> None:
    weak, strong = np.array([1, 0, 0, 1.0]), np.array([1, 1, 1, 0.0])
    knows = np.array([0, 1, 1, -1.0])

    # By hand: shares 0, 1/4, .. give accuracy 2/4, 3/4, 4/4, 4/4, 3/4; the trapezoid is 0.84375.
    assert pytest.approx((0.84375 - 0.5) / 0.25) == gains.average_pgr(knows, weak, strong)
    assert pytest.approx(0.25) == gains.call_performance_threshold(knows, weak, strong, 1.0)
    rng = np.random.default_rng(0)
    many = rng.random((2, 20_000)) < [[0.4], [0.7]]
    coin = gains.average_pgr(rng.random(20_000), many[0].astype(float), many[1].astype(float))
    assert pytest.approx(0.5, abs=0.03) == coin
    assert gains.average_pgr(knows, strong, strong) is None


def test_load_entropy_is_one_when_all_are_used_alike() -> None:
    assert pytest.approx(1.0) == gains.load_entropy(np.array([0, 1, 2, 0, 1, 2]), 3)
    assert 0.0 == gains.load_entropy(np.array([1, 1]), 3)


def test_error_correlation_leaves_out_experts_that_never_vary() -> None:
    scores = np.array([[1, 1, 0, 1], [0, 0, 1, 1], [1, 1, 0, 1.0]])

    assert pytest.approx((-1 / 3, 1.0)) == gains.error_correlation(scores)
    assert math.isnan(gains.error_correlation(scores[:, 3:])[0])


def test_calibration_errors_weigh_bins_by_their_share() -> None:
    estimates, outcomes = np.array([0.9, 0.9, 0.1, 0.1]), np.array([1, 0, 0, 0.0])

    assert pytest.approx(0.5 * 0.4 + 0.5 * 0.1) == calibration.expected_calibration_error(estimates, outcomes)
    assert pytest.approx((0.1 + 0.9 + 0.1 + 0.1) / 4) == calibration.adaptive_calibration_error(estimates, outcomes)
    assert pytest.approx((0.01 + 0.81 + 0.01 + 0.01) / 4) == calibration.brier_score(estimates, outcomes)
    expected = -(math.log(0.9) + math.log(0.1) + 2 * math.log(0.9)) / 4
    assert pytest.approx(expected) == calibration.negative_log_likelihood(estimates, outcomes)


def test_unmeasured_outcomes_do_not_count_in_calibration() -> None:
    assert 0.0 == calibration.expected_calibration_error(np.array([1.0, 0.2]), np.array([1.0, math.nan]))


def test_aurc_falls_when_confidence_knows() -> None:
    quality = np.array([1, 1, 0, 0.0])

    assert pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4) == calibration.area_under_risk_coverage(
        np.array([0.9, 0.8, 0.3, 0.1]), quality
    )
    assert pytest.approx(0.5) == calibration.area_under_risk_coverage(np.ones(4), quality)


def test_arena_score_at_its_ends_and_between() -> None:
    assert pytest.approx(1.0) == arena.arena_score(1.0, 0.0044)
    assert 0.0 == arena.arena_score(1.0, 200.0)
    cheap = (math.log2(200) - math.log2(1.0)) / (math.log2(200) - math.log2(0.0044))
    assert pytest.approx(1.1 * 0.7 * cheap / (0.07 + cheap)) == arena.arena_score(0.7, 1.0)


def test_arena_optimality_compares_with_the_cheapest_right_expert() -> None:
    run = single_choice(SCORES, COSTS, np.array([0, 0, 2, 2]))

    assert pytest.approx(2 / 3) == arena.optimal_selection(run, SCORES, COSTS)
    assert pytest.approx((3 + 2 + 1) / (3 + 3 + 1)) == arena.optimal_cost(run, SCORES, COSTS)
    assert pytest.approx(1.0) == arena.optimal_accuracy(run, SCORES)
