"""What votes weigh, who leads, and that stopping early never changes the winner, negative weights included."""

from __future__ import annotations

from itertools import product
from math import isclose, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.ballots import LEVEL, Ballot, leads, log_odds, settled, shift_of
from aggregator.extraction import Wanted
from tests.unit.aggregator.worlds import says


def test_a_vote_weighs_the_log_odds_against_each_of_the_other_options() -> None:
    assert isclose(log(0.8 * 9 / 0.2), log_odds(0.8) + shift_of([0.8, 0.7], 10))


def test_on_questions_hard_for_everybody_votes_still_count() -> None:
    qualities = [0.1, 0.08, 0.05]
    shift = shift_of(qualities, 4)

    assert isclose(3 * LEVEL, sum(log_odds(each) + shift for each in qualities))


def test_an_expert_far_worse_than_chance_weighs_against_its_answer() -> None:
    assert log_odds(0.02) + shift_of([0.9, 0.8, 0.02], 4) < 0


@pytest.mark.parametrize(
    ("qualities", "expected"),
    [([0.63, 0.52, 0.52], True), ([0.66, 0.63, 0.63], False), ([0.5, 0.95], True), ([0.99, 1.0], False), ([0.4], True)],
)
def test_an_expert_leads_where_it_is_clearly_ahead_of_the_next(qualities: list[float], expected: bool) -> None:
    assert expected == leads(qualities)


def test_one_unknown_quality_and_all_votes_weigh_what_the_router_says() -> None:
    known, unknown = says("a", "x", 0.7, quality=0.9), says("b", "x", 0.3)

    assert 0.7 == Ballot.of([known, unknown], ()).weight(known)
    assert isclose(log(9 * 9), Ballot.of([known, known], ()).weight(known))


def test_the_options_of_a_question_count() -> None:
    candidate = says("a", "x", quality=0.9)
    question = {"role": "user", "content": "Which?\nA. one\nB. two\nC. three\n"}

    assert isclose(log(0.9 * 2 / 0.1), Ballot.of([candidate], (question,)).weight(candidate))
    assert Ballot.of([candidate], (question,)).wanted == Wanted("choice", ("one", "two", "three"))


def test_stages_begin_with_as_many_as_settle_it_by_agreeing() -> None:
    def stages(*qualities: float) -> tuple[int, ...]:
        candidates = [says(f"e{place}", "x", quality=each) for place, each in enumerate(qualities)]
        return Ballot.of(candidates, ()).stages(candidates)

    assert (2, 1) == stages(0.5, 0.5, 0.5)
    assert (3, 1, 1) == stages(0.5, 0.5, 0.5, 0.5, 0.5)
    assert (1, 1, 1) == stages(0.98, 0.3, 0.3)
    assert () == stages(0.5, 0.5)


WEIGHT = st.integers(-3, 6).map(lambda each: each / 2)


@given(
    heard=st.lists(st.tuples(st.integers(0, 2), WEIGHT), min_size=1, max_size=3), coming=st.lists(WEIGHT, max_size=3)
)
def test_what_is_settled_no_vote_can_change_and_what_is_not_some_can(
    heard: list[tuple[int, float]], coming: list[float]
) -> None:
    tallies: dict[int, float] = {}
    for answer, weight in heard:
        tallies[answer] = tallies.get(answer, 0.0) + weight
    ranked = sorted(tallies, key=lambda answer: -tallies[answer])
    safe = True
    for choice in product([*ranked, -1, None], repeat=len(coming)):
        after = dict(tallies)
        for chosen, weight in zip(choice, coming, strict=True):
            if chosen is not None:
                after[chosen] = after.get(chosen, 0.0) + weight
        safe &= all(after[ranked[0]] > total for answer, total in after.items() if answer != ranked[0])

    assert safe == settled([tallies[answer] for answer in ranked], coming)
