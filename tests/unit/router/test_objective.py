"""Quality against cost and time: expected cost and latency, hard limits, and the curve that cost_quality traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.profile import Price, Skill, SkillProfile
from router.errors import NoEligibleExpert
from router.policies import PolicyContext
from router.policies.candidates import Scored
from router.policies.objective import Economy, dearest_price, expected_cost, expected_latency
from router.policies.profile import ProfilePolicy
from router.policies.weighing import weigh
from router.types import Constraints, DomainScores, Load, Objective, Query, RoutingDecision

ASK = Query(messages=({"role": "user", "content": "?"},), prompt_tokens=1000, max_output_tokens=1000)
MATH = DomainScores({"math": 1.0})


def expert(name: str, accuracy: float, price: float | None, latency_ms: float | None = None) -> SkillProfile:
    rates = None if price is None else Price(price, price)
    return SkillProfile(
        name, measured={"math": Skill(accuracy, 100_000)}, price=rates, latency_ms=latency_ms, output_tokens=1000
    )


BIG, MIDDLE, SMALL = expert("big", 0.80, 10.0), expert("middle", 0.78, 1.0), expert("small", 0.60, 0.1)
POOL = (BIG, MIDDLE, SMALL)


def decide(
    pool: tuple[SkillProfile, ...] = POOL,
    *,
    objective: Objective = Objective(),  # noqa: B008  frozen
    load: Mapping[str, Load] | None = None,
    query: Query = ASK,
    latency_weight: float = 0.0,
) -> RoutingDecision:
    economy = Economy(latency_weight=latency_weight)
    context = PolicyContext(economy=replace(economy, dearest=dearest_price(pool, economy)), max_experts=8)
    return ProfilePolicy().decide(replace(query, objective=objective, load=load or {}), MATH, pool, context)


def first(decision: RoutingDecision) -> str:
    return decision.assignments[0].expert


def test_cost_is_tokens_times_price() -> None:
    priced = SkillProfile("a", price=Price(2.0, 8.0), output_tokens=500)

    assert pytest.approx((1000 * 2 + 500 * 8) / 1e6) == expected_cost(priced, ASK, Economy())


def test_an_unpriced_expert_costs_by_its_active_parameters() -> None:
    unpriced = SkillProfile("a", active_parameters_billions=7.0)

    cost = expected_cost(unpriced, ASK, Economy(usual_output_tokens=200, usd_per_billion_parameters=0.01))

    assert pytest.approx(1200 * 0.07 / 1e6) == cost


def test_an_expert_without_price_and_size_has_no_known_cost() -> None:
    assert None is expected_cost(SkillProfile("a"), ASK, Economy())


def test_the_answer_is_expected_no_longer_than_the_client_allows() -> None:
    wordy = SkillProfile("a", price=Price(0.0, 1.0), output_tokens=5000)

    assert pytest.approx(50 / 1e6) == expected_cost(wordy, replace(ASK, max_output_tokens=50), Economy())


@pytest.mark.parametrize(
    ("load", "milliseconds"),
    [
        (None, 900.0),
        (Load(in_flight=3, places=4), 900.0),
        (Load(in_flight=3, places=4, total_ms=400.0), 400.0),
        (Load(in_flight=4, waiting=3, places=4, total_ms=400.0), 800.0),
    ],
)
def test_latency_is_what_answers_lately_took_and_the_wait_for_a_place(load: Load | None, milliseconds: float) -> None:
    assert milliseconds == expected_latency(SkillProfile("a", latency_ms=900.0), load)


def test_an_expert_that_never_answered_has_no_known_latency() -> None:
    assert None is expected_latency(SkillProfile("a"), Load())


@pytest.mark.parametrize(("cost_quality", "chosen"), [(1.0, "big"), (0.8, "middle"), (0.5, "middle"), (0.0, "small")])
def test_the_slider_goes_from_the_best_to_the_cheapest(cost_quality: float, chosen: str) -> None:
    assert chosen == first(decide(objective=Objective(cost_quality)))


def test_the_cheapest_has_to_be_acceptable() -> None:
    useless = expert("useless", 0.30, 0.01)

    decision = decide((*POOL, useless), objective=Objective(0.0))

    assert "small" == first(decision)
    assert "useless" == decision.candidates[-1].expert


def test_where_cost_decides_the_reason_says_so() -> None:
    decision = decide(objective=Objective(0.5))

    assert "middle: measured on math (0.78, n=100000), worth most at cost_quality 0.50" == decision.reason


def test_every_candidate_shows_what_it_would_cost_and_take() -> None:
    decision = decide((replace(BIG, latency_ms=1500.0), SMALL))

    assert {"big": 1500.0, "small": None} == {each.expert: each.latency_ms for each in decision.candidates}
    assert {"big": 0.02, "small": 0.0002} == pytest.approx({each.expert: each.cost_usd for each in decision.candidates})
    assert pytest.approx(0.02) == decision.cost_usd


def test_where_nothing_but_quality_counts_everybody_is_weighed_alike() -> None:
    pool = (*POOL, expert("slow", 0.5, 2.0, latency_ms=900.0))
    ranked = [Scored(profile, score, 1.0, "", score) for profile, score in zip(pool, (1.1, 0.7, 0.6, 0.5), strict=True)]
    generous = replace(ASK, objective=Objective(max_cost_usd=1e9))

    soon, _ = weigh(ranked, ASK, MATH, PolicyContext(), None)
    with_limits, _ = weigh(ranked, generous, MATH, PolicyContext(), None)

    assert soon == with_limits
    assert [arm.quality for arm in soon] == [1.0, 0.7, 0.6, 0.5]
    assert soon[3].latency_ms == 900.0


def test_who_is_too_dear_is_left_out_with_the_reason() -> None:
    decision = decide(objective=Objective(max_cost_usd=0.005))

    assert "middle" == first(decision)
    assert {"big": "about 0.020000 USD, the limit is 0.005 USD"} == decision.excluded
    assert "big" not in decision.fallbacks


def test_an_unknown_cost_is_over_any_limit() -> None:
    decision = decide((expert("unpriced", 0.9, None), SMALL), objective=Objective(max_cost_usd=1.0))

    assert {"unpriced": "its cost is unknown, the limit is 1 USD"} == decision.excluded


def test_who_is_too_slow_now_is_left_out_with_the_reason() -> None:
    busy = {"big": Load(in_flight=64, waiting=64, total_ms=1000.0), "middle": Load(total_ms=1000.0)}

    decision = decide(objective=Objective(max_latency_ms=1500.0), load=busy)

    assert "middle" == first(decision)
    assert {"big": "about 2016 ms, the limit is 1500 ms"} == decision.excluded


def test_nobody_within_the_limits_is_an_error_that_says_why_for_each() -> None:
    query = replace(ASK, constraints=Constraints(deny=frozenset({"small"})))

    with pytest.raises(NoEligibleExpert, match=r"small: denied by the request; big: about .* USD, the limit") as caught:
        decide(query=query, objective=Objective(max_cost_usd=1e-6))

    assert {"big", "middle", "small"} == set(caught.value.excluded)


def test_a_queue_outweighs_a_little_quality_where_waiting_costs() -> None:
    busy = {"big": Load(in_flight=64, waiting=64, total_ms=2000.0), "middle": Load(total_ms=2000.0)}

    assert "big" == first(decide(load=busy))
    assert "middle" == first(decide(load=busy, latency_weight=0.05))


def test_several_experts_stay_within_the_budget_together() -> None:
    decision = decide(query=replace(ASK, max_experts=3), objective=Objective(max_cost_usd=0.0205))

    assert {"big", "small"} == {each.expert for each in decision.assignments}


def test_a_further_opinion_that_is_not_worth_its_cost_is_not_asked_for() -> None:
    several = replace(ASK, max_experts=3)

    assert 3 == len(decide(query=several).assignments)
    assert ["middle", "small"] == [each.expert for each in decide(query=several, objective=Objective(0.6)).assignments]
    assert ["small"] == [each.expert for each in decide(query=several, objective=Objective(0.0)).assignments]


def test_sweeping_the_slider_never_gets_dearer_or_better_on_the_way_down() -> None:
    decisions = [decide(objective=Objective(step / 20)) for step in range(21)]

    quality = [next(each.quality for each in d.candidates if each.chosen) for d in decisions]
    cost = [d.cost_usd for d in decisions]
    assert (sorted(q or 0 for q in quality), sorted(c or 0 for c in cost)) == (quality, cost)


pools = st.lists(
    st.tuples(st.floats(0.05, 0.95), st.none() | st.floats(0.01, 20.0), st.none() | st.floats(1.0, 5000.0)),
    min_size=2,
    max_size=8,
).map(lambda rows: tuple(expert(f"e{n}", *row) for n, row in enumerate(rows)))
objectives = st.builds(
    Objective,
    cost_quality=st.none() | st.floats(0.0, 1.0),
    max_cost_usd=st.none() | st.floats(1e-5, 0.05),
    max_latency_ms=st.none() | st.floats(1.0, 5000.0),
)


@given(pool=pools, objective=objectives, wanted=st.integers(1, 5))
def test_budgets_are_never_violated(pool: tuple[SkillProfile, ...], objective: Objective, wanted: int) -> None:
    try:
        decision = decide(pool, objective=objective, query=replace(ASK, max_experts=wanted, staged=True))
    except NoEligibleExpert:
        return

    asked = [each for each in decision.candidates if each.chosen]
    assert {each.expert for each in asked} == {each.expert for each in decision.assignments}
    assert not set(decision.excluded) & {*decision.fallbacks, *(each.expert for each in asked)}
    if objective.max_cost_usd is not None:
        assert sum(each.cost_usd or 0.0 for each in asked) <= objective.max_cost_usd + 1e-12
        assert all(each.cost_usd is not None for each in asked)
    if objective.max_latency_ms is not None:
        assert all((each.latency_ms or 0.0) <= objective.max_latency_ms for each in asked)


@given(pool=pools, cost_quality=st.floats(0.0, 1.0), out=st.sets(st.integers(0, 7), max_size=6))
def test_a_decision_among_some_is_the_best_of_them_in_the_decision_among_all(
    pool: tuple[SkillProfile, ...], cost_quality: float, out: set[int]
) -> None:
    gone = {f"e{n}" for n in out if n < len(pool)}
    if len(gone) == len(pool):
        return
    everybody = decide(pool, objective=Objective(cost_quality))
    masked = replace(ASK, constraints=Constraints(unfit=dict.fromkeys(gone, "asleep")))

    some = decide(pool, objective=Objective(cost_quality), query=masked)

    left = [each for each in everybody.candidates if each.expert not in gone]
    assert [each.expert for each in left] == [each.expert for each in some.candidates]
    assert max(left, key=lambda each: each.score).expert == first(some)
    assert not gone & {*some.fallbacks, *(each.expert for each in some.assignments)}
