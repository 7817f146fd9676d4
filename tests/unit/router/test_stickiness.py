"""A conversation keeps its expert while nothing changed, and loses it when the topic does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experts.profile import Skill, SkillProfile
from experts.types import Message
from router import Router, RoutingConfig
from router.policies import POLICIES, PolicyContext
from router.policies.profile import ProfilePolicy
from router.types import Constraints, DomainScores, Incumbent, Query, RoutingDecision
from tests.fakes.encoder import FakeEncoder

ASK = Query(messages=({"role": "user", "content": "?"},))
CONTEXT = PolicyContext(stickiness=0.05)
FIRST = SkillProfile("first", measured={"math": Skill(0.72, 10_000), "law": Skill(0.3, 10_000)})
SECOND = SkillProfile("second", measured={"math": Skill(0.70, 10_000), "law": Skill(0.6, 10_000)})
WEAK = SkillProfile("weak", measured={"math": Skill(0.60, 10_000), "law": Skill(0.5, 10_000)})
POOL = (FIRST, SECOND, WEAK)


def decide(incumbent: Incumbent | None, query: Query = ASK, **scores: float) -> RoutingDecision:
    asked = replace(query, incumbent=incumbent)
    return ProfilePolicy().decide(asked, DomainScores(scores or {"math": 1.0}), POOL, CONTEXT)


def test_a_slightly_better_expert_takes_no_conversation_over() -> None:
    decision = decide(Incumbent("second", "profile", "math"))

    assert "second" == decision.assignments[0].expert
    assert "second stays while the conversation's topic (math) does" == decision.reason
    assert "first" == decision.fallbacks[0]


@pytest.mark.parametrize(
    "incumbent",
    [
        None,
        Incumbent("weak", "profile", "math"),
        Incumbent("second", "profile", "law"),
        Incumbent("second", "uniform", "math"),
        Incumbent("gone", "profile", "math"),
    ],
    ids=["no session", "clearly worse", "another topic before", "another policy before", "removed since"],
)
def test_otherwise_the_best_expert_answers(incumbent: Incumbent | None) -> None:
    assert "first" == decide(incumbent).assignments[0].expert


def test_an_expert_that_cannot_serve_loses_its_conversation() -> None:
    asleep = replace(ASK, constraints=Constraints(unfit={"second": "asleep"}))

    assert "first" == decide(Incumbent("second", "profile", "math"), asleep).assignments[0].expert


@pytest.mark.parametrize("policy", ["uniform", "random"])
def test_control_arms_keep_their_conversations_too(policy: str) -> None:
    drawn = {
        POLICIES[policy]
        .decide(replace(ASK, seed=n, incumbent=Incumbent("weak", policy)), DomainScores({}), POOL, CONTEXT)
        .assignments[0]
        .expert
        for n in range(20)
    }

    assert {"weak"} == drawn


def test_random_draws_anew_for_each_request_and_uniform_by_the_conversation() -> None:
    def drawn(policy: str) -> list[str]:
        decisions = [POLICIES[policy].decide(replace(ASK, seed=n), DomainScores({}), POOL, CONTEXT) for n in range(300)]
        return [decision.assignments[0].expert for decision in decisions]

    assert 1 == len(set(drawn("uniform")))
    assert all(80 <= drawn("random").count(profile.expert) <= 120 for profile in POOL)


async def test_a_change_of_topic_takes_at_most_two_turns() -> None:
    pool = (SkillProfile("maths", domains=("math",)), SkillProfile("jurist", domains=("law",)))
    config = RoutingConfig(classifier="centroid", budget_ms=5000, default=None)
    router = await Router.create(config, pool, encoder=FakeEncoder())
    turns = [
        "Solve the quadratic equation and integrate the polynomial derivative.",
        "And what is the derivative of the integral of the matrix equation?",
        "Now prove the theorem about the probability of the equation.",
        "Can my landlord keep the deposit under the tenancy contract?",
        "Which court hears a dispute about a contract and liability?",
    ]
    messages: tuple[Message, ...] = ()
    incumbent, answered = None, []
    for text in turns:
        messages = (*messages, {"role": "user", "content": text})
        decision = await router.route(Query(messages, incumbent=incumbent), pool)
        incumbent = Incumbent(
            decision.assignments[0].expert, decision.policy, max(decision.domains, key=decision.domains.__getitem__)
        )
        answered.append(decision.assignments[0].expert)

    assert ["maths"] * 3 == answered[:3]
    assert "jurist" == answered[4]
