"""How many experts: top-p, a mean number over time, stages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policies.selection import how_many, needs, stages_for, threshold_for


def test_need_is_the_weight_that_nobody_asked_holds() -> None:
    assert [0.5, 0.2] == needs([5.0, 3.0, 2.0], 3).round(9).tolist()


@pytest.mark.parametrize(("top_p", "count"), [(None, 3), (0.4, 1), (0.5, 1), (0.6, 2), (0.8, 2), (0.81, 3), (1.0, 3)])
def test_top_p_takes_experts_until_their_weight_is_reached(top_p: float | None, count: int) -> None:
    assert count == how_many([5.0, 3.0, 2.0], 3, top_p)


def test_a_cap_limits_top_p() -> None:
    assert 2 == how_many([1.0, 1.0, 1.0, 1.0], 2, 0.9)


@pytest.mark.parametrize(
    ("weights", "stages"),
    [
        ([1.0], ()),
        ([0.5, 0.5], ()),
        ([0.6, 0.4], ()),
        ([1 / 3] * 3, (2, 1)),
        ([0.5, 0.3, 0.2], (2, 1)),
        ([0.6, 0.2, 0.2], (2, 1)),
        ([0.2] * 5, (3, 1, 1)),
        ([0.3, 0.25, 0.2, 0.15, 0.1], (2, 1, 1, 1)),
    ],
)
def test_a_vote_asks_first_whoever_could_settle_it_by_agreeing(weights: list[float], stages: tuple[int, ...]) -> None:
    assert stages == stages_for(weights)


def queries(seed: int, count: int) -> list[list[float]]:
    """Return odds of five experts, sorted, from sure queries (one expert holds nearly all) to unsure ones."""
    draw = np.random.default_rng(seed)
    sharpness = draw.gamma(1.5, 2.0, size=count)
    odds = np.exp(sharpness[:, None] * draw.normal(size=(count, 5)))
    return [sorted(row, reverse=True) for row in odds.tolist()]


@pytest.mark.parametrize("target", [1.0, 1.3, 1.76, 2.0, 2.6, 3.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mean_number_comes_out_as_asked_on_queries_never_seen(target: float, seed: int) -> None:
    recent = np.array([needs(odds, 5) for odds in queries(seed, 4000)])
    top_p = 1 - threshold_for(recent, target)

    taken = [how_many(odds, 5, top_p) for odds in queries(seed + 100, 4000)]

    assert target == pytest.approx(np.mean(taken), abs=0.05)


@given(seed=st.integers(0, 50))
def test_less_certain_queries_get_no_fewer_experts(seed: int) -> None:
    rows = queries(seed, 300)
    top_p = 1 - threshold_for(np.array([needs(odds, 5) for odds in rows]), 2.0)
    held = [odds[0] / sum(odds) for odds in rows]
    taken = np.array([how_many(odds, 5, top_p) for odds in rows])

    assert taken[np.array(held) >= np.median(held)].mean() <= taken[np.array(held) < np.median(held)].mean()
