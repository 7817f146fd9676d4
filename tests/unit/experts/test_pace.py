"""How fast experts lately answered."""

from __future__ import annotations

import pytest

from experts.pace import AnswerTimes, Pace


def test_an_expert_that_never_answered_has_no_times() -> None:
    assert None is Pace().of("math")


def test_the_first_answer_is_taken_as_it_is_and_later_ones_move_it_a_little() -> None:
    pace = Pace()

    pace.answered("math", 100.0, 1000.0)
    assert AnswerTimes(100.0, 1000.0) == pace.of("math")

    pace.answered("math", 200.0, 2000.0)
    assert AnswerTimes(110.0, 1100.0) == pace.of("math")


def test_a_change_of_pace_is_followed_within_a_few_dozen_answers() -> None:
    pace = Pace()
    for total in [1000.0] * 50 + [4000.0] * 30:
        pace.answered("math", total / 10, total)

    times = pace.of("math")
    assert times is not None
    assert 4000.0 == pytest.approx(times.total_ms, rel=0.05)
