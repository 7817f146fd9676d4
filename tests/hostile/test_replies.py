"""What an expert's server may answer in heads, refusals, listings and packed bodies: an OpenAI error, within bounds."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
from functools import cache
from itertools import product
from typing import Any

import httpx
import psutil
import pytest

from experts import sse
from experts.backends import OpenAIBackend, chunks, openai
from experts.backends.client import LONGEST_SHORT_BYTES, make_client
from experts.config import ExpertConfig
from experts.errors import ExpertError
from experts.health import board
from experts.registry import Expert, static_replicas
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving
from tests.hostile.raw_upstream import STREAM, RawUpstream, raw_upstream
from tests.hostile.shape import not_openai
from tests.hostile.test_framing import GOOD, LIMITS, STOP, asked, broken, chunk, event, record, told

JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
PATHS = ("chat/completions", "completions", "embeddings", "responses", "messages")
BODY = {
    "model": "raw",
    "messages": [{"role": "user", "content": "x"}],
    "prompt": "x",
    "input": "x",
    "max_tokens": 5,
}
ODD_HEADS = {
    "bytes in a header": b"HTTP/1.1 %d Bad\r\nx-a: \xe9\xff\r\n",
    "bytes in the reason": b"HTTP/1.1 %d B\xff\xfe\r\n",
    "a cookie of bytes": b"HTTP/1.1 %d Bad\r\nset-cookie: \xff=\x01;;\r\n",
    "a header of 100,000 bytes": b"HTTP/1.1 %d OK\r\nx: " + b"a" * 100_000 + b"\r\n",
    "headers by the hundred thousand": b"HTTP/1.1 %d OK\r\n" + b"x: aaaaaaaaaaaaa\r\n" * 100_000,
    "two lengths": b"HTTP/1.1 %d OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n",
    "a length beside chunks": b"HTTP/1.1 %d OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
    "a negative length": b"HTTP/1.1 %d OK\r\ncontent-length: -5\r\n",
    "packed, and it is not": b"HTTP/1.1 %d OK\r\ncontent-encoding: gzip\r\n",
    "packed as nobody does": b"HTTP/1.1 %d OK\r\ncontent-encoding: br, zstd, x\r\n",
    "another protocol": b"ICY %d OK\r\n",
    "a retry of bytes": b"HTTP/1.1 %d OK\r\nretry-after: \xff\r\n",
}
STATUSES = (101, 200, 204, 400, 429, 500, 999)
CODECS = (
    *("zlib", "bz2", "hex", "base64", "rot13", "unicode_escape", "raw_unicode_escape", "idna", "punycode", "utf-7"),
    *("utf-16", "undefined", "mbcs", "\xff", ""),
)


def bugs(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.exc_info or each.levelno >= logging.ERROR]


@pytest.mark.parametrize("path", PATHS)
async def test_an_odd_head_becomes_an_openai_error_and_harms_no_later_request(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with broken() as (upstream, client):
        for (kind, head), status in product(ODD_HEADS.items(), STATUSES):
            upstream.head, upstream.pieces = head.replace(b"%d", b"%d" % status), [b"5\r\n{}\r\n"]
            answer = await client.post(f"/v1/{path}", json=BODY)

            assert answer.status_code != 500, (kind, status)
            assert answer.status_code == 200 or "" == not_openai(answer.text), (kind, status, answer.text[:200])
        upstream.head, upstream.pieces = (
            STREAM if path == PATHS[0] else JSON,
            [GOOD + STOP if path == PATHS[0] else b"{}"],
        )
        after = await client.post(f"/v1/{path}", json=BODY)

    assert (200, []) == (after.status_code, bugs(caplog))


@pytest.mark.parametrize("codec", CODECS)
async def test_a_refusal_in_an_encoding_that_makes_no_text_is_told_all_the_same(codec: str) -> None:
    async with broken() as (upstream, client):
        for path in PATHS[:2]:
            upstream.head = b"HTTP/1.1 400 Bad\r\ncontent-type: text/plain; charset=%b\r\n" % codec.encode("latin-1")
            upstream.pieces = [b"\\ud800 no \xff"]
            answer = await client.post(f"/v1/{path}", json=BODY)

            assert (400, "") == (answer.status_code, not_openai(answer.text)), path
            assert "\\ud800 no \ufffd" in answer.json()["error"]["message"]


async def test_a_packed_refusal_is_unpacked_once_or_not_believed() -> None:
    """Nobody asked for a packed one."""
    async with broken() as (upstream, client):
        upstream.head = b"HTTP/1.1 422 Bad\r\ncontent-encoding: gzip\r\n"
        upstream.pieces = [gzip.compress(b'{"error":{"message":"too hot"}}')]
        answers = [await client.post(f"/v1/{path}", json=BODY) for path in PATHS]

    assert {each.status_code for each in answers} <= {422, 502, 503}
    assert all(("too hot" in each.text) is (each.status_code == 422) for each in answers)
    assert {""} == {not_openai(each.text) for each in answers}


async def test_a_servers_cookie_is_sent_to_nobody() -> None:
    async with broken() as (upstream, client):
        for path in PATHS:
            upstream.head = JSON + b"set-cookie: a=b; Path=/\r\nset-cookie: c=d; Domain=127.0.0.1\r\n"
            upstream.pieces = [b"{}"]
            for _ in range(2):
                await client.post(f"/v1/{path}", json=BODY)

    assert upstream.asked >= 2 * len(PATHS)
    assert not any(b"cookie" in head.lower() for head in upstream.heads)


MANY = {"prompt_tokens": 2**64 - 1, "completion_tokens": 2**64 - 1}
TOLD = {
    "completions": {"choices": [{"text": "x"}], "usage": MANY},
    "embeddings": {"data": [], "usage": {"prompt_tokens": 2**64 - 1, "total_tokens": 1e308}},
    "responses": {"output": [], "usage": {"input_tokens": 2**64 - 1, "output_tokens": -1}},
    "messages": {"content": [], "usage": {"input_tokens": 2**64 - 1, "cache_read_input_tokens": 2**64 - 1}},
}


async def test_tokens_that_no_answer_can_have_used_are_counted_by_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Two numbers of 64 bits have a sum that JSON is not written with."""
    async with broken() as (upstream, client):
        upstream.pieces = [event(chunk("x", usage=MANY), b"\n") + STOP]
        chat = [told(await asked(client, stream=stream)) for stream in (True, False)]
        upstream.head = JSON
        for path, body in TOLD.items():
            upstream.pieces = [json.dumps(body).encode()]
            assert 200 == (await client.post(f"/v1/{path}", json=BODY)).status_code
        metrics = (await client.get("/metrics")).text

    assert [("", "expert_protocol_error")] * 2 == chat
    assert [] == bugs(caplog)
    counted = [line for line in metrics.splitlines() if line.startswith("consilium_tokens")]
    assert all(float(line.split()[-1]) < 2**40 or "created" in line for line in counted)


@pytest.mark.parametrize("path", PATHS)
async def test_a_refusal_without_end_is_read_no_further_than_a_refusal_goes(path: str) -> None:
    async with broken() as (upstream, client):
        upstream.head, upstream.pieces, upstream.forever = b"HTTP/1.1 400 No\r\n", [b"x" * 1_000_000], True
        before, begun = psutil.Process().memory_info().rss, time.monotonic()
        answer = await client.post(f"/v1/{path}", json=BODY)
        grown = psutil.Process().memory_info().rss - before

    assert 400 == answer.status_code
    assert grown < 16 * LONGEST_SHORT_BYTES
    assert time.monotonic() - begun < LIMITS["timeout_seconds"]


@pytest.mark.parametrize("path", PATHS[1:])
async def test_an_answer_in_one_piece_without_end_is_given_up(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "MOST_WHOLE_BYTES", 4_000_000)
    async with broken() as (upstream, client):
        upstream.head, upstream.pieces, upstream.forever = JSON, [b" " * 1_000_000], True
        answer = await client.post(f"/v1/{path}", json=BODY)

    assert (502, "expert_protocol_error") == (answer.status_code, answer.json()["error"]["code"])


@pytest.mark.parametrize("stream", [True, False])
async def test_words_without_end_that_come_fast_are_given_up(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants the whole answer would have it collected here, until the expert's time is up."""
    monkeypatch.setattr(chunks, "MOST_ANSWER_BYTES", 1_000_000)
    async with broken() as (upstream, client):
        upstream.pieces, upstream.forever = [event(chunk("word " * 20_000), b"\n")], True
        begun = time.monotonic()
        _, error = told(await asked(client, stream=stream))

    assert "expert_protocol_error" == error
    assert time.monotonic() - begun < LIMITS["timeout_seconds"]


@cache
def bomb() -> bytes:
    """Return a quarter of a gigabyte, packed to a thousandth."""
    return gzip.compress(b"data: " + b" " * 256 * 1024 * 1024, 1)


@pytest.mark.parametrize(("path", "status"), [*product(PATHS[:2], (200, 400))])
async def test_a_packed_bomb_is_not_unpacked_whole(path: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "MOST_WHOLE_BYTES", 32_000_000)
    async with broken() as (upstream, client):
        head = STREAM if path == PATHS[0] else JSON
        upstream.head = head.replace(b"200 OK", b"%d X" % status) + b"content-encoding: gzip\r\n"
        upstream.pieces = [bomb()]
        before = psutil.Process().memory_info().rss
        answer = await client.post(f"/v1/{path}", json=BODY)
        grown = psutil.Process().memory_info().rss - before

    assert answer.status_code in ({400, 502, 503} if status == 400 else {502, 503, 504})
    assert grown < 4 * sse.MAX_EVENT_BYTES


HEADS_WITHOUT_END = {
    "headers": (b"HTTP/1.1 200 OK\r\nx: y", [b"\r\nx: yyyyyyyyyyyyyyyy" * 500], 0.0),
    "a header": (b"HTTP/1.1 200 OK\r\nx: y", [b"y" * 10_000], 0.0),
    "headers, slowly": (b"HTTP/1.1 200 OK\r\nx: y", [b"\r\nx: y"], 0.2),
    "early hints": (b"HTTP/1.1 103 Early\r\n", [b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" * 500], 0.0),
    "continue, slowly": (b"HTTP/1.1 100 Continue\r\n", [b"HTTP/1.1 100 Continue\r\n\r\n"], 0.2),
}


class HeadOnly(RawUpstream):
    """Writes nothing of its own after the head."""

    async def _answer(self, writer: asyncio.StreamWriter, pieces: Any) -> None:
        writer.write(self.head)
        while True:
            await self._write(writer, pieces[0])


@pytest.mark.parametrize("kind", HEADS_WITHOUT_END)
async def test_a_head_without_end_is_ended_and_holds_nobody_up(kind: str) -> None:
    head, pieces, pause = HEADS_WITHOUT_END[kind]
    async with (
        raw_upstream(HeadOnly()) as upstream,
        serving(fake := FakeExpert()),
        gateway_over([record(upstream), expert_record("fine", fake)]) as client,
    ):
        upstream.head, upstream.pieces, upstream.pause = head, pieces, pause
        begun = time.monotonic()
        slow = asyncio.gather(asked(client, stream=True), client.post("/v1/completions", json=BODY))
        await asyncio.sleep(0.3)
        fine = await client.post("/v1/chat/completions", json={**BODY, "model": "fine"})
        waited = time.monotonic() - begun
        answers = await slow

    assert (200, True) == (fine.status_code, waited < 1.5)
    assert all(told(each)[1].startswith("expert_") for each in answers)
    assert time.monotonic() - begun < LIMITS["timeout_seconds"] + 3


ENDS_WITHOUT_END = {
    "trailers": (b"0\r\n", [b"x: yyyyyyyyyyyyyyyy\r\n" * 3000]),
    "a trailer": (b"0\r\nx: ", [b"y" * 60_000]),
    "an extension": (b"5;", [b"y" * 60_000]),
}


@pytest.mark.parametrize("kind", ENDS_WITHOUT_END)
@pytest.mark.parametrize("path", PATHS[:2])
async def test_what_surrounds_the_pieces_of_an_answer_has_an_end_too(kind: str, path: str) -> None:
    begin, pieces = ENDS_WITHOUT_END[kind]
    async with raw_upstream() as upstream, gateway_over([record(upstream)]) as client:
        head = STREAM if path == PATHS[0] else JSON
        upstream.head, upstream.pieces, upstream.forever = (
            head + b"transfer-encoding: chunked\r\n",
            [begin, *pieces],
            True,
        )
        before, begun = psutil.Process().memory_info().rss, time.monotonic()
        answer = await client.post(f"/v1/{path}", json=BODY)
        grown = psutil.Process().memory_info().rss - before

    assert answer.status_code in (502, 503, 504)
    assert grown < 64 * 1024 * 1024
    assert time.monotonic() - begun < LIMITS["timeout_seconds"] + 2


LISTINGS = {
    "no text": b'{"data":[{"id":1},{"id":null},{"id":"x"},{"id":["y"]}]}',
    "a hundred thousand": json.dumps({"data": [{"id": f"m{n}"} for n in range(50_000)]}).encode(),
    "no listing": b'{"data":5}',
    "bytes": b"\xff",
}


async def probed(upstream: RawUpstream) -> str:
    """Return what is said of a server that does not list its model."""
    config = ExpertConfig.model_validate(record(upstream))
    async with make_client() as client:
        expert = Expert(config, config.profile(), static_replicas(config))
        with pytest.raises(ExpertError) as caught:
            await OpenAIBackend(client).probe(expert, expert.replicas[0])
    return str(caught.value)


@pytest.mark.parametrize("kind", LISTINGS)
async def test_a_list_of_models_of_any_kind_ends_a_probe_with_a_short_word(kind: str) -> None:
    async with raw_upstream() as upstream:
        upstream.head, upstream.listing = JSON, [LISTINGS[kind]]
        assert len(await probed(upstream)) < 1000


@pytest.mark.parametrize("pause", [0.0, 0.1])
async def test_a_list_of_models_without_end_ends_a_probe(pause: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it comes: a byte now and then is no answer."""
    monkeypatch.setattr(openai, "PROBE_TIMEOUT_SECONDS", 0.5)
    async with raw_upstream() as upstream:
        upstream.head, upstream.listing, upstream.forever = JSON, [b" " if pause else b" " * 100_000], True
        upstream.pause = pause
        begun = time.monotonic()
        await probed(upstream)

    assert time.monotonic() - begun < 2.0


async def test_a_server_that_lists_nonsense_ends_no_other_servers_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One task probes them all."""
    monkeypatch.setattr(board, "SILENT_SECONDS", 0.5)
    async with (
        raw_upstream() as upstream,
        serving(fake := FakeExpert()),
        gateway_over([record(upstream), expert_record("fine", fake)]) as client,
    ):
        upstream.head, upstream.listing = JSON, [LISTINGS["no text"]]
        fake.models = ()
        await until(client, "fine", "unready", seconds=10)
        fake.models = ("fine",)
        await until(client, "fine", "ready", seconds=10)


async def until(client: httpx.AsyncClient, name: str, state: str, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while ("ready" == (await client.get("/health")).json()["experts"].get(name)) is not (state == "ready"):
            await asyncio.sleep(0.2)
