"""What becomes of a request to another endpoint: its bytes, what is read of it, the names and errors of its answer."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.errors import EndpointMissing, ExpertOverloaded, ExpertRejected, ExpertTimeout
from experts.types import Endpoint, RelayChunk
from gateway.errors import InvalidRequest, error_body, wire
from gateway.passing.errors import error_event, refusal_type, shaped
from gateway.passing.naming import named
from gateway.passing.requests import cut, parse
from gateway.passing.splicing import members, without
from router.conversation import message_text

ODD = b'{ "prompt" : "caf\\u00e9 \xf0\x9f\x8d\xb5", "temperature": 1.0e0, "seed":12345678901234567890, "stop" :[ ] }'
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def whole(content: bytes, model: str = "m") -> bytes:
    before, after = cut(content)
    return before + orjson.dumps(model) + after


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (b'{"model": "auto", "prompt": "hi"}', b'{"model": "m", "prompt": "hi"}'),
        (b'{"prompt":"hi" ,"model" :"au\\u0074o" }', b'{"prompt":"hi" ,"model" :"m" }'),
        (b'{"prompt": "hi", "model": null}', b'{"prompt": "hi", "model": "m"}'),
        (b'{"prompt": "hi"}', b'{"model": "m", "prompt": "hi"}'),
        (b" { }", b' {"model": "m" }'),
        (b'{"routing": {"priority": 1}, "model": "a", "x": 1}', b'{"model": "m", "x": 1}'),
        (b'{"model": "a", "x": 1 , "routing": {"a": ["}"]}}', b'{"model": "m", "x": 1 }'),
        (b'{"model": "a", "x": {"model": "b", "routing": 1}}', b'{"model": "m", "x": {"model": "b", "routing": 1}}'),
        (b'{"m\\u006fdel": "a"}', b'{"m\\u006fdel": "m"}'),
        (b'{"x": "\\"model\\": 1", "y": "\\\\", "model": "a"}', b'{"x": "\\"model\\": 1", "y": "\\\\", "model": "m"}'),
    ],
)
def test_only_the_models_name_and_routing_change(content: bytes, sent: bytes) -> None:
    assert sent == whole(content)


@pytest.mark.parametrize("content", [b'{"model": "a", "model": "b"}', b'{"routing": {}, "x": 1, "routing": {}}'])
def test_what_we_read_may_not_stand_there_twice(content: bytes) -> None:
    with pytest.raises(InvalidRequest, match="twice"):
        cut(content)


@given(st.dictionaries(st.text(), VALUES, max_size=6), st.booleans(), st.sampled_from([None, 1]))
def test_any_object_survives(body: dict[str, Any], escaped: bool, indent: int | None) -> None:
    body = {**body, "model": "auto", "routing": {"a": 1}}
    content = json.dumps(body, ensure_ascii=escaped, indent=indent).encode("utf-8", "surrogatepass")
    names = [member.name for member in members(content)]
    sent = json.loads(whole(content).decode("utf-8", "surrogatepass"))

    assert list(body) == names
    assert {**{k: v for k, v in body.items() if k != "routing"}, "model": "m"} == sent


@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=5), st.data())
def test_a_member_goes_without_a_trace(body: dict[str, Any], data: st.DataObject) -> None:
    content = json.dumps(body).encode()
    gone = data.draw(st.sampled_from(list(members(content))))

    assert {k: v for k, v in body.items() if k != gone.name} == json.loads(without(content, gone))


def test_nothing_is_found_in_what_is_no_object() -> None:
    assert [[]] * 4 == [list(members(text)) for text in (b"", b"[1]", b'"model"', b"[DONE]")]


def test_a_megabyte_in_one_string_is_cut_as_quickly_as_a_word() -> None:
    text = json.dumps('a line\nof "text" ' * 60_000).encode()

    assert b'{"prompt": ' + text + b', "model": "m"}' == whole(b'{"prompt": ' + text + b', "model": "auto"}')


HI: dict[Endpoint, dict[str, Any]] = {
    "completions": {"prompt": "hi"},
    "embeddings": {"input": "hi"},
    "responses": {"input": "hi"},
    "messages": {"messages": [{"role": "user", "content": "hi"}]},
}


@pytest.mark.parametrize("endpoint", sorted(HI))
def test_a_short_request_is_one_message_of_the_user_for_auto(endpoint: Endpoint) -> None:
    asked = parse(endpoint, orjson.dumps(HI[endpoint]), {})

    assert ("auto", False, endpoint) == (asked.model, asked.stream, asked.endpoint)
    assert ({"role": "user", "content": "hi"},) == asked.messages


@pytest.mark.parametrize(
    ("endpoint", "body", "texts", "parameters"),
    [
        ("completions", {"prompt": ["a", "b"], "max_tokens": 5}, ["a\nb"], {"max_tokens": 5, "n": 2}),
        ("completions", {"prompt": [1, 2, 3], "n": 2}, [""], {"n": 2}),
        ("embeddings", {"input": ["a", "b"]}, ["a\nb"], {"max_tokens": 1}),
        ("embeddings", {"input": [[1, 2], [3]]}, [""], {"max_tokens": 1}),
        (
            "responses",
            {
                "instructions": "be brief",
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
                    {"type": "function_call", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "output": "b"},
                    {"type": "reasoning", "summary": []},
                ],
                "max_output_tokens": 9,
                "tools": [{"type": "function"}],
                "text": {"format": {"type": "json_schema"}},
            },
            ["be brief", "a", "{}", "b", ""],
            {"max_tokens": 9, "tools": [{"type": "function"}], "response_format": {"type": "json_schema"}},
        ),
        (
            "messages",
            {
                "system": [{"type": "text", "text": "be brief"}],
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "content": "42"}, {"type": "text", "text": "a"}],
                    }
                ],
                "max_tokens": 7,
                "output_config": {"format": {"type": "json_schema"}},
            },
            ["be brief", "42", "a"],
            {"max_tokens": 7, "response_format": {"type": "json_schema"}},
        ),
    ],
)
def test_texts_and_limits_are_read_wherever_they_stand(
    endpoint: Endpoint, body: dict[str, Any], texts: list[str], parameters: dict[str, Any]
) -> None:
    asked = parse(endpoint, orjson.dumps(body), {})

    assert texts == [message_text(message) for message in asked.messages]
    assert parameters.items() <= asked.parameters.items()


@pytest.mark.parametrize(
    ("endpoint", "body", "param"),
    [
        ("completions", {}, "prompt"),
        ("completions", {"prompt": {"text": "hi"}}, "prompt"),
        ("embeddings", {}, "input"),
        ("embeddings", {"input": []}, "input"),
        ("responses", {"input": 5}, "input"),
        ("responses", {"input": "hi", "background": True}, "background"),
        ("responses", {"input": "hi", "previous_response_id": "resp_1"}, "previous_response_id"),
        ("messages", {"messages": []}, "messages"),
        ("messages", {"messages": [{"role": "user"}]}, "messages[0]"),
        ("messages", {**HI["messages"], "stream": "yes"}, "stream"),
        ("messages", {**HI["messages"], "model": "council"}, "model"),
        ("completions", {"prompt": "hi", "routing": {"fusion": "vote"}}, "routing.fusion"),
        ("completions", {"prompt": "hi", "routing": {"wrong": 1}}, "routing.wrong"),
    ],
)
def test_what_cannot_be_passed_on_is_refused_by_its_field(endpoint: Endpoint, body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(endpoint, orjson.dumps(body), {})

    assert param == refused.value.param


def test_headers_of_the_protocol_go_on_and_no_others() -> None:
    headers = {"anthropic-version": "2023-06-01", "x-api-key": "secret", "authorization": "Bearer secret"}
    asked, other = (parse(endpoint, orjson.dumps(HI[endpoint]), headers) for endpoint in ("messages", "completions"))

    assert asked.relay is not None
    assert other.relay is not None
    assert {"anthropic-version": "2023-06-01"} == asked.relay.headers
    assert {} == other.relay.headers


@pytest.mark.parametrize(
    ("data", "kind", "shown"),
    [
        (b'{"model" : "hub/x", "n": {"model": 1}}', "application/json", b'{"model" : "math", "n": {"model": 1}}'),
        (b'{"content": [{"input": {"model": "T"}}]}', "application/json", b'{"content": [{"input": {"model": "T"}}]}'),
        (b'data: {"model":"hub/x","choices":[]}\n\n', "text/event-stream", b'data: {"model":"math","choices":[]}\n\n'),
        (
            b'event: message_start\r\ndata: {"message": {"id": 1, "model": "hub/x"}}\r\n\r\n',
            "text/event-stream; charset=utf-8",
            b'event: message_start\r\ndata: {"message": {"id": 1, "model": "math"}}\r\n\r\n',
        ),
        (
            b'data: {"response": {"metadata": {"model": "T"}, "model": "hub/x"}}\n\n',
            "text/event-stream",
            b'data: {"response": {"metadata": {"model": "T"}, "model": "math"}}\n\n',
        ),
        (b'data: {"delta": {"model": "T"}}\n\n', "text/event-stream", b'data: {"delta": {"model": "T"}}\n\n'),
        (b': "model"\n\n', "text/event-stream", b': "model"\n\n'),
        (b'\x00"model": "x"', "application/octet-stream", b'\x00"model": "x"'),
    ],
)
def test_an_answer_carries_the_experts_name_and_nothing_else_changes(data: bytes, kind: str, shown: bytes) -> None:
    assert shown == named(RelayChunk({}, data=data, content_type=kind), "math")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidRequest("no"), "invalid_request_error"),
        (ExpertOverloaded("math", "full"), "rate_limit_error"),
        (ExpertTimeout("math", "late"), "timeout_error"),
        (EndpointMissing("math", "messages"), "not_found_error"),
        (ExpertRejected("math", "no", status=413), "request_too_large"),
        (ExpertRejected("math", "no", status=422), "invalid_request_error"),
        (ExpertRejected("math", "no", body={"type": "billing_error"}), "billing_error"),
        (ExpertRejected("math", "no", body={"type": "BadRequestError"}), "invalid_request_error"),
    ],
)
def test_errors_have_anthropics_shape_under_its_path_only(error: Any, kind: str) -> None:
    status, body = wire(error).status, error_body(error)
    theirs = shaped("/v1/messages", status, body, "req-1", refusal_type(error))

    assert body == shaped("/v1/chat/completions", status, body)
    assert ("error", "req-1", kind) == (theirs["type"], theirs["request_id"], theirs["error"]["type"])
    assert str(error) == theirs["error"]["message"]


def test_an_error_in_mid_stream_is_an_event_of_the_endpoint() -> None:
    error = ExpertTimeout("math", "late")
    plain, response, message = (error_event(endpoint, error) for endpoint in ("completions", "responses", "messages"))

    assert plain.startswith(b'data: {"error":')
    assert response.startswith(b'event: error\ndata: {"type":"error","code":"expert_timeout","message":"late"')
    assert message.startswith(b'event: error\ndata: {"type":"error","error":{')
    assert all(event.endswith(b"}\n\n") for event in (plain, response, message))
