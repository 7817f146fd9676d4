"""Intervals and tests against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from router.evaluation.intervals import Bootstrap, holm, mcnemar, percentile_interval


def test_the_bootstrap_of_a_mean_has_its_standard_error() -> None:
    values = np.random.default_rng(0).random(500)

    draws = Bootstrap(np.arange(500), draws=4000).means(values)

    assert pytest.approx(values.mean(), abs=0.002) == draws.mean()
    assert pytest.approx(values.std() / math.sqrt(500), rel=0.05) == draws.std()


def test_twins_of_a_question_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(0).random(100)
    once = Bootstrap(np.arange(100)).interval(values)

    twice = Bootstrap(np.repeat(np.arange(100), 4)).interval(np.repeat(values, 4))

    assert once == pytest.approx(twice)


def test_draws_are_paired_between_figures() -> None:
    values = np.random.default_rng(0).random((50, 2))
    bootstrap = Bootstrap(np.arange(50))

    apart = bootstrap.means(values[:, 0]) - bootstrap.means(values[:, 1])

    assert bootstrap.means(values[:, 0] - values[:, 1]) == pytest.approx(apart, abs=1e-6)
    assert bootstrap.means(values)[:, 1] == pytest.approx(bootstrap.means(values[:, 1]), abs=1e-6)


def test_an_interval_keeps_the_middle() -> None:
    assert pytest.approx((2.5, 97.5)) == percentile_interval(np.linspace(0, 100, 1001))


def test_mcnemar_is_a_binomial_of_the_discordant_questions() -> None:
    first, second = np.array([1, 1, 1, 1, 1, 0, 1, 0.0]), np.array([0, 0, 0, 0, 0, 1, 1, 0.0])

    assert pytest.approx(2 * (1 + 6) / 2**6) == mcnemar(first, second)
    assert 1.0 == mcnemar(first, first)


def test_mcnemar_of_many_agrees_with_the_binomial() -> None:
    wins, losses = 560, 470
    first = np.concatenate([np.ones(wins), np.zeros(losses)])
    exact = 2 * sum(math.comb(wins + losses, place) for place in range(losses + 1)) / 2 ** (wins + losses)

    assert pytest.approx(exact, rel=0.02) == mcnemar(first, 1 - first)


def test_holm_multiplies_the_smallest_most_and_never_falls() -> None:
    assert pytest.approx([0.03, 0.06, 0.06]) == holm([0.01, 0.04, 0.03])
