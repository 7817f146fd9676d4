"""What makes a kept answer another: tables of two requests, decisions or records, and whether their keys are one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from experts.config import ExpertConfig
from experts.registry import Expert
from gateway.cache.key import concerned, key_of
from gateway.schemas import ExpertChoice, parse_chat
from router.types import Assignment, CandidateScore, RoutingDecision

REQUEST = parse_chat(b'{"messages": [{"role": "user", "content": "hi"}], "seed": 1, "top_p": 0.5}', {})
DECISION = RoutingDecision((Assignment("math", 0.7), Assignment("law", 0.3)), "profile", 0.9)


def key(**more: Any) -> str:
    usual: dict[str, Any] = {
        "tenant": "key_1",
        "request": REQUEST,
        "decision": DECISION,
        "strategy": "vote",
        "fusers": ("base",),
        "records": {"math": "a", "law": "b"},
        "settings": "s",
    }
    said = {**usual, **more}
    return key_of(said.pop("tenant"), said.pop("request"), said.pop("decision"), **said)


def quality(value: float) -> RoutingDecision:
    return replace(DECISION, candidates=(CandidateScore("math", 0.5, chosen=True, reason="", quality=value),))


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "key_2"},
        {"request": replace(REQUEST, model="council")},
        {"request": replace(REQUEST, parameters={"seed": 2, "top_p": 0.5})},
        {"request": replace(REQUEST, within=ExpertChoice(allow=["math"]))},
        {"decision": replace(DECISION, policy="skill")},
        {"decision": replace(DECISION, assignments=DECISION.assignments[:1])},
        {"decision": replace(DECISION, assignments=(Assignment("math", 0.6), Assignment("law", 0.4)))},
        {"decision": replace(DECISION, assignments=(Assignment("math", 0.7, "on"), Assignment("law", 0.3)))},
        {"decision": replace(DECISION, stages=(1, 1))},
        {"decision": quality(0.8)},
        {"strategy": "rank"},
        {"fusers": ("law",)},
        {"records": {"math": "c", "law": "b"}},
        {"settings": "t"},
    ],
)
def test_another_key(change: dict[str, Any]) -> None:
    assert key() != key(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"request": replace(REQUEST, stream=True)},
        {"request": replace(REQUEST, parameters={"top_p": 0.5, "seed": 1})},
        {"request": replace(REQUEST, parameters={**REQUEST.parameters, "stream_options": {"include_usage": True}})},
        {"request": replace(REQUEST, options=REQUEST.options.model_copy(update={"explain": True, "priority": 3}))},
        {"decision": replace(DECISION, confidence=0.1, reason="else", timings_ms={"encode": 3.0})},
    ],
)
def test_the_same_key(change: dict[str, Any]) -> None:
    assert key() == key(**change)


def test_what_one_expert_says_alone_does_not_hang_on_how_good_it_is_believed_to_be() -> None:
    alone = {"strategy": "single", "fusers": ()}

    assert key(**alone, decision=quality(0.8)) == key(**alone, decision=quality(0.7))
    assert key(decision=quality(0.8)) != key(decision=quality(0.7))


def test_an_adapters_answer_hangs_on_its_base_too_and_a_fusions_on_everybody() -> None:
    written = [
        {"name": "base", "replicas": [{"base_url": "http://a/v1"}]},
        {"name": "math", "adapter": {"base": "base", "path": "adapters/math"}},
        {"name": "law", "replicas": [{"base_url": "http://b/v1"}]},
    ]
    configs = [ExpertConfig.model_validate(each) for each in written]
    world = {config.name: Expert(config, config.profile(), ()) for config in configs}
    alone = replace(DECISION, assignments=(Assignment("math", 1.0),))

    assert ["math", "base"] == concerned(alone, world, "single")
    assert ["base", "math", "law"] == concerned(alone, world, "synthesize")
