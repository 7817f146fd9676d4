"""Every backend keeps the same promises against a server with knobs, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from experts.backends import BACKENDS, OpenAIBackend, make_client
from experts.backends.openai import HTTPX_ERRORS
from experts.config import ExpertConfig
from experts.errors import (
    ExpertError,
    ExpertOverloaded,
    ExpertProtocolError,
    ExpertRejected,
    ExpertUnavailable,
)
from experts.registry import Expert, static_replicas
from experts.types import AnswerChunk, ExpertCall
from tests.fakes.expert import FakeExpert, serving

CALL = ExpertCall("fake", ({"role": "user", "content": "hello"},), {"temperature": 0})


@pytest.fixture(params=sorted(BACKENDS))
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[OpenAIBackend]:
    async with make_client() as client:
        yield BACKENDS[request.param](client)


def expert_at(url: str, **limits: float) -> Expert:
    config = ExpertConfig.model_validate({"name": "fake", "replicas": [{"base_url": url}], "limits": limits})
    return Expert(config, config.profile(), static_replicas(config))


async def chunks(backend: OpenAIBackend, url: str) -> list[AnswerChunk]:
    expert = expert_at(url)
    return [chunk async for chunk in backend.stream(expert, expert.replicas[0], CALL)]


async def test_a_good_answer_comes_as_text_finish_and_usage(backend: OpenAIBackend) -> None:
    fake = FakeExpert(reply=lambda _: "one two")
    async with serving(fake):
        answer = await chunks(backend, fake.url)

    assert "one two" == "".join(chunk.text for chunk in answer)
    assert ["stop"] == [chunk.finish_reason for chunk in answer if chunk.finish_reason]
    assert [2] == [chunk.usage.completion_tokens for chunk in answer if chunk.usage]
    assert (True, 0) == (fake.requests[0]["stream"], fake.requests[0]["temperature"])


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ExpertRejected),
        (404, ExpertRejected),
        (413, ExpertRejected),
        (422, ExpertRejected),
        (429, ExpertOverloaded),
        (503, ExpertOverloaded),
        (401, ExpertUnavailable),
        (500, ExpertUnavailable),
        (502, ExpertUnavailable),
    ],
)
async def test_each_status_means_one_error(backend: OpenAIBackend, status: int, error: type[ExpertError]) -> None:
    fake = FakeExpert(status=status, retry_after="7")
    async with serving(fake):
        with pytest.raises(error) as caught:
            await chunks(backend, fake.url)

    assert error is type(caught.value)
    if isinstance(caught.value, ExpertOverloaded):
        assert 7.0 == caught.value.retry_after


async def test_nobody_listening_is_unavailable(backend: OpenAIBackend) -> None:
    with pytest.raises(ExpertUnavailable):
        await chunks(backend, "http://127.0.0.1:9/v1")


async def test_a_broken_stream_is_unavailable_after_what_came(backend: OpenAIBackend) -> None:
    fake = FakeExpert(reply=lambda _: "one two three", hang_up_after=2)
    came: list[str] = []
    async with serving(fake):
        expert = expert_at(fake.url)
        with pytest.raises(ExpertUnavailable):
            async for chunk in backend.stream(expert, expert.replicas[0], CALL):
                came.append(chunk.text)  # noqa: PERF401 - what came before the error is the point

    assert "one two" == "".join(came)


async def test_what_is_not_a_chat_completion_is_a_protocol_error(backend: OpenAIBackend) -> None:
    fake = FakeExpert(garbage=True)
    async with serving(fake):
        with pytest.raises(ExpertProtocolError, match="not JSON"):
            await chunks(backend, fake.url)


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [7]},
        {"choices": [{"index": "x"}]},
        {"choices": [{"index": 10**9, "delta": {}}]},
        {"choices": [{"index": -1, "delta": {}}]},
        {"choices": [{"delta": "text"}]},
        {"choices": [{"delta": {"content": ["text"]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 10**9}]}}]},
        {"choices": [{"delta": {"tool_calls": ["f"]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": "f"}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": {}}}]}}]},
        {"choices": [{"delta": {}, "logprobs": [1]}]},
        {"choices": [], "usage": [1]},
        {"choices": [], "usage": {"prompt_tokens": "many"}},
    ],
    ids=str,
)
async def test_a_chunk_of_another_shape_is_a_protocol_error(backend: OpenAIBackend, chunk: dict[str, Any]) -> None:
    fake = FakeExpert(chunks=[chunk])
    async with serving(fake):
        with pytest.raises(ExpertProtocolError, match="not a chat completion"):
            await chunks(backend, fake.url)


@pytest.mark.parametrize("sent", [[], [{"choices": [], "usage": {"prompt_tokens": 3}}]])
async def test_an_answer_without_a_choice_is_a_protocol_error(
    backend: OpenAIBackend, sent: list[dict[str, Any]]
) -> None:
    fake = FakeExpert(chunks=sent)
    async with serving(fake):
        with pytest.raises(ExpertProtocolError, match="without any answer"):
            await chunks(backend, fake.url)


async def test_closing_the_stream_aborts_the_servers_work(backend: OpenAIBackend) -> None:
    fake = FakeExpert(reply=lambda _: " ".join(["word"] * 200), word_delay=0.01)
    async with serving(fake):
        expert = expert_at(fake.url)
        stream = backend.stream(expert, expert.replicas[0], CALL)
        await anext(stream)
        await stream.aclose()
        for _ in range(100):
            if not fake.running:
                break
            await asyncio.sleep(0.02)
        assert (0, 1) == (fake.running, fake.aborted)


async def test_probing_asks_for_the_experts_model(backend: OpenAIBackend) -> None:
    good, other = FakeExpert(models=("fake",)), FakeExpert(models=("else",))
    async with serving(good, other):
        expert = expert_at(good.url)
        await backend.probe(expert, expert.replicas[0])
        wrong = expert_at(other.url)
        with pytest.raises(ExpertUnavailable, match="serves else, not 'fake'"):
            await backend.probe(wrong, wrong.replicas[0])


def test_every_error_of_httpx_has_a_translation() -> None:
    def family(kind: type[httpx.HTTPError]) -> set[type[httpx.HTTPError]]:
        return {kind}.union(*(family(child) for child in kind.__subclasses__()))

    untranslated = [kind for kind in family(httpx.TransportError) if not set(kind.__mro__) & set(HTTPX_ERRORS)]
    assert [] == untranslated
