"""What is read of a request, what rides along, and how headers stand in for a body field."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from experts.profile import SkillProfile
from gateway.errors import InvalidRequest
from gateway.schemas import ChatRequest, parse_chat
from gateway.translate import estimated_tokens, header_value, needed_capabilities, to_query

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


def test_options_that_are_read_but_not_acted_on_are_told() -> None:
    assert ("priority",) == parse(routing={"thinking": "on", "priority": 1}).options.not_honoured()
    assert () == parse(routing={"explain": True}).options.not_honoured()


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
