"""What is read of a request, what rides along, and how headers stand in for a body field."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from experts.config import ExpertConfig
from experts.profile import SkillProfile, ThinkingSwitch
from experts.registry import Expert
from gateway.errors import InvalidRequest
from gateway.planning import plan
from gateway.schemas import ChatRequest, parse_chat
from gateway.translate import estimated_tokens, for_expert, header_value, needed_capabilities, to_query
from router.types import Assignment, Objective, RoutingDecision, Thinking

HELLO = [{"role": "user", "content": "hello"}]


def parse(headers: dict[str, str] | None = None, **body: Any) -> ChatRequest:
    return parse_chat(orjson.dumps({"messages": HELLO, **body}), headers or {})


def test_everything_that_is_not_ours_rides_along() -> None:
    request = parse(model="math", stream=True, temperature=0.1, anything={"a": 1})

    assert ("math", True) == (request.model, request.stream)
    assert {"temperature": 0.1, "anything": {"a": 1}} == request.parameters


def test_auto_is_the_model_when_none_is_named() -> None:
    assert "auto" == parse().model


def test_headers_give_options_and_the_body_wins_over_them() -> None:
    headers = {"x-consilium-policy": "uniform", "x-consilium-experts": "a, b", "x-consilium-deadline-ms": "500"}
    request = parse(headers, routing={"policy": "profile"})

    assert ("profile", ["a", "b"], 500) == (
        request.options.policy,
        request.options.experts.allow,
        request.options.deadline_ms,
    )


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": 5}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"routing": []}, "routing"),
        ({"routing": {"max_experts": 0}}, "routing.max_experts"),
        ({"routing": {"experts": {"alow": []}}}, "routing.experts.alow"),
    ],
)
def test_a_bad_field_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(**body)

    assert param == caught.value.param


def test_a_client_may_ask_for_some_priority_but_not_for_the_batch_queues() -> None:
    assert 10 == parse(routing={"priority": 10}).options.priority
    for beyond in (11, -11, -100):
        with pytest.raises(InvalidRequest, match="routing.priority"):
            parse(routing={"priority": beyond})


def test_capabilities_are_asked_for_only_where_somebody_has_them() -> None:
    plain, able = SkillProfile("plain"), SkillProfile("able", capabilities=frozenset({"tools"}))
    request = parse(tools=[{"type": "function"}])

    assert frozenset() == needed_capabilities(request, [plain])
    assert frozenset({"tools"}) == needed_capabilities(request, [plain, able])


def test_the_query_carries_modalities_constraints_and_an_estimate_of_length() -> None:
    picture = [{"role": "user", "content": [{"type": "text", "text": "x" * 300}, {"type": "image_url"}]}]
    request = parse(messages=picture, max_tokens=100, routing={"experts": {"deny": ["a"], "require_tags": ["t"]}})
    query = to_query(request, [], {"b": "starting"}, 2)

    assert frozenset({"text", "image"}) == query.constraints.modalities
    assert (frozenset({"a"}), frozenset({"t"}), 2) == (
        query.constraints.deny,
        query.constraints.require_tags,
        query.max_experts,
    )
    assert 100 + 100 <= estimated_tokens(request) <= 100 + 100 + 1000


def test_a_header_value_cannot_break_out_of_its_line() -> None:
    assert "a_b_x-evil: 1" == header_value("a\nb\rx-evil: 1")


def test_what_is_asked_of_cost_time_and_thinking_becomes_part_of_the_routing_question() -> None:
    options = {"cost_quality": 0.3, "max_cost_usd": 0.01, "max_latency_ms": 900, "thinking": "off"}
    messages = [{"role": "user", "content": "x" * 4000}]

    query = to_query(parse(messages=messages, max_tokens=50, routing=options), [], {}, 1)

    assert Objective(0.3, 0.01, 900.0) == query.objective
    assert ("off", 1000, 50) == (query.thinking, query.prompt_tokens, query.max_output_tokens)


def test_a_session_is_a_header_and_no_longer_than_it_needs_to_be() -> None:
    assert None is parse().session
    assert "s1" == parse({"x-consilium-session": "s1"}).session
    assert 256 == len(parse({"x-consilium-session": "s" * 5000}).session or "")


@pytest.mark.parametrize(
    ("thinking", "sent"),
    [
        ("auto", {"kwargs": {"style": "plain"}}),
        ("on", {"kwargs": {"think": True, "style": "plain"}, "reasoning_effort": "high"}),
        ("off", {"kwargs": {"think": False, "style": "plain"}}),
    ],
)
def test_the_fields_of_a_thinking_switch_lie_under_the_clients_own(thinking: Thinking, sent: dict[str, Any]) -> None:
    switch = ThinkingSwitch({"kwargs": {"think": True}, "reasoning_effort": "high"}, {"kwargs": {"think": False}})
    client = {"kwargs": {"style": "plain"}}

    assert sent == for_expert(client, SkillProfile("able", thinking=switch), thinking)
    assert client == for_expert(client, SkillProfile("plain"), thinking)


def test_calls_that_come_one_after_the_other_share_the_deadline() -> None:
    decision = RoutingDecision((Assignment("a", 0.5), Assignment("b", 0.5)), "cascade", 1.0)
    config = ExpertConfig.model_validate({"name": "a", "replicas": [{"base_url": "http://127.0.0.1:1/v1"}]})
    snapshot = {name: Expert(config, SkillProfile(name), ()) for name in ("a", "b")}

    together, in_turn = (plan(decision, parse(routing={"deadline_ms": 3000}), snapshot, turns) for turns in (1, 2))

    assert [3.0, 3.0] == [call.deadline_seconds for call in together.calls]
    assert [1.5, 1.5] == [call.deadline_seconds for call in in_turn.calls]
