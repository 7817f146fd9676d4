"""Half a surrogate: JSON can name it, UTF-8 cannot say it. Wherever an expert's JSON is read, none comes out again."""

from __future__ import annotations

import json

import orjson
import pytest

from aggregator.extraction import final_answer
from aggregator.form import Form
from experts.types import AnswerChunk, CallFacts, whole_answer
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving

HALVES = ("\\ud800", "\\udfff", "\\ud83d\\ud83d", "x\\udc00y")


@pytest.mark.parametrize("half", HALVES)
def test_a_final_answer_can_be_written(half: str) -> None:
    for text in (f'{{"answer": "{half}"}}', f'so: {{"answer": "{half}", "x": 1}}', f'["{half}"]', f"\\boxed{{{half}}}"):
        assert orjson.dumps(final_answer(text))


@pytest.mark.parametrize("half", HALVES)
def test_what_is_said_of_a_form_can_be_written(half: str) -> None:
    schema = {"additionalProperties": {"type": "string"}, "type": "object"}
    for text in (f'{{"{half}": 1}}', f'{{"a": ["{half}"]}}', f'"{half}"'):
        chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
        answer = whole_answer([AnswerChunk(chunk, text, "stop")], CallFacts(expert="x"))
        assert orjson.dumps(Form(schema).lacks(answer))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fusion", ["vote", "rank", "synthesize"])
async def test_experts_that_answer_so_are_fused_all_the_same(fusion: str, stream: bool) -> None:
    said = json.dumps({"answer": "\ud800"})
    async with (
        serving(one := FakeExpert(reply=lambda _: said)),
        serving(two := FakeExpert(reply=lambda _: said)),
        gateway_over([expert_record("math", one), expert_record("prose", two)]) as client,
    ):
        routing = {"fusion": fusion, "max_experts": 2, "experts": {"allow": ["math", "prose"]}, "explain": True}
        body = {
            "model": "council",
            "messages": [{"role": "user", "content": "x"}],
            "routing": routing,
            "stream": stream,
        }
        answer = await client.post("/v1/chat/completions", json=body)

    assert 200 == answer.status_code
    assert '"error":{' not in answer.text
    assert "internal_error" not in answer.text
