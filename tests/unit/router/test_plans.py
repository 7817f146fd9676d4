"""Plans of several experts: what is asked, what it costs, and that they are worth having."""

from __future__ import annotations

import numpy as np

from router.features import Features
from router.policies.fitted import Basis
from router.policies.lesson import by_turns
from router.policies.plans import Plan, Plans, plans_for, play, within
from router.policies.smoothing import Floats
from router.training.outcomes import Outcomes
from tests.unit.router.outcome_world import world

SCORES = np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
COSTS = np.tile([1.0, 2.0, 10.0], (4, 1))
CODES = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 1, 2]])


def test_agreement_is_the_answer_and_disagreement_goes_to_the_strong_expert() -> None:
    score, cost = play(Plan((0, 1), 2), SCORES, COSTS, CODES)
    assert score.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert cost.tolist() == [3.0, 13.0, 3.0, 11.0]


def test_a_third_expert_is_asked_only_while_the_first_two_agree() -> None:
    codes = np.array([[0, 1, 0, 0]])
    score, cost = play(Plan((0, 1, 2), 3), np.array([[0.0, 0.0, 0.0, 1.0]]), np.array([[1.0, 1.0, 1.0, 9.0]]), codes)
    assert (score.tolist(), cost.tolist()) == ([1.0], [11.0])


def test_an_expert_alone_is_a_plan() -> None:
    score, cost = play(Plan((), 1), SCORES, COSTS, CODES)
    assert (score.tolist(), cost.tolist()) == (SCORES[:, 1].tolist(), [2.0] * 4)


def test_plans_ask_cheap_experts_first() -> None:
    plans = plans_for(SCORES, COSTS)
    assert [Plan((), 0), Plan((), 1), Plan((), 2), Plan((0, 1), 2)] == plans


def test_a_smaller_pool_keeps_the_plans_it_can_carry_out() -> None:
    plans = [Plan((), 0), Plan((), 2), Plan((0, 1), 2)]
    assert within(plans, [0, 2]) == [0, 1]


def test_estimates_of_plans_come_close_to_what_they_do_on_unseen_questions() -> None:
    outcomes, features = world(600, seed=1)
    costs = np.tile([1.0, 2.0, 10.0], (600, 1))
    codes = np.where(outcomes.scores > 0, 0, np.arange(1, 4)[None, :])
    basis = Basis()
    lesson = basis.fit(features, outcomes.scores, outcomes.categories, by_turns(outcomes.stems))
    fitted = Plans().fit(lesson, costs, codes)
    fresh, unseen = world(600, seed=2)
    expected, spent = fitted.estimate(basis.read(unseen))
    again = np.where(fresh.scores > 0, 0, np.arange(1, 4)[None, :])
    for place, plan in enumerate(fitted.plans):
        score, cost = play(plan, fresh.scores, costs, again)
        assert abs(expected[:, place].mean() - score.mean()) < 0.08
        assert abs(spent[:, place].mean() - cost.mean()) < 1.0


def uneven(count: int, seed: int) -> tuple[Outcomes, Features, Floats]:
    """Return a world in which some questions of every kind, told by one direction of their vectors, cost far more."""
    outcomes, features = world(count, seed)
    costs: Floats = np.where(features.vectors[:, [5]] > 0, 10.0, 1.0) * np.array([[1.0, 2.0, 10.0]])
    return outcomes, features, costs


def fitted_on_uneven() -> tuple[Plans, Basis]:
    outcomes, features, costs = uneven(2000, seed=1)
    basis = Basis()
    lesson = basis.fit(features, outcomes.scores, outcomes.categories, by_turns(outcomes.stems))
    codes = np.where(outcomes.scores > 0, 0, np.arange(1, 4)[None, :])
    return Plans().fit(lesson, costs, codes), basis


def test_the_cost_of_a_plan_is_expected_of_the_question_and_not_of_its_category_alone() -> None:
    plans, basis = fitted_on_uneven()
    _, features, true = uneven(600, seed=2)
    reading = basis.read(features)
    strongest = plans.plans.index(Plan((), 2))
    spent = plans.estimate(reading)[1]
    assert np.corrcoef(spent[:, strongest], true[:, 2])[0, 1] > 0.4
    assert abs(np.corrcoef((reading.posterior @ plans.cost_)[:, strongest], true[:, 2])[0, 1]) < 0.2
    assert (spent > 0).all()


def test_plans_kept_before_costs_had_a_line_go_by_the_category() -> None:
    plans, basis = fitted_on_uneven()
    del plans.cost_coef_, plans.unit_
    reading = basis.read(uneven(100, seed=2)[1])
    np.testing.assert_allclose(plans.estimate(reading)[1], reading.posterior @ plans.cost_)
