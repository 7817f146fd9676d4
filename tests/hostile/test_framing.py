"""What an expert's server may do to its stream: whatever it is, the text survives or an OpenAI error comes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experts import sse
from tests.conftest import gateway_over
from tests.hostile.raw_upstream import STREAM, RawUpstream, raw_upstream
from tests.hostile.shape import not_openai

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
BLANK_LINES = st.sampled_from(
    [a + b for a, b in product((b"\n", b"\r\n", b"\r"), repeat=2) if (a, b) != (b"\r", b"\n")]
)
JSON_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
COMMENT = st.sampled_from(
    [b": keep-alive", b":", b"event: x", b"id: 7", b"retry: 10", b"data:", b"event: ping", b"odd"]
)
SECONDS = 10.0


def chunk(text: str | None, finish: str | None = None, **more: Any) -> bytes:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"object": "chat.completion.chunk", "choices": [choice], **more}, ensure_ascii=False).encode()


def event(data: bytes, end: bytes) -> bytes:
    return b"data: " + data + end + end


@st.composite
def lines(draw: st.DrawFn, data: bytes) -> bytes:
    """Return the data over several lines, where JSON has room for them."""
    first, comma, rest = data.partition(b', "choices"')
    between = b"" if not comma or draw(st.booleans()) else draw(LINE_ENDS) + b"data:"
    return first + between + comma + rest


@st.composite
def framed(draw: st.DrawFn) -> tuple[str, bytes]:
    """Return a text, and a stream that says it: ends of lines mixed, comments between, a mark before, no last end."""
    words = draw(st.lists(JSON_TEXT, min_size=1, max_size=6))
    stream = sse.BYTE_ORDER_MARK if draw(st.booleans()) else b""
    for data in [*map(chunk, words), chunk(None, "stop"), b"[DONE]"]:
        for comment in draw(st.lists(COMMENT, max_size=2)):
            end = draw(LINE_ENDS)
            stream += comment + end + (end if draw(st.booleans()) or comment == b"data:" else b"")
        stream += b"data:" + draw(st.sampled_from([b"", b" "])) + draw(lines(data)) + draw(BLANK_LINES)
    return "".join(words), stream[: -draw(st.integers(0, 2)) or None]


@st.composite
def cut(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """Return the stream in pieces, cut anywhere, in the middle of a character too."""
    places = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=12)))
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


async def pieces_of(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@given(st.data())
async def test_the_text_survives_every_line_end_comment_and_cut(data: st.DataObject) -> None:
    text, stream = data.draw(framed())
    events = [each async for each in sse.events(pieces_of(data.draw(cut(stream))))]

    said = "".join(json.loads(each)["choices"][0]["delta"].get("content", "") for each in events if each != b"[DONE]")
    assert (text, b"[DONE]") == (said, events[-1])


@given(st.binary(max_size=400), st.data())
async def test_bytes_of_any_kind_are_split_the_same_wherever_they_are_cut(stream: bytes, data: st.DataObject) -> None:
    whole = [each async for each in sse.events(pieces_of([stream]))]
    pieces = [each async for each in sse.events(pieces_of(data.draw(cut(stream))))]

    assert whole == pieces


@pytest.mark.parametrize("pause", ["data:\n\n", "data: \n\n", "event: ping\ndata:\n\n", ":\n\n", "\n\n\n"])
async def test_an_event_without_words_is_no_event(pause: str) -> None:
    stream = pause.encode() + b"data: x\n\n"

    assert [b"x"] == [each async for each in sse.events(pieces_of([stream]))]


async def asked(client: httpx.AsyncClient, *, stream: bool) -> httpx.Response:
    body = {"model": "raw", "stream": stream, "messages": [{"role": "user", "content": "x"}]}
    async with asyncio.timeout(SECONDS):
        return await client.post("/v1/chat/completions", json=body)


def told(answer: httpx.Response) -> tuple[str, str]:
    """Return the text of an answer, and the error it ended with: an OpenAI one, or ''."""
    if answer.status_code != 200:
        assert "" == not_openai(answer.text)
        assert answer.status_code in (502, 503, 504)
        return "", answer.json()["error"]["code"]
    if "event-stream" not in answer.headers["content-type"]:
        return answer.json()["choices"][0]["message"]["content"] or "", ""
    events = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    bodies = [json.loads(each) for each in events if each != "[DONE]"]
    text = "".join(c["delta"].get("content") or "" for b in bodies if "error" not in b for c in b["choices"])
    assert ("error" in bodies[-1]) is (events[-1] != "[DONE]")
    return text, bodies[-1]["error"]["code"] if "error" in bodies[-1] else ""


LIMITS = {"first_token_timeout_seconds": 1, "idle_timeout_seconds": 1, "timeout_seconds": 4}


def record(upstream: RawUpstream) -> dict[str, Any]:
    return {"name": "raw", "replicas": [{"base_url": upstream.url}], "limits": LIMITS}


async def test_the_same_holds_over_sockets_whole_and_streamed() -> None:
    """Two hundred streams through one gateway; a hung one would end it."""
    async with raw_upstream() as upstream, gateway_over([record(upstream)]) as client:
        await over_sockets(upstream, client)


async def over_sockets(upstream: RawUpstream, client: httpx.AsyncClient) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=100, derandomize=True, database=None)
    @given(st.data())
    def each(data: st.DataObject) -> None:
        text, stream = data.draw(framed())
        upstream.pieces = data.draw(cut(stream))
        for streamed in (True, False):
            answer = asyncio.run_coroutine_threadsafe(asked(client, stream=streamed), loop).result(SECONDS * 2)
            assert (text, "") == told(answer)

    await asyncio.to_thread(each)


GOOD = event(chunk("good "), b"\n")
STOP = event(chunk(None, "stop"), b"\n") + b"data: [DONE]\n\n"
DEEP = b"[" * 300 + b"]" * 300
BROKEN = {
    "invalid UTF-8": event(b'{"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}', b"\n") + STOP,
    "half a surrogate": event(b'{"choices":[{"index":0,"delta":{"content":"\\ud800"}}]}', b"\n") + STOP,
    "no JSON": b"data: <html>\n\n" + STOP,
    "an array": b"data: [1,2]\n\n" + STOP,
    "a number of no end": b'data: {"choices":[{"index":1e999,"delta":{}}]}\n\n' + STOP,
    "negative tokens": event(chunk("x", usage={"prompt_tokens": -5, "completion_tokens": 1}), b"\n") + STOP,
    "deep": event(b'{"choices":[{"index":0,"delta":{"content":"x","more":' + DEEP + b"}}]}", b"\n") + STOP,
    "cut in an event": event(chunk("x"), b"\n")[:20],
    "cut before the end": event(chunk("x"), b"\n"),
    "nothing": b"",
    "only comments": b": nothing\n\n" * 50,
    "an error": b'data: {"error":{"message":"upstream broke","code":500}}\n\n',
}


@asynccontextmanager
async def broken() -> AsyncIterator[tuple[RawUpstream, httpx.AsyncClient]]:
    """Run a gateway over a server whose bytes are chosen."""
    async with raw_upstream() as upstream, gateway_over([record(upstream)]) as client:
        yield upstream, client


async def test_a_broken_stream_ends_in_an_openai_error() -> None:
    found = {}
    async with broken() as (upstream, client):
        cases = [
            *product(BROKEN, (b"", GOOD), (True, False)),
            ("only the end", b"", True),
            ("only the end", b"", False),
        ]
        for kind, first, stream in cases:
            upstream.pieces = [first, BROKEN.get(kind, b"data: [DONE]\n\n")]
            text, error = told(await asked(client, stream=stream))
            if not error.startswith("expert_") or text not in ("", "x", "good ", "good x"):
                found[kind, first, stream] = (text, error)

    assert {} == found


async def test_a_connection_that_breaks_after_the_last_event_has_lost_nothing() -> None:
    async with broken() as (upstream, client):
        upstream.head, upstream.pause = STREAM + b"transfer-encoding: chunked\r\n", 0.02
        upstream.pieces = [b"%x\r\n%s\r\n" % (len(GOOD + STOP), GOOD + STOP)]
        both = [told(await asked(client, stream=stream)) for stream in (True, False)]

    assert ([("good ", "")] * 2, 2) == (both, upstream.asked)


@pytest.mark.parametrize("pause", [b"inf", b"1e300", b"-1", b"nan", b"Fri, 31 Dec 1999 23:59:59 GMT"])
async def test_however_long_a_server_wants_to_be_left_alone_the_client_is_told_a_number(pause: bytes) -> None:
    async with broken() as (upstream, client):
        upstream.head = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: %s\r\n" % pause
        refused = await asked(client, stream=False)

    assert 429 == refused.status_code
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400


NEVER_ENDING = {
    "comments": ([b": wait\n\n"], 0.05),
    "words, then comments": ([GOOD, b": wait\n\n"], 0.05),
    "silence": ([b"data: "], 5.0),
    "words": ([GOOD], 0.3),
}


@pytest.mark.parametrize("kind", NEVER_ENDING)
async def test_a_stream_that_never_ends_is_ended(kind: str) -> None:
    async with broken() as (upstream, client):
        upstream.pieces, upstream.pause = NEVER_ENDING[kind]
        upstream.forever = True
        begun = time.monotonic()
        both = await asyncio.gather(asked(client, stream=True), asked(client, stream=False))

    assert ["expert_timeout"] * 2 == [told(each)[1] for each in both]
    assert time.monotonic() - begun < LIMITS["timeout_seconds"] + 2


async def test_an_event_without_bound_is_not_read_into_memory() -> None:
    async with broken() as (upstream, client):
        upstream.pieces, upstream.forever = [b"data: ", b"x" * 1_000_000], True
        before = psutil.Process().memory_info().rss
        _, error = told(await asked(client, stream=True))
        grown = psutil.Process().memory_info().rss - before

    assert error in ("expert_protocol_error", "expert_timeout")
    assert grown < 4 * sse.MAX_EVENT_BYTES


async def test_a_servers_redirect_is_not_followed() -> None:
    async with broken() as (upstream, client):
        for status in (300, 301, 302, 303, 304, 307, 308):
            place = f"http://127.0.0.1:{httpx.URL(upstream.url).port}/elsewhere"
            upstream.head = f"HTTP/1.1 {status} Found\r\nlocation: {place}\r\n".encode()
            answer = await asked(client, stream=False)

            assert 500 <= answer.status_code <= 504
            assert "elsewhere" not in answer.text

    assert {"/v1/chat/completions", "/v1/models"} == set(upstream.paths)


async def test_a_servers_headers_stay_there() -> None:
    async with broken() as (upstream, client):
        for more in (
            b"x-consilium-cost-usd: 9\r\nset-cookie: a=b\r\nserver: s\r\n",
            b"content-type: text/html\r\n",
            b"",
        ):
            upstream.head, upstream.pieces = b"HTTP/1.1 200 OK\r\n" + more, [GOOD + STOP]
            answer = await asked(client, stream=True)

            assert {"set-cookie", "server", "x-consilium-cost-usd"}.isdisjoint(answer.headers)
            assert ("good ", "") == told(answer)


BODIES = (
    b"",
    b"<html>",
    b"\xff\xfe",
    b"[]",
    b"null",
    b'{"error":[1]}',
    b'{"error":{"message":{"a":1},"code":[],"param":{}}}',
    b'{"error":' + DEEP + b"}",
    b'{"error":{"message":"m","code":' + DEEP + b"}}",
    b'{"detail":' + DEEP + b"}",
)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 429, 500, 503])
async def test_a_servers_refusal_of_any_shape_becomes_an_openai_error(status: int) -> None:
    async with broken() as (upstream, client):
        for body in BODIES:
            upstream.head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\nretry-after: soon\r\n" % status
            upstream.pieces = [body]
            answer = await asked(client, stream=False)

            assert "" == not_openai(answer.text), (body[:40], answer.text[:300])
            assert answer.status_code == {401: 503, 500: 503, 503: 429}.get(status, status)
            assert len(answer.text) < 3000


TYPES = (
    b"text/\x01x",
    b"application/json; x=\xff\xfe",
    b"text/html\xe9",
    b"",
    b"a" * 5000,
    b"application/json;charset=utf-8",
)


@pytest.mark.parametrize("path", ["completions", "embeddings", "responses", "messages"])
async def test_a_servers_type_and_body_of_any_kind_are_passed_on_or_become_an_openai_error(path: str) -> None:
    body = {
        "model": "raw",
        "messages": [{"role": "user", "content": "x"}],
        "prompt": "x",
        "input": "x",
        "max_tokens": 5,
    }
    async with broken() as (upstream, client):
        for kind, said, stream in product(TYPES, (b'{"object":"x"}', b"[]", b"", b"\xff", DEEP), (True, False)):
            upstream.head, upstream.pieces = (
                b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-type: %b\r\n" % kind,
                [said],
            )
            answer = await client.post(f"/v1/{path}", json={**body, "stream": stream})

            assert answer.status_code in (200, 502, 503), (kind, said[:20], answer.text[:200])
            assert "set-cookie" not in answer.headers
            assert answer.headers["content-type"].isascii()
