"""What is heard of an answer that may be kept is bounded by all that a server sends."""

from __future__ import annotations

from typing import Any

import pytest

from experts.types import AnswerChunk
from gateway.cache.hearing import Heard

CALL = {"index": 0, "function": {"arguments": "x" * 100}}
DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]


def piece(delta: dict[str, Any] | None = None, text: str = "", **more: Any) -> AnswerChunk:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": None, "logprobs": more.pop("logprobs", None)}
    return AnswerChunk({"id": "chatcmpl-" + "x" * 40, "model": "m" * 40, "choices": [choice], **more}, text=text)


@pytest.mark.parametrize(
    "chunk",
    [
        piece({"content": "x" * 100}, "x" * 100),
        piece({"tool_calls": [CALL]}),
        piece({"reasoning_content": "x" * 100}),
        piece(logprobs={"content": [{"token": "x" * 100}]}),
        piece(prompt_logprobs=["x" * 100]),
    ],
)
def test_whatever_a_server_sends_counts_against_the_bound(chunk: AnswerChunk) -> None:
    heard = Heard(1000)
    for _ in range(4):
        heard.note(chunk)
    within = len(heard.chunks)
    for _ in range(8):
        heard.note(chunk)

    assert (4, True, []) == (within, heard.too_much, heard.chunks)


def test_what_every_piece_repeats_does_not_count() -> None:
    heard = Heard(1000)
    for _ in range(100):
        heard.note(piece({"content": " four"}, " four"))

    assert (100, False) == (len(heard.chunks), heard.too_much)


def test_what_is_nested_too_deep_to_be_written_is_let_go() -> None:
    heard = Heard(10_000)
    heard.note(piece(odd=DEEP))

    assert heard.too_much
