"""Bodies that are JSON but nothing anybody meant, at every endpoint that reads one."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.hostile.shape import wrong
from tests.hostile.world import Target

CHAT, ROUTE = "/v1/chat/completions", "/v1/route"
HELLO = [{"role": "user", "content": "x"}]
PASSED_ON = ("/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages")
READS_JSON = (CHAT, ROUTE, "/v1/feedback", "/v1/batches", *PASSED_ON)
ADMIN_READS_JSON = (
    "/admin/keys",
    "/admin/experts",
    "/admin/router/rollback",
    "/admin/experts/math/profile",
    "/admin/experts/benchmark-fuser",
)


def brackets(depth: int) -> str:
    return "[" * depth + "]" * depth


def objects(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


NO_OBJECTS = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"1e999",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    brackets(60_000).encode(),
    objects(20_000).encode(),
    b'{"a":"\\ud800"}',
    b'{"a":NaN}',
)


@pytest.mark.parametrize("path", READS_JSON)
def test_what_is_no_json_object_is_refused(mallory: httpx.Client, path: str) -> None:
    answers = [mallory.post(path, content=each) for each in NO_OBJECTS]

    assert [400] * len(NO_OBJECTS) == [each.status_code for each in answers]
    assert [""] * len(NO_OBJECTS) == [wrong(each.status_code, each.headers, each.content) for each in answers]


@pytest.mark.parametrize("path", ADMIN_READS_JSON)
def test_administrators_json_is_checked_as_strictly(admin: httpx.Client, path: str) -> None:
    wanted = [each for each in NO_OBJECTS if each]
    answers = [admin.post(path, content=each) for each in wanted]

    assert [400] * len(wanted) == [each.status_code for each in answers]
    assert [""] * len(wanted) == [wrong(each.status_code, each.headers, each.content) for each in answers]


@pytest.mark.parametrize("depth", [129, 253, 255, 300, 900, 1000, 1023, 1024, 60_000])
@pytest.mark.parametrize("where", ['"x":%s', '"tools":%s', '"routing":%s', '"messages":%s'])
def test_deep_json_is_refused(mallory: httpx.Client, depth: int, where: str) -> None:
    for nested in (brackets(depth), objects(min(depth, 20_000))):
        fields = where % nested
        rest = "" if "messages" in fields[:10] else f',"messages":{json.dumps(HELLO)}'
        answer = mallory.post(CHAT, content=f'{{"model":"math",{fields}{rest}}}')

        assert 400 == answer.status_code
        assert "" == wrong(answer.status_code, answer.headers, answer.content)


@pytest.mark.parametrize("path", PASSED_ON)
@pytest.mark.parametrize("depth", [129, 300, 1000, 60_000])
def test_deep_json_is_refused_where_bodies_are_passed_on(mallory: httpx.Client, path: str, depth: int) -> None:
    for field in ("input", "prompt", "messages", "metadata", "routing"):
        answer = mallory.post(path, content=f'{{"model":"math","{field}":{brackets(depth)}}}')

        assert 400 == answer.status_code
        assert "" == wrong(answer.status_code, answer.headers, answer.content)


def test_json_that_is_as_deep_as_allowed_reaches_the_expert(mallory: httpx.Client) -> None:
    for depth in (1, 100, 126):
        body = f'{{"model":"math","messages":{json.dumps(HELLO)},"metadata":{objects(depth)}}}'

        assert 200 == mallory.post(CHAT, content=body).status_code


def test_braces_within_text_are_no_depth(mallory: httpx.Client) -> None:
    body = {"model": "math", "messages": [{"role": "user", "content": "{[" * 5000}]}

    assert 200 == mallory.post(CHAT, json=body).status_code


@pytest.mark.parametrize("options", [[1], "x", 5, True])
@pytest.mark.parametrize("stream", [True, False])
def test_stream_options_that_are_no_object_are_refused(mallory: httpx.Client, options: Any, stream: bool) -> None:
    body = {"model": "math", "messages": HELLO, "stream": stream, "stream_options": options}
    answer = mallory.post(CHAT, json=body)

    assert (400, "stream_options") == (answer.status_code, answer.json()["error"]["param"])


@pytest.mark.parametrize("count", ["1e9", "1.5", "true", '"5"', "[]", "-1e-9"])
@pytest.mark.parametrize("path", [CHAT, *PASSED_ON])
def test_numbers_that_limits_count_with_are_whole(mallory: httpx.Client, path: str, count: str) -> None:
    """A server may read 1e9 as an integer: what a key may use would not have been asked for it."""
    for field in ("max_tokens", "max_completion_tokens", "max_output_tokens", "n"):
        body = f'{{"model":"math","messages":{json.dumps(HELLO)},"prompt":"x","input":"x","{field}":{count}}}'
        answer = mallory.post(path, content=body)

        assert (400, field) == (answer.status_code, answer.json()["error"]["param"])


@pytest.mark.parametrize("count", [2**31, 2**53, 2**63, 2**64 - 1])
def test_a_number_beyond_what_a_key_may_use_uses_nothing(admin: httpx.Client, target: Target, count: int) -> None:
    limits = {"name": "x", "requests_per_minute": 100, "tokens_per_minute": 100_000, "budget_usd": 1}
    key = admin.post("/admin/keys", json=limits).json()["key"]
    with target.client(key) as client:
        for field in ("max_tokens", "max_completion_tokens"):
            answer = client.post(CHAT, json={"model": "math", "messages": HELLO, field: count})
            assert (429, "") == (answer.status_code, wrong(429, answer.headers, answer.content))
        least = client.post(CHAT, json={"model": "math", "messages": HELLO, "max_tokens": -1})

    assert (200, "") == (least.status_code, wrong(200, least.headers, least.content))
    assert int(least.headers["x-ratelimit-remaining-tokens"]) > 90_000


@pytest.mark.parametrize("depth", [129, 300, 900])
def test_a_deep_record_of_an_expert_is_refused(admin: httpx.Client, depth: int) -> None:
    answer = admin.patch("/admin/experts/math", content=f'{{"thinking":{{"on":{objects(depth)}}}}}')

    assert 400 == answer.status_code
    assert "levels deep" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", f"/admin/decisions?limit={'9' * 5000}", {}, 400),
        ("GET", "/admin/decisions?limit=0", {}, 400),
        ("GET", "/admin/usage?until=0001-01-05", {}, 200),
        ("GET", "/admin/usage?since=9999-12-31", {}, 400),
        ("PATCH", "/admin/experts/math", {"if-match": f'"{"9" * 5000}"'}, 412),
        ("PATCH", "/admin/experts/math", {"if-match": b'"\xb2"'}, 412),
        ("DELETE", f"/admin/experts/math?drain_seconds={'9' * 5000}", {}, 400),
        ("DELETE", "/admin/experts/math?drain_seconds=nan", {}, 400),
    ],
)
def test_numbers_beyond_all_bounds_are_refused(
    admin: httpx.Client, method: str, path: str, headers: dict[str, Any], status: int
) -> None:
    answer = admin.request(method, path, headers=headers, content=b"{}")

    assert status == answer.status_code
    assert "" == wrong(answer.status_code, answer.headers, answer.content)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'x' * 300}",
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary*=utf-8''%ff",
        "text/plain",
    ],
)
@pytest.mark.parametrize(
    "body", [b"--x\r\n\r\n", b"\xff" * 1000, b"--x--", b"--x\r\n" + b"a" * 70_000 + b": b\r\n\r\n"]
)
def test_forms_that_are_none_are_refused(mallory: httpx.Client, content_type: str, body: bytes) -> None:
    answer = mallory.post("/v1/files", content=body, headers={"content-type": content_type})

    assert 400 == answer.status_code
    assert "" == wrong(answer.status_code, answer.headers, answer.content)
