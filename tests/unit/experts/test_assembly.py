"""Chunks join into the body a client would have got without streaming."""

from __future__ import annotations

from typing import Any

from experts.assembly import assemble


def chunk(**choice: Any) -> dict[str, Any]:
    return {"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]}


def test_text_grows_and_the_last_finish_reason_stays() -> None:
    parts = [chunk(delta={"role": "assistant", "content": "a"}), chunk(delta={"content": "b"}, finish_reason="stop")]
    body = assemble(parts)

    expected = {
        "index": 0,
        "message": {"role": "assistant", "content": "ab"},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert [expected] == body["choices"]
    assert "chat.completion" == body["object"]


def test_tool_calls_merge_by_their_index() -> None:
    first = {"index": 0, "id": "c0", "type": "function", "function": {"name": "f", "arguments": "{"}}
    second = {"index": 1, "id": "c1", "type": "function", "function": {"name": "g", "arguments": ""}}
    rest = [{"index": 1, "function": {"arguments": "[]"}}, {"index": 0, "function": {"arguments": "}"}}]
    body = assemble([chunk(delta={"tool_calls": [call]}) for call in (first, second, *rest)])

    calls = body["choices"][0]["message"]["tool_calls"]
    assert [("c0", "f", "{}"), ("c1", "g", "[]")] == [
        (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls
    ]


def test_log_probabilities_extend() -> None:
    parts = [chunk(delta={}, logprobs={"content": [{"token": token}]}) for token in "ab"]

    assert {"content": [{"token": "a"}, {"token": "b"}]} == assemble(parts)["choices"][0]["logprobs"]


def test_several_choices_stay_apart_and_come_in_order() -> None:
    parts = [
        {"choices": [{"index": index, "delta": {"content": text}}]} for index, text in ((1, "b"), (0, "a"), (1, "c"))
    ]

    assert ["a", "bc"] == [choice["message"]["content"] for choice in assemble(parts)["choices"]]


def test_unknown_fields_of_body_choice_and_message_survive() -> None:
    part = {
        "system_fingerprint": "fp",
        "choices": [{"index": 0, "delta": {"reasoning": "r", "odd": 1}, "stop_reason": 7}],
    }
    body = assemble([part, {"choices": [], "usage": {"total_tokens": 3}}])

    assert ("fp", {"total_tokens": 3}) == (body["system_fingerprint"], body["usage"])
    assert 7 == body["choices"][0]["stop_reason"]
    assert ("r", 1) == (body["choices"][0]["message"]["reasoning"], body["choices"][0]["message"]["odd"])
