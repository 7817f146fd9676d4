"""Two arms compared: intervals that hold what they promise, and no difference called where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from router.learning import ArmSums, Moments, ShadowSums, TrialSums, difference, in_share, verdict


def moments(values: np.ndarray) -> Moments:
    return Moments(len(values), float(values.sum()), float((values**2).sum()))


def test_moments_of_parts_add_up_to_those_of_the_whole() -> None:
    values = np.random.default_rng(0).random(100)

    whole, parts = moments(values), moments(values[:30]) + moments(values[30:])

    assert whole.mean == pytest.approx(values.mean())
    assert whole.error == pytest.approx(values.std(ddof=1) / 10)
    assert parts.mean == pytest.approx(whole.mean)
    assert parts.error == pytest.approx(whole.error)


def test_a_number_taken_out_again_leaves_nothing() -> None:
    before = moments(np.array([0.2, 0.4]))

    assert before.with_value(0.9).with_value(0.9, -1).mean == pytest.approx(before.mean)
    assert before is before.with_value(None)


def test_nothing_has_no_mean_and_one_number_no_interval() -> None:
    assert None is Moments().mean
    assert None is Moments().with_value(0.5).interval


def test_intervals_of_equal_arms_leave_zero_out_in_about_one_of_twenty() -> None:
    chance = np.random.default_rng(1)
    called = 0
    for _ in range(1000):
        found = difference(moments((chance.random(60) < 0.7) * 1.0), moments((chance.random(40) < 0.7) * 1.0))
        called += found is not None and found.significant

    assert 30 <= called <= 80


def test_a_real_difference_is_called_and_named() -> None:
    chance = np.random.default_rng(2)
    a, b = moments((chance.random(400) < 0.6) * 1.0), moments((chance.random(400) < 0.8) * 1.0)

    assert verdict(a, b).startswith("arm b is better (b minus a +0.")
    assert verdict(b, a).startswith("arm a is better")


def test_no_difference_is_said_to_be_none() -> None:
    same = moments(np.tile([0.0, 1.0], 50))

    assert verdict(same, same).startswith("the difference is not significant")


def test_too_few_answers_are_said_to_be_too_few_however_clear_they_look() -> None:
    assert "too little feedback to compare: 10 in the smaller arm, at least 30 are needed" == verdict(
        moments(np.array([0.0, 0.1] * 5)), moments(np.array([1.0, 0.9] * 50))
    )


def test_sums_of_two_processes_add_up_by_arm() -> None:
    one = TrialSums({"a": ArmSums(2, experts={"x": 2})}, ShadowSums(1, 1))
    two = TrialSums({"a": ArmSums(1, experts={"x": 1}), "b": ArmSums(5, experts={"y": 5})}, ShadowSums(3, 1))

    both = one + two

    assert (3, {"x": 3}, 5, 4, 2) == (
        both.arms["a"].requests,
        both.arms["a"].experts,
        both.arms["b"].requests,
        both.shadow.requests,
        both.shadow.agreed,
    )


def test_a_share_of_conversations_is_about_that_share_and_sticks() -> None:
    names = [f"conversation {number}" for number in range(4000)]
    inside = {name for name in names if in_share(name, 0.1, "split")}

    assert 0.08 < len(inside) / len(names) < 0.12
    assert inside <= {name for name in names if in_share(name, 0.2, "split")}
    assert (set(), set(names)) == (
        {name for name in names if in_share(name, 0.0, "split")},
        {name for name in names if in_share(name, 1.0, "split")},
    )


def test_another_salt_draws_independently() -> None:
    names = [f"conversation {number}" for number in range(4000)]
    both = sum(in_share(name, 0.5, "split") and in_share(name, 0.5, "shadow") for name in names)

    assert 0.22 < both / len(names) < 0.28
