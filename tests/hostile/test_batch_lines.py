"""Files of requests that nobody meant: refused with the line's number, or every line gets an answer or its error."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import httpx
import pytest

from tests.hostile.world import Target

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "x"}]


def line(custom_id: str, body: str) -> str:
    return f'{{"custom_id":{json.dumps(custom_id)},"method":"POST","url":"{CHAT}","body":{body}}}'


def ran(client: httpx.Client, content: bytes) -> dict[str, Any]:
    """Upload, order, and return the batch once it has ended."""
    file = client.post("/v1/files", files={"file": ("f.jsonl", io.BytesIO(content))}, data={"purpose": "batch"})
    assert 200 == file.status_code, file.text
    order = {"input_file_id": file.json()["id"], "endpoint": CHAT, "completion_window": "24h"}
    batch: dict[str, Any] = client.post("/v1/batches", json=order).json()
    deadline = time.monotonic() + 30
    while batch["status"] not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() < deadline, batch
        time.sleep(0.1)
        batch = client.get(f"/v1/batches/{batch['id']}").json()
    return batch


OBJECTS = '{"a":' * 300 + "1" + "}" * 300
BODIES = {
    "deep": f'{{"messages":{json.dumps(HELLO)},"x":{"[" * 300}{"]" * 300}}}',
    "deep objects": f'{{"messages":{json.dumps(HELLO)},"tools":{OBJECTS}}}',
    "no messages": "{}",
    "messages of numbers": '{"messages":[1]}',
    "odd options": f'{{"messages":{json.dumps(HELLO)},"stream_options":[1],"stream":true}}',
    "odd routing": f'{{"messages":{json.dumps(HELLO)},"routing":{{"policy":"\\u0000","fusion":"zzz"}}}}',
    "another's expert": f'{{"messages":{json.dumps(HELLO)},"model":"nobody"}}',
    "fine": f'{{"messages":{json.dumps(HELLO)},"model":"math"}}',
}


def test_every_odd_line_gets_its_own_error_and_the_others_their_answer(mallory: httpx.Client) -> None:
    content = "\n".join(line(name, body) for name, body in BODIES.items()).encode()
    batch = ran(mallory, content)

    assert "completed" == batch["status"]
    assert (1, len(BODIES) - 1) == (batch["request_counts"]["completed"], batch["request_counts"]["failed"])
    errors = mallory.get(f"/v1/files/{batch['error_file_id']}/content").text.splitlines()
    assert set(BODIES) - {"fine"} == {json.loads(each)["custom_id"] for each in errors}
    assert not any("internal_error" in each or "Traceback" in each for each in errors)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"\x00" * 1000,
        b"[" * 5000,
        b'{"custom_id":"a"}\n',
        line("a", "[]").encode(),
        (line("a", "{}") + "\n" + line("a", "{}")).encode(),
        line("x" * 100, "{}").replace(CHAT, "/admin/keys").encode(),
        line("x" * 100, "{}").replace("POST", "DELETE").encode(),
        b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"a":1e999}}',
        b"\r\n\r\n\n",
        b"a" * 200_000,
    ],
)
def test_a_file_that_is_no_list_of_requests_is_refused_with_the_line(mallory: httpx.Client, content: bytes) -> None:
    batch = ran(mallory, content)

    assert "failed" == batch["status"]
    assert batch["errors"]["data"]
    assert "Traceback" not in json.dumps(batch)


def test_a_batch_calls_nobody_for_what_was_refused(target: Target, mallory: httpx.Client) -> None:
    before = len(target.expert.requests)
    ran(mallory, line("a", "[]").encode())

    assert before == len(target.expert.requests)
