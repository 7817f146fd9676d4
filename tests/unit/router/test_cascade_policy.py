"""Cheap first: the closed form, when it pays, and the plan it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.profile import Price, Skill, SkillProfile
from router.policies import PolicyContext
from router.policies.base import Scored, settle
from router.policies.cascade import CascadePolicy, both_right, break_even, cascade_accuracy, escalation
from router.policies.objective import Economy, dearest_price
from router.types import DomainScores, Objective, Query, RoutingDecision

ASK = Query(messages=({"role": "user", "content": "?"},), prompt_tokens=500, max_experts=4)
WEAK, STRONG = 0.432, 0.622
BOTH = 0.361


def expert(name: str, accuracy: float, price: float) -> SkillProfile:
    return SkillProfile(name, measured={"math": Skill(accuracy, 100_000)}, price=Price(price, price))


SMALL, OTHER, BIG = expert("small", 0.55, 0.1), expert("other", 0.53, 0.1), expert("big", 0.62, 5.0)


def decide(
    *pool: SkillProfile, error: float = 0.1, cheap_first: int = 1, query: Query = ASK, c: float = 1.0
) -> RoutingDecision:
    economy = Economy(cost_quality=c)
    context = PolicyContext(
        economy=replace(economy, dearest=dearest_price(pool, economy)),
        max_experts=4,
        judge_error=error,
        cheap_first=cheap_first,
    )
    return CascadePolicy().decide(query, DomainScores({"math": 1.0}), pool, context)


def names(decision: RoutingDecision) -> list[str]:
    return [each.expert for each in decision.assignments]


@pytest.mark.parametrize(("error", "accuracy"), [(0.0, 0.693), (0.1, 0.659), (0.2, 0.626), (0.3, 0.593), (0.5, 0.527)])
def test_accuracy_falls_with_the_checks_error_as_recorded_outcomes_do(error: float, accuracy: float) -> None:
    """Llama-3.1 8B then 70B on MMLU-Pro."""
    assert accuracy == pytest.approx(cascade_accuracy(WEAK, STRONG, BOTH, error), abs=0.001)


def test_break_even_is_just_above_a_fifth_there() -> None:
    assert 0.214 == pytest.approx(break_even(WEAK, STRONG, BOTH), abs=0.001)


@given(weak=st.floats(0.05, 0.95), strong=st.floats(0.05, 0.95), correlation=st.floats(0.0, 0.9))
def test_at_break_even_the_cascade_is_as_good_as_the_strong_expert(
    weak: float, strong: float, correlation: float
) -> None:
    both = both_right(weak, strong, correlation)

    assert strong == pytest.approx(cascade_accuracy(weak, strong, both, break_even(weak, strong, both)), abs=1e-9)
    assert max(0.0, weak + strong - 1) - 1e-9 <= both <= min(weak, strong) + 1e-9


def test_the_closed_form_is_what_a_simulation_counts() -> None:
    draw, error, n = np.random.default_rng(3), 0.15, 400_000
    right = draw.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=n) < [-0.17, 0.31]
    says_right = right[:, 0] ^ (draw.random(n) < error)
    answered = np.where(says_right, right[:, 0], right[:, 1])

    weak, strong, both = right[:, 0].mean(), right[:, 1].mean(), (right[:, 0] & right[:, 1]).mean()
    assert answered.mean() == pytest.approx(cascade_accuracy(weak, strong, both, error), abs=0.003)
    assert (~says_right).mean() == pytest.approx(escalation(weak, error), abs=0.003)


def test_a_good_check_makes_a_cascade_and_says_why() -> None:
    decision = decide(SMALL, BIG)

    assert ["small", "big"] == names(decision)
    assert ((1, 1), "cascade") == (decision.stages, decision.fusion)
    assert decision.reason.startswith("small first, big if that looks weak: expected 0.7")
    assert "errs in less than 0.3" in decision.reason


def test_a_check_that_errs_too_often_leaves_the_strong_expert_alone() -> None:
    decision = decide(SMALL, BIG, error=0.4)

    assert (["big"], (), None) == (names(decision), decision.stages, decision.fusion)


def test_where_cost_counts_a_little_loss_is_accepted() -> None:
    near = decide(SMALL, BIG, error=0.4, c=0.7)

    assert near.fusion == "cascade" or names(near) == ["small"]


def test_two_cheap_experts_check_each_other() -> None:
    decision = decide(SMALL, OTHER, BIG, cheap_first=2)

    assert (["small", "other", "big"], (2, 1)) == (names(decision), decision.stages)
    assert decision.reason.startswith("small and other first, big if they disagree")


def test_one_expert_is_no_cascade() -> None:
    assert ["big"] == names(decide(SMALL, BIG, query=replace(ASK, max_experts=1)))


def test_unknown_costs_leave_nothing_to_save() -> None:
    pool = (replace(SMALL, price=None), replace(BIG, price=None))

    assert ["big"] == names(decide(*pool))


def test_all_stages_together_stay_within_the_limits() -> None:
    both = sum(each.cost_usd or 0 for each in decide(SMALL, BIG).candidates)
    tight = replace(ASK, objective=Objective(max_cost_usd=both * 0.99))
    slow = [replace(each, latency_ms=800.0) for each in (SMALL, BIG)]

    assert ["big"] == names(decide(SMALL, BIG, query=tight))
    assert ["big"] == names(decide(*slow, query=replace(ASK, objective=Objective(max_latency_ms=1500.0))))
    assert ["small", "big"] == names(decide(*slow, query=replace(ASK, objective=Objective(max_latency_ms=1700.0))))


def test_qualities_may_come_from_any_policy() -> None:
    unknown = (replace(SMALL, measured={}), replace(BIG, measured={}))
    economy = Economy(dearest=dearest_price(unknown, Economy()))
    context = PolicyContext(economy=economy, max_experts=4, judge_error=0.1)

    class Estimating:
        """Says what it was told of each expert."""

        reads_scores: ClassVar[bool] = True
        name = "estimating"

        def decide(
            self, query: Query, scores: DomainScores, profiles: Sequence[SkillProfile], context: PolicyContext
        ) -> RoutingDecision:
            told = {"small": 0.55, "big": 0.62}
            ranked = [Scored(p, told[p.expert], told[p.expert], "told", told[p.expert]) for p in profiles[::-1]]
            return settle(ranked, query, context, policy="estimating", scores=scores, excluded={}, reason="told")

    decision = CascadePolicy(Estimating()).decide(ASK, DomainScores({"math": 1.0}), unknown, context)

    assert (["small", "big"], "cascade", (1, 1)) == (names(decision), decision.policy, decision.stages)
    assert {"small": True, "big": True} == {each.expert: each.chosen for each in decision.candidates}


def test_in_doubt_the_default_expert_answers_alone() -> None:
    pool = (SMALL, BIG)
    context = PolicyContext(
        default="small", fallback_confidence=0.3, economy=Economy(dearest=BIG.price), judge_error=0.1
    )

    strange = DomainScores({"math": 1.0}, familiarity=0.01)

    assert ["small"] == names(CascadePolicy().decide(ASK, strange, pool, context))
