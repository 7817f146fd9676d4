"""What a server does with the connection after the last event of an answer that is passed on harms nobody."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import gateway_over
from tests.hostile.raw_upstream import STREAM, RawUpstream, raw_upstream

LAST = b'data: {"choices":[{"index":0,"text":"hi","finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
WHOLE: dict[str, tuple[bytes, dict[str, Any]]] = {
    "completions": (LAST, {"prompt": "x"}),
    "messages": (
        b'data: {"type":"content_block_delta","delta":{"text":"hi"}}\n\ndata: {"type":"message_stop"}\n\n: end\n\n',
        {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9},
    ),
    "responses": (
        b'data: {"type":"response.output_text.delta","delta":"hi"}\n\n'
        b'data: {"type":"response.completed","response":{}}\n\ndata: [DONE]\n\n',
        {"input": "x"},
    ),
}
LIMITS = {"first_token_timeout_seconds": 2, "idle_timeout_seconds": 0.5, "timeout_seconds": 4}


def record(upstream: RawUpstream) -> dict[str, Any]:
    return {"name": "raw", "replicas": [{"base_url": upstream.url}], "limits": LIMITS}


async def streamed(client: httpx.AsyncClient, endpoint: str) -> bytes:
    body = {"model": "raw", "stream": True, **WHOLE[endpoint][1]}
    return (await client.post(f"/v1/{endpoint}", json=body)).content


@pytest.mark.parametrize("endpoint", WHOLE)
async def test_an_answer_ends_with_its_last_event_though_the_connection_breaks_or_stays_open(endpoint: str) -> None:
    events = WHOLE[endpoint][0]
    async with raw_upstream() as upstream, gateway_over([record(upstream)]) as client:
        upstream.pieces, upstream.pause = [events], 3.0
        open_still = await streamed(client, endpoint)
        upstream.head, upstream.pause = STREAM + b"transfer-encoding: chunked\r\n", 0.01
        upstream.pieces = [b"%x\r\n%s\r\n" % (len(events), events)]
        broken = await streamed(client, endpoint)
        upstream.pieces = [b"%x\r\n%s\r\n" % (len(events[:30]), events[:30])]
        before = await streamed(client, endpoint)

    assert [events] * 2 == [open_still, broken]
    assert b'"error"' in before
