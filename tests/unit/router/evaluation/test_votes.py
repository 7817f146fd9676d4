"""Votes against a plain loop: who wins, who is asked, what silence does, and that stopping early changes nothing."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from router.evaluation.votes import (
    ASK_ALL,
    SILENT,
    answering,
    code_answers,
    luck,
    majority,
    normalised,
    overlap,
    panel,
    two_then_third,
    vote_weights,
    weighted_vote,
)

COSTS = np.array([[1.0, 10.0, 100.0]])
IN_TURN = np.array([[0, 1, 2]])


def answers(*row: str | None) -> NDArray[np.int64]:
    return code_answers(np.array([row], dtype=object))


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("(B)", "(b)"),
        (" 12,000 ", "12000"),
        ("$5.", "5"),
        ("7.0", "7"),
        ("[1, 2]", "[1,2]"),
        ("1,2", "1,2"),
        ("['a b', 2]", "['a b',2]"),
    ],
)
def test_answers_are_compared_without_their_dress(written: str, compared: str) -> None:
    assert compared == normalised(written)


def test_equal_answers_get_equal_codes_and_none_gets_no_code() -> None:
    assert [[0, 1, 0, SILENT, SILENT]] == answers("A", "b", "a.", None, " ").tolist()


def test_two_that_agree_are_not_followed_by_a_third() -> None:
    run = two_then_third(np.array([[1.0, 1.0, 0.0]]), COSTS, answers("A", "A", "B"), IN_TURN)

    assert (1.0, 11.0, 2.0, 0) == (run.quality[0], run.cost[0], run.experts[0], run.first[0])


def test_two_that_disagree_are_settled_by_the_third() -> None:
    run = two_then_third(np.array([[0.0, 1.0, 1.0]]), COSTS, answers("A", "B", "B"), IN_TURN)

    assert (1.0, 111.0, 3.0) == (run.quality[0], run.cost[0], run.experts[0])


def test_three_different_answers_fall_to_the_first_asked() -> None:
    run = majority(np.array([[0.0, 1.0, 0.0]]), COSTS, answers("A", "B", "C"), np.array([[1, 0, 2]]))

    assert (1.0, 1) == (run.quality[0], run.first[0])


def test_a_silent_expert_does_not_vote_but_is_paid() -> None:
    run = two_then_third(np.array([[0.0, 1.0, 0.0]]), COSTS, answers(None, "B", "C"), IN_TURN)

    assert (1.0, 111.0) == (run.quality[0], run.cost[0])


def test_when_all_are_silent_the_first_asked_counts() -> None:
    run = majority(np.array([[0.0, 0.5, 1.0]]), COSTS, answers(None, None, None), np.array([[1, 2, 0]]))

    assert 0.5 == run.quality[0]


def test_one_heavy_vote_outweighs_two_light_ones() -> None:
    weights = np.array([[3.0, 1.0, 1.0]])
    run = weighted_vote(np.array([[1.0, 0.0, 0.0]]), COSTS, answers("A", "B", "B"), IN_TURN, weights)

    assert (1.0, 1.0) == (run.quality[0], run.experts[0])


def test_a_vote_weighs_more_the_surer_and_the_rarer_a_lucky_agreement() -> None:
    sure, unsure = vote_weights(np.array([[0.9, 0.3]]), 0.2)[0]

    assert pytest.approx([(np.log(9) + np.log(5)) ** 0.5, (np.log(0.3 / 0.7) + np.log(5)) ** 0.5]) == [sure, unsure]
    assert vote_weights(np.array([[0.5]]), 0.5)[0, 0] < vote_weights(np.array([[0.5]]), 0.1)[0, 0]


def test_case_and_spaces_count_inside_quotes() -> None:
    assert normalised("'Manolo'") != normalised("'MANolo'")
    assert normalised("'a b'") != normalised("'ab'")


def test_who_often_says_nothing_is_the_more_right_when_it_speaks() -> None:
    codes = code_answers(np.array([["a", None], ["a", None], ["a", "b"], ["a", "b"]], dtype=object))
    talker, silent = vote_weights(np.array([[0.4, 0.4]]), 0.2, answers=answering(codes))[0]

    assert [1.0, 0.5] == answering(codes).tolist()
    assert pytest.approx([(np.log(0.4 / 0.6) + np.log(5)) ** 0.5, (np.log(4) + np.log(5)) ** 0.5]) == [talker, silent]


def test_luck_is_the_share_of_wrong_pairs_that_agree() -> None:
    scores = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    codes = code_answers(np.array([["x", "x", "r"], ["x", "y", None]], dtype=object))

    assert (1 + 1) / (2 + 2) == luck(scores, codes)


def test_overlap_is_a_correlation_and_zero_for_those_who_never_fail() -> None:
    scores = np.array([[1, 1, 0, 1], [0, 0, 1, 1], [1, 1, 0, 1], [math.nan, 0, 0, 0]])

    expected = np.array([[1, 1, -1, 0], [1, 1, -1, 0], [-1, -1, 1, 0], [0, 0, 0, 0.0]])
    assert pytest.approx(expected) == overlap(scores)
    assert (overlap(scores * math.nan) == 0).all()


def test_a_panel_prefers_the_one_who_differs_from_the_first() -> None:
    estimates = np.array([[0.8, 0.75, 0.7]])
    alike = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.1], [0.1, 0.1, 1.0]])

    assert [[0, 1, 2]] == panel(estimates, 3).tolist()
    assert [[0, 2, 1]] == panel(estimates, 3, alike, diversity=0.1).tolist()
    assert [[0, 1]] == panel(estimates, 2, alike, diversity=0.01).tolist()


def by_hand(
    scores: NDArray[np.float64],
    codes: NDArray[np.int64],
    estimates: NDArray[np.float64],
    w: NDArray[np.float64],
    k: int,
) -> float:
    """One question, everybody asked, counted slowly."""
    asked = sorted(range(len(scores)), key=lambda column: -estimates[column])[:k]
    tally: dict[int, float] = defaultdict(float)
    first: dict[int, int] = {}
    for column in asked:
        if codes[column] != SILENT:
            tally[int(codes[column])] += w[column]
            first.setdefault(int(codes[column]), column)
    if not tally:
        return float(scores[asked[0]])
    top = max(tally.values())
    winner = next(code for code in first if tally[code] >= top - 1e-9)
    return float(scores[first[winner]])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 5))
def test_stopping_early_answers_what_all_would_have_answered(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 2, (20, 5)).astype(float)
    codes = code_answers(np.where(scores > 0, "0", rng.integers(1, 4, scores.shape).astype(str)).astype(object))
    codes[rng.random(codes.shape) < 0.2] = SILENT
    estimates, weights = rng.random(scores.shape), rng.integers(1, 4, scores.shape).astype(float)

    order = panel(estimates, k)

    early = weighted_vote(scores, scores, codes, order, weights)
    everyone = weighted_vote(scores, scores, codes, order, weights, patience=ASK_ALL)

    expected = [by_hand(*row, k) for row in zip(scores, codes, estimates, weights, strict=True)]
    assert expected == early.quality.tolist() == everyone.quality.tolist()
    assert (early.experts <= everyone.experts).all()
    assert k == everyone.mean_experts
