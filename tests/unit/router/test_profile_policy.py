"""Expected quality by domain: measured skill, declared domains, doubt, weights and fallbacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experts.profile import Skill, SkillProfile
from router.policies.base import PolicyContext
from router.policies.profile import ProfilePolicy
from router.taxonomy import default_taxonomy
from router.types import Constraints, DomainScores, Query, RoutingDecision

ASK = Query(messages=({"role": "user", "content": "?"},))
CONTEXT = PolicyContext(default="general", fallback_confidence=0.3, max_experts=5, taxonomy=default_taxonomy())
MATH = SkillProfile("math", domains=("math",))
SCIENCE = SkillProfile("science", domains=("science",))
GENERAL = SkillProfile("general")
POOL = (MATH, SCIENCE, GENERAL)


def decide(
    scores: dict[str, float],
    *profiles: SkillProfile,
    query: Query = ASK,
    familiarity: float = 1.0,
    context: PolicyContext = CONTEXT,
) -> RoutingDecision:
    return ProfilePolicy().decide(query, DomainScores(scores, familiarity), profiles or POOL, context)


def chosen(decision: RoutingDecision) -> list[str]:
    return [assignment.expert for assignment in decision.assignments]


def reasons(decision: RoutingDecision) -> dict[str, str]:
    return {candidate.expert: candidate.reason for candidate in decision.candidates}


def test_the_expert_that_declares_the_domain_is_chosen() -> None:
    decision = decide({"math": 0.9, "physics": 0.1})

    assert chosen(decision) == ["math"]
    assert decision.reason == "math: declares math"
    assert decision.confidence == 0.9


def test_a_declared_group_means_its_domains() -> None:
    assert chosen(decide({"math": 0.1, "chemistry": 0.9})) == ["science"]


def test_a_domain_split_between_two_of_one_expert_is_not_in_doubt() -> None:
    decision = decide({"physics": 0.25, "chemistry": 0.25, "biology": 0.24, "math": 0.26})

    assert chosen(decision) == ["science"]


def test_the_first_declared_domain_counts_most() -> None:
    first = SkillProfile("first", domains=("law", "history"))
    second = SkillProfile("second", domains=("history", "law"))

    assert chosen(decide({"law": 1.0}, second, first)) == ["first"]


def test_measured_skill_overrides_what_is_declared() -> None:
    weak = replace(MATH, measured={"math": Skill(0.2, 400)})
    strong = SkillProfile("strong", measured={"math": Skill(0.8, 400)})

    decision = decide({"math": 1.0}, weak, strong)

    assert chosen(decision) == ["strong"]
    assert reasons(decision) == {
        "strong": "best measured on math (0.80, n=400)",
        "math": "measured on math (0.20, n=400)",
    }


def test_whoever_leads_where_it_was_measured_leads_a_little_where_nobody_was() -> None:
    strong = SkillProfile("strong", measured={"school": Skill(0.9, 300)})
    weak = SkillProfile("weak", measured={"school": Skill(0.5, 300)})

    decision = decide({"math": 1.0}, weak, strong)

    assert chosen(decision) == ["strong"]
    assert [0.697, 0.503] == [round(candidate.score, 3) for candidate in decision.candidates]


def test_a_few_measured_answers_are_shrunk_toward_the_experts_own_level() -> None:
    lucky = SkillProfile("lucky", measured={"math": Skill(1.0, 2), "law": Skill(0.4, 400)})
    proven = SkillProfile("proven", measured={"math": Skill(0.8, 400), "law": Skill(0.8, 400)})

    assert chosen(decide({"math": 1.0}, lucky, proven)) == ["proven"]


def test_a_never_measured_generalist_does_not_beat_measured_experts_on_hard_questions() -> None:
    measured = SkillProfile("measured", measured={"math": Skill(0.45, 400)})
    weaker = SkillProfile("weaker", measured={"math": Skill(0.35, 400)})

    assert chosen(decide({"math": 1.0}, measured, weaker, GENERAL)) == ["measured"]


@pytest.mark.parametrize(
    "elsewhere", [{}, {"law": Skill(0.02, 20), "history": Skill(0.02, 20), "health": Skill(0.02, 20)}]
)
def test_a_specialist_that_was_measured_keeps_its_domain_from_those_that_never_were(
    elsewhere: dict[str, Skill],
) -> None:
    measured = replace(MATH, measured={"math": Skill(0.95, 20), **elsewhere})

    assert chosen(decide({"math": 1.0}, measured, SCIENCE, GENERAL)) == ["math"]


def test_a_specialist_measured_outside_its_domain_takes_nothing_from_the_domains_own() -> None:
    measured = replace(SCIENCE, measured={"math": Skill(0.3, 20)})

    assert chosen(decide({"math": 1.0}, MATH, measured, GENERAL)) == ["math"]


def test_skill_measured_in_the_domains_of_a_group_counts_for_the_group() -> None:
    able = SkillProfile("able", measured={"physics": Skill(0.9, 100), "biology": Skill(0.7, 300)})
    other = SkillProfile("other", measured={"science": Skill(0.6, 400)})

    decision = decide({"science": 1.0}, other, able)

    assert reasons(decision)["able"] == "best measured on science (0.75, n=400)"


def test_an_unclear_domain_goes_to_the_default_expert() -> None:
    decision = decide({"law": 0.7, "math": 0.29, "physics": 0.01}, MATH, GENERAL)

    assert chosen(decision) == ["general"]


def test_the_default_steps_in_when_the_best_is_probably_not_better() -> None:
    tutor = SkillProfile("tutor", measured={"math": Skill(1.0, 900), "law": Skill(0.55, 900)})
    jurist = SkillProfile("general", measured={"math": Skill(0.1, 900), "law": Skill(0.6, 900)})

    decision = decide({"law": 0.8, "math": 0.2}, tutor, jurist)

    assert chosen(decision) == ["general"]
    assert decision.reason == "too unsure of tutor (confidence 0.20): general answers"


def test_an_unfamiliar_question_goes_to_the_default_expert() -> None:
    decision = decide({"math": 0.99, "law": 0.01}, familiarity=0.09)

    assert chosen(decision) == ["general"]
    assert decision.reason == "unlike anything known (familiarity 0.09): general answers"
    assert decision.fallbacks[0] == "math"


def test_doubt_without_an_eligible_default_changes_nothing() -> None:
    query = replace(ASK, constraints=Constraints(deny=frozenset({"general"})))

    assert chosen(decide({"math": 0.99, "law": 0.01}, query=query, familiarity=0.09)) == ["math"]


def test_weights_follow_quality_and_sum_to_one() -> None:
    decision = decide({"math": 0.6, "physics": 0.4}, query=replace(ASK, max_experts=3))

    weights = [assignment.weight for assignment in decision.assignments]
    assert chosen(decision) == ["math", "general", "science"]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1.0)


@pytest.mark.parametrize(("top_p", "experts"), [(0.4, 1), (0.7, 2), (1.0, 3)])
def test_top_p_takes_experts_until_their_weight_is_reached(top_p: float, experts: int) -> None:
    query = replace(ASK, max_experts=3, top_p=top_p)

    assert len(chosen(decide({"math": 0.6, "physics": 0.4}, query=query))) == experts


def test_the_configured_cap_limits_every_request() -> None:
    query = replace(ASK, max_experts=9)

    assert len(chosen(decide({"math": 1.0}, query=query, context=replace(CONTEXT, max_experts=2)))) == 2


def test_fallbacks_are_the_experts_own_then_the_others_by_quality() -> None:
    math = replace(MATH, fallback=("law", "gone"))
    law = SkillProfile("law", domains=("law",))

    decision = decide({"math": 0.9, "physics": 0.1}, math, GENERAL, SCIENCE, law)

    assert decision.fallbacks == ("law", "general", "science")


def test_excluded_experts_carry_their_reason() -> None:
    query = replace(ASK, constraints=Constraints(unfit={"math": "draining"}))

    decision = decide({"math": 1.0}, query=query)

    assert decision.excluded == {"math": "draining"}
    assert "math" not in {*chosen(decision), *decision.fallbacks}


def test_an_expert_without_domains_is_for_the_domain_of_its_own_name() -> None:
    poet = SkillProfile("poet", examples=("Write a sonnet.",))

    decision = decide({"poet": 0.9, "math": 0.1}, MATH, poet, GENERAL)

    assert chosen(decision) == ["poet"]
    assert reasons(decision)["poet"] == "its examples are about this (poet)"
