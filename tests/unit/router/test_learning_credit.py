"""Which expert a score is about, by how the answer came about."""

from __future__ import annotations

import pytest

from router.learning import Authorship, Credit, credits


def test_a_single_answer_is_its_experts() -> None:
    assert {"math": Credit(0.3, 1.0)} == credits(0.3, Authorship("math"))


def test_a_fused_answer_is_credited_by_weight_and_the_fuser_gets_nothing() -> None:
    found = credits(0.8, Authorship("fuser", weights={"math": 0.6, "law": 0.3}))

    assert {"math", "law"} == set(found)
    assert found["math"] == pytest.approx((0.8, 2 / 3))
    assert found["law"] == pytest.approx((0.8, 1 / 3))


VOTE = Authorship(
    "a", weights={"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}, finals={"a": "42", "b": "42", "c": "41", "d": None}
)


def test_a_right_vote_makes_those_who_agreed_right_and_those_who_did_not_wrong() -> None:
    assert {"a": Credit(1.0, 1.0), "b": Credit(1.0, 1.0), "c": Credit(0.0, 1.0)} == credits(1.0, VOTE)


def test_a_wrong_vote_says_nothing_about_those_who_disagreed() -> None:
    assert {"a": Credit(0.0, 1.0), "b": Credit(0.0, 1.0)} == credits(0.0, VOTE)


def test_a_doubtful_vote_makes_those_who_disagreed_a_little_wrong() -> None:
    assert credits(0.6, VOTE)["c"] == pytest.approx((0.0, 0.2))


def test_everybody_who_had_a_part_is_an_author() -> None:
    assert {"fuser", "math"} == Authorship("fuser", weights={"math": 1.0}).experts
