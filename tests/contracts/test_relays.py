"""Every backend passes other endpoints on as they come: the same promises as for chat, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

import pytest

from experts.backends import BACKENDS, OpenAIBackend, make_client
from experts.errors import (
    DeadlinePassed,
    EndpointMissing,
    ExpertError,
    ExpertOverloaded,
    ExpertProtocolError,
    ExpertRejected,
    ExpertTimeout,
    ExpertUnavailable,
)
from experts.types import Endpoint, ExpertCall, Relay, RelayChunk
from tests.contracts.test_backends import expert_at
from tests.fakes.endpoints import FakeEndpoints
from tests.fakes.expert import FakeExpert, serving

STREAMED: list[Endpoint] = ["completions", "responses", "messages"]
WRITTEN = {"completions": "prompt", "embeddings": "input", "responses": "input", "messages": "messages"}


@pytest.fixture(params=sorted(BACKENDS))
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[OpenAIBackend]:
    async with make_client() as client:
        yield BACKENDS[request.param](client)


def relay_of(endpoint: Endpoint, text: str = "one two three", *, stream: bool = False) -> Relay:
    said = f'"{text}"' if endpoint != "messages" else f'[{{"role": "user", "content": "{text}"}}]'
    after = f',  "{WRITTEN[endpoint]}": {said}, "stream": {str(stream).lower()}, "odd" : 1.50}}'
    return Relay(endpoint, b'{ "model": ', after.encode(), {"anthropic-version": "2023-06-01"}, stream)


async def relayed(backend: OpenAIBackend, url: str, relay: Relay) -> list[RelayChunk]:
    expert, call = expert_at(url), ExpertCall("fake", (), relay=relay)
    found = [chunk async for chunk in backend.relay(expert, expert.replicas[0], call)]
    chunks = [chunk for chunk in found if isinstance(chunk, RelayChunk)]
    assert found == chunks
    return chunks


@pytest.mark.parametrize("endpoint", sorted(WRITTEN))
async def test_body_and_answer_pass_bit_for_bit(backend: OpenAIBackend, endpoint: Endpoint) -> None:
    answer = b'{"model" :  "fake", "n": 1e2, "text": "\\u00e9", "usage": {"prompt_tokens": 3, "input_tokens": 3}}\n'
    fake = FakeExpert(endpoints=FakeEndpoints(answer=answer))
    relay = relay_of(endpoint)
    async with serving(fake):
        [chunk] = await relayed(backend, fake.url, relay)

    assert [relay.before + b'"fake"' + relay.after] == fake.endpoints.bodies
    assert (answer, "application/json") == (chunk.data, chunk.content_type)
    assert chunk.usage is not None
    assert (3, 0) == (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
    assert "2023-06-01" == fake.endpoints.headers[0]["anthropic-version"]


@asynccontextmanager
async def sending(*pieces: bytes, pause_seconds: float, announced: int) -> AsyncIterator[str]:
    """Run a server whose answer to anything is a JSON body of so many bytes, piece by piece; yields its URL."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {announced}\r\n\r\n"
        writer.write(head.encode())
        for piece in pieces:
            await asyncio.sleep(pause_seconds)
            writer.write(piece)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


@pytest.mark.parametrize(
    ("idle_seconds", "error"), [(None, ExpertTimeout), (0.1, DeadlinePassed)], ids=["expert", "request"]
)
async def test_a_whole_answer_that_stops_in_the_middle_is_given_up_as_a_stream_is(
    backend: OpenAIBackend, idle_seconds: float | None, error: type[ExpertError]
) -> None:
    async with sending(b'{"text": "one', pause_seconds=0.0, announced=100) as url:
        expert = expert_at(url, idle_timeout_seconds=0.3)
        call = ExpertCall("fake", (), relay=relay_of("responses"), idle_seconds=idle_seconds)
        async with asyncio.timeout(5):
            with pytest.raises(error, match="in the middle"):
                [chunk async for chunk in backend.relay(expert, expert.replicas[0], call)]


async def test_a_whole_answer_may_be_slow_to_begin_and_come_in_pieces(backend: OpenAIBackend) -> None:
    pieces = [b'{"text": ', b'"one"', b"}"]
    async with sending(*pieces, pause_seconds=0.2, announced=len(b"".join(pieces))) as url:
        expert = expert_at(url, idle_timeout_seconds=0.3)
        call = ExpertCall("fake", (), relay=relay_of("responses"))
        chunks = [chunk async for chunk in backend.relay(expert, expert.replicas[0], call)]

    assert [b"".join(pieces)] == [chunk.data for chunk in chunks if isinstance(chunk, RelayChunk)]


@pytest.mark.parametrize("endpoint", STREAMED)
async def test_events_pass_bit_for_bit_and_say_text_and_tokens(backend: OpenAIBackend, endpoint: Endpoint) -> None:
    fake = FakeExpert()
    async with serving(fake):
        streamed = await relayed(backend, fake.url, relay_of(endpoint, stream=True))
        fake.endpoints.answer = sent = b": a comment\n\n" + b"".join(chunk.data for chunk in streamed)
        fake.endpoints.content_type = "text/event-stream"
        again = await relayed(backend, fake.url, relay_of(endpoint, stream=True))

    assert sent == b"".join(chunk.data for chunk in again)
    assert "one two three" == "".join(chunk.text for chunk in again)
    assert again[0].hollow
    usages = [chunk.usage for chunk in again if chunk.usage]
    told = [] if endpoint == "completions" else [(7, 3)]  # completions tell it only to those who ask
    assert told == [(usage.prompt_tokens, usage.completion_tokens) for usage in usages]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ExpertRejected),
        (422, ExpertRejected),
        (429, ExpertOverloaded),
        (503, ExpertOverloaded),
        (401, ExpertUnavailable),
        (500, ExpertUnavailable),
        (405, EndpointMissing),
    ],
)
async def test_each_status_means_one_error(backend: OpenAIBackend, status: int, error: type[ExpertError]) -> None:
    fake = FakeExpert(status=status, retry_after="7")
    async with serving(fake):
        with pytest.raises(error) as caught:
            await relayed(backend, fake.url, relay_of("messages"))

    assert error is type(caught.value)


async def test_a_server_without_the_endpoint_is_told_from_one_without_the_model(backend: OpenAIBackend) -> None:
    mute = FakeExpert(endpoints=FakeEndpoints(spoken=()))
    told = {"error": {"message": "The model `x` does not exist.", "param": "model", "code": 404}}
    strange = FakeExpert(status=404, endpoints=FakeEndpoints(refusal=told))
    async with serving(mute, strange):
        with pytest.raises(EndpointMissing, match="does not speak /v1/responses"):
            await relayed(backend, mute.url, relay_of("responses"))
        with pytest.raises(ExpertRejected, match="does not exist"):
            await relayed(backend, strange.url, relay_of("responses"))


@pytest.mark.parametrize("endpoint", STREAMED)
async def test_a_stream_that_breaks_or_ends_too_early_is_unavailable(
    backend: OpenAIBackend, endpoint: Endpoint
) -> None:
    breaks = FakeExpert(hang_up_after=2)
    async with serving(breaks):
        with pytest.raises(ExpertUnavailable):
            await relayed(backend, breaks.url, relay_of(endpoint, stream=True))
    ends = FakeExpert(endpoints=FakeEndpoints(answer=b'data: {"choices": []}\n\n', content_type="text/event-stream"))
    async with serving(ends):
        with pytest.raises(ExpertUnavailable, match="before the end"):
            await relayed(backend, ends.url, relay_of(endpoint, stream=True))


@pytest.mark.parametrize(
    "event", [b'data: {"error": {"message": "out of memory"}}', b'event: error\ndata: {"type":"error","message":"oom"}']
)
async def test_an_error_event_is_unavailable(backend: OpenAIBackend, event: bytes) -> None:
    fake = FakeExpert(endpoints=FakeEndpoints(answer=event + b"\n\n", content_type="text/event-stream"))
    async with serving(fake):
        with pytest.raises(ExpertUnavailable, match=r"reported: (out of memory|oom)"):
            await relayed(backend, fake.url, relay_of("responses", stream=True))


@pytest.mark.parametrize(
    ("answer", "kind", "stream"),
    [
        (b"{}", "application/json", True),
        (b"data: {}\n\n", "text/event-stream", False),
        (b"[1]", "application/json", False),
        (b"data: no json\n\n", "text/event-stream", True),
    ],
)
async def test_what_is_no_answer_is_a_protocol_error(
    backend: OpenAIBackend, answer: bytes, kind: str, stream: bool
) -> None:
    fake = FakeExpert(endpoints=FakeEndpoints(answer=answer, content_type=kind))
    async with serving(fake):
        with pytest.raises(ExpertProtocolError):
            await relayed(backend, fake.url, relay_of("completions", stream=stream))


async def test_what_is_not_json_passes_as_it_is(backend: OpenAIBackend) -> None:
    fake = FakeExpert(endpoints=FakeEndpoints(answer=b"\x00\x01", content_type="application/octet-stream"))
    async with serving(fake):
        [chunk] = await relayed(backend, fake.url, relay_of("embeddings"))

    assert (b"\x00\x01", "application/octet-stream", None) == (chunk.data, chunk.content_type, chunk.usage)


async def test_closing_the_relay_aborts_the_servers_work(backend: OpenAIBackend) -> None:
    fake = FakeExpert(word_delay=0.01)
    async with serving(fake):
        expert = expert_at(fake.url)
        relay = relay_of("messages", " ".join(["word"] * 200), stream=True)
        async with aclosing(backend.relay(expert, expert.replicas[0], ExpertCall("fake", (), relay=relay))) as chunks:
            await anext(chunks)
        for _ in range(100):
            if not fake.running:
                break
            await asyncio.sleep(0.02)
        assert (0, 1) == (fake.running, fake.aborted)
