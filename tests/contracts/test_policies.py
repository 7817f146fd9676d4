"""Promises of every routing policy, whatever it decides by."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.profile import Price, Skill, SkillProfile
from router.errors import NoEligibleExpert
from router.policies import POLICIES, Policy, PolicyContext
from router.policies.objective import Economy, dearest_price
from router.taxonomy import default_taxonomy
from router.types import Constraints, DomainScores, Objective, Query, RoutingDecision

DOMAINS = ("math", "physics", "law", "history", "general chat")
CONTEXT = PolicyContext(default="general", fallback_confidence=0.2, max_experts=4, taxonomy=default_taxonomy())
POOL = (
    SkillProfile("math", domains=("math",), fallback=("science",)),
    SkillProfile("science", domains=("science",), measured={"physics": Skill(0.7, 50)}, price=Price(0.1, 0.4)),
    SkillProfile("law", domains=("law",), measured={"law": Skill(0.55, 200), "history": Skill(0.5, 90)}),
    SkillProfile("humanities", domains=("humanities",), active_parameters_billions=8.0),
    SkillProfile("general", price=Price(2.0, 8.0), latency_ms=900.0),
)
NAMES = [profile.expert for profile in POOL]

masks = st.sets(st.sampled_from(NAMES), max_size=len(NAMES) - 1)
queries = st.builds(
    Query,
    messages=st.text(min_size=1, max_size=20).map(lambda text: ({"role": "user", "content": text},)),
    max_experts=st.integers(1, 6),
    top_p=st.none() | st.floats(0.05, 1.0),
)
objectives = st.builds(
    Objective,
    cost_quality=st.floats(0.0, 1.0),
    max_cost_usd=st.none() | st.floats(1e-7, 5e-3),
    max_latency_ms=st.none() | st.floats(100.0, 2000.0),
)


@st.composite
def scores(draw: st.DrawFn) -> DomainScores:
    odds = draw(st.lists(st.floats(0.01, 1.0), min_size=len(DOMAINS), max_size=len(DOMAINS)))
    probabilities = {domain: each / sum(odds) for domain, each in zip(DOMAINS, odds, strict=True)}
    return DomainScores(probabilities, familiarity=draw(st.floats(0.0, 1.0)))


every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=list(POLICIES))


def masked(query: Query, out: set[str]) -> Query:
    return replace(query, constraints=Constraints(unfit=dict.fromkeys(out, "asleep")))


def order(decision: RoutingDecision) -> list[str]:
    return [candidate.expert for candidate in sorted(decision.candidates, key=lambda each: -each.score)]


@every_policy
@given(query=queries, given_scores=scores(), out=masks)
def test_weights_sum_to_one_best_first(policy: Policy, query: Query, given_scores: DomainScores, out: set[str]) -> None:
    decision = policy.decide(masked(query, out), given_scores, POOL, CONTEXT)

    weights = [assignment.weight for assignment in decision.assignments]
    assert sum(weights) == pytest.approx(1.0)
    assert decision.fusion == "cascade" or weights == sorted(weights, reverse=True)
    assert 1 <= len(weights) <= min(query.max_experts, CONTEXT.max_experts)


@every_policy
@given(query=queries, given_scores=scores(), out=masks)
def test_an_excluded_expert_is_named_and_never_chosen(
    policy: Policy, query: Query, given_scores: DomainScores, out: set[str]
) -> None:
    decision = policy.decide(masked(query, out), given_scores, POOL, CONTEXT)

    named = {each.expert for each in decision.assignments} | set(decision.fallbacks)
    assert set(decision.excluded) == out
    assert named == set(NAMES) - out
    assert {each.expert for each in decision.candidates} == set(NAMES) - out


@every_policy
@given(query=queries, given_scores=scores(), out=masks)
def test_masking_experts_keeps_the_order_of_the_others(
    policy: Policy, query: Query, given_scores: DomainScores, out: set[str]
) -> None:
    everybody = order(policy.decide(query, given_scores, POOL, CONTEXT))

    assert order(policy.decide(masked(query, out), given_scores, POOL, CONTEXT)) == [
        name for name in everybody if name not in out
    ]


@every_policy
@given(query=queries, given_scores=scores(), out=masks, objective=objectives)
def test_limits_hold_and_masking_keeps_the_order_whatever_cost_is_worth(
    policy: Policy, query: Query, given_scores: DomainScores, out: set[str], objective: Objective
) -> None:
    context = replace(CONTEXT, economy=Economy(dearest=dearest_price(POOL, Economy())))
    balanced = replace(query, objective=Objective(objective.cost_quality))
    everybody = order(policy.decide(balanced, given_scores, POOL, context))
    assert [name for name in everybody if name not in out] == order(
        policy.decide(masked(balanced, out), given_scores, POOL, context)
    )
    try:
        limited = policy.decide(replace(masked(query, out), objective=objective), given_scores, POOL, context)
    except NoEligibleExpert:
        return
    asked = [each for each in limited.candidates if each.chosen]
    assert not set(limited.excluded) & {*limited.fallbacks, *(each.expert for each in limited.assignments)}
    assert sum(each.cost_usd or 0.0 for each in asked) <= (objective.max_cost_usd or 1.0) * (1 + 1e-9)
    assert all((each.latency_ms or 0.0) <= (objective.max_latency_ms or 1e9) for each in limited.candidates)


@every_policy
@given(query=queries, given_scores=scores(), out=masks)
def test_without_doubt_the_best_of_the_rest_is_chosen(
    policy: Policy, query: Query, given_scores: DomainScores, out: set[str]
) -> None:
    context = replace(CONTEXT, fallback_confidence=0.0)
    decision = policy.decide(masked(query, out), given_scores, POOL, context)

    best = max(decision.candidates, key=lambda candidate: candidate.score)
    assert decision.assignments[0].expert == best.expert


@every_policy
@given(query=queries, given_scores=scores())
def test_the_same_question_gets_the_same_decision(policy: Policy, query: Query, given_scores: DomainScores) -> None:
    first = policy.decide(query, given_scores, POOL, CONTEXT)

    assert policy.decide(query, given_scores, POOL, CONTEXT) == first


@every_policy
@given(query=queries, given_scores=scores())
def test_a_new_expert_is_a_candidate_at_once_and_moves_nobody_else(
    policy: Policy, query: Query, given_scores: DomainScores
) -> None:
    newcomer = SkillProfile("newcomer", domains=("law",))

    before = order(policy.decide(query, given_scores, POOL, CONTEXT))
    after = order(policy.decide(query, given_scores, (*POOL, newcomer), CONTEXT))

    assert [name for name in after if name != "newcomer"] == before
    assert "newcomer" in after


@every_policy
def test_every_candidate_has_a_reason(policy: Policy) -> None:
    query = Query(messages=({"role": "user", "content": "?"},))

    decision = policy.decide(query, DomainScores({"math": 1.0}), POOL, CONTEXT)

    assert all(candidate.reason for candidate in decision.candidates)
    assert decision.reason
    assert [each.expert for each in decision.candidates if each.chosen] == [
        each.expert for each in decision.assignments
    ]


@every_policy
def test_a_policy_that_reads_scores_survives_their_absence(policy: Policy) -> None:
    query = Query(messages=({"role": "user", "content": "?"},))

    assert policy.decide(query, DomainScores({}), POOL, CONTEXT).assignments


@every_policy
def test_nobody_eligible_is_an_error(policy: Policy) -> None:
    query = Query(messages=(), constraints=Constraints(deny=frozenset(NAMES)))

    with pytest.raises(NoEligibleExpert):
        policy.decide(query, DomainScores({"math": 1.0}), POOL, CONTEXT)
