"""What is remembered of a conversation, and what makes a remembered decision another one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experts.profile import SkillProfile
from router.config import RoutingConfig
from router.recall import Recall
from router.router import Router
from router.types import Assignment, Constraints, DomainScores, Incumbent, Load, Objective, Query, RoutingDecision
from tests.fakes.encoder import FakeEncoder

ASK = Query(({"role": "user", "content": "What is a monoid?"},))
POOL = (SkillProfile("math", domains=("math",)), SkillProfile("law", domains=("law",)))
DECISION = RoutingDecision((Assignment("math", 1.0),), "profile", 0.9)
SCORES = DomainScores({"math": 0.9, "law": 0.1}, encode_ms=5.0, classify_ms=1.0)


def remembering(query: Query = ASK) -> Recall:
    recall = Recall(2)
    recall.keep_scores(recall.key(query), SCORES)
    recall.keep_decision(recall.key(query), query, POOL, DECISION)
    return recall


def test_the_same_question_about_the_same_experts_has_its_decision() -> None:
    same = Query(({"role": "user", "content": "What is a monoid?"},), seed=7)
    recall = remembering()

    assert recall.decision(recall.key(same), same, POOL) is DECISION


@pytest.mark.parametrize(
    "other",
    [
        replace(ASK, messages=({"role": "user", "content": "What is a group?"},)),
        replace(ASK, constraints=Constraints(unfit={"math": "asleep"})),
        replace(ASK, policy="cascade"),
        replace(ASK, max_experts=2),
        replace(ASK, top_p=0.8),
        replace(ASK, staged=True),
        replace(ASK, objective=Objective(cost_quality=0.5)),
        replace(ASK, thinking="on"),
        replace(ASK, prompt_tokens=9),
        replace(ASK, load={"math": Load(in_flight=64)}),
        replace(ASK, incumbent=Incumbent("law", "profile")),
    ],
)
def test_whatever_a_policy_may_read_makes_it_another_question(other: Query) -> None:
    recall = remembering()

    assert recall.decision(recall.key(other), other, POOL) is None


def test_other_experts_make_it_another_question() -> None:
    recall = remembering()

    assert recall.decision(recall.key(ASK), ASK, (*POOL,)[:1]) is None
    assert recall.decision(recall.key(ASK), ASK, tuple(replace(profile) for profile in POOL)) is None


def test_remembered_scores_took_no_time() -> None:
    recall = remembering()

    assert recall.scores(recall.key(ASK)) == replace(SCORES, encode_ms=0.0, classify_ms=0.0)


def test_the_least_recent_conversation_is_forgotten() -> None:
    recall = remembering()
    others = [replace(ASK, messages=({"role": "user", "content": str(n)},)) for n in range(2)]
    for other in others:
        recall.keep_scores(recall.key(other), SCORES)

    assert recall.scores(recall.key(ASK)) is None
    assert recall.scores(recall.key(others[0])) is not None


@pytest.mark.parametrize(
    "query",
    [
        replace(ASK, constraints=Constraints(modalities=frozenset({"text", "image"}))),
        replace(ASK, messages=({"role": "user", "content": "half a surrogate \ud800"},)),
    ],
)
def test_what_is_more_than_text_is_not_kept(query: Query) -> None:
    assert Recall(2).key(query) is None


async def test_a_router_decides_the_same_again_without_encoding() -> None:
    encoder = FakeEncoder()
    router = await Router.create(RoutingConfig(classifier="centroid"), POOL, encoder=encoder)
    first = await router.route(ASK, POOL)
    asked = encoder.asked
    again = await router.route(replace(ASK, seed=3), POOL)

    assert replace(first, timings_ms={}) == replace(again, timings_ms={})
    assert encoder.asked == asked
    assert again.timings_ms["encode"] == 0.0


async def test_a_router_decides_anew_when_an_expert_falls_asleep() -> None:
    pool = (*POOL, SkillProfile("general"))
    router = await Router.create(RoutingConfig(classifier="centroid"), pool, encoder=FakeEncoder())
    first = (await router.route(ASK, pool)).assignments[0].expert
    asleep = replace(ASK, constraints=Constraints(unfit={first: "asleep"}))

    assert (await router.route(asleep, pool)).assignments[0].expert != first
