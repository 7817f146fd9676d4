"""The pool of experts that is worth most within a budget."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from router.policies.budget import best_pool, shares, worth

SKILL = np.array([[0.9, 0.2, 0.6], [0.1, 0.8, 0.6]])
SHARE = np.array([0.5, 0.5])
SIZES = np.array([7.0, 7.0, 20.0])


def test_two_specialists_beat_the_generalist_within_the_same_budget() -> None:
    found = best_pool(SKILL, SHARE, SIZES, 20.0)
    assert (found.columns, found.size, found.exact) == ((0, 1), 14.0, True)
    assert found.worth == pytest.approx(0.85)


def test_a_tight_budget_leaves_one() -> None:
    assert best_pool(SKILL, SHARE, SIZES, 7.0).columns == (0,)


def test_an_expert_that_adds_nothing_is_left_out() -> None:
    assert best_pool(SKILL, SHARE, SIZES, 100.0).columns == (0, 1)


def test_nobody_fits() -> None:
    with pytest.raises(ValueError, match="no expert fits a budget of 3; the smallest takes 7"):
        best_pool(SKILL, SHARE, SIZES, 3.0)


def test_shares_are_of_the_questions() -> None:
    assert shares(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])).tolist() == [0.75, 0.25]


@pytest.mark.parametrize("seed", range(20))
def test_a_dozen_experts_are_chosen_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    skill, share, sizes = rng.random((5, 8)), rng.dirichlet(np.ones(5)), rng.integers(3, 70, 8).astype(float)
    tried = [
        worth(skill, share, pool)
        for count in range(1, 9)
        for pool in combinations(range(8), count)
        if sizes[list(pool)].sum() <= 90
    ]
    assert best_pool(skill, share, sizes, 90.0).worth == pytest.approx(max(tried))


@pytest.mark.parametrize("seed", range(10))
def test_more_than_a_dozen_come_close_and_keep_within_the_budget(seed: int) -> None:
    rng = np.random.default_rng(seed)
    skill, share, sizes = rng.random((6, 14)), rng.dirichlet(np.ones(6)), rng.integers(3, 70, 14).astype(float)
    tried = [
        worth(skill, share, pool)
        for count in range(1, 6)
        for pool in combinations(range(14), count)
        if sizes[list(pool)].sum() <= 90
    ]
    found = best_pool(skill, share, sizes, 90.0)
    assert found.size <= 90
    assert not found.exact
    assert found.worth >= 0.95 * max(tried)
