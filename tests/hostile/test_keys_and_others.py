"""Who may do what: without a key, with a client's, with a guess; and what is another's."""

from __future__ import annotations

import contextlib
import hmac
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.auth import AdminKey, Keyring
from gateway.errors import AuthenticationFailed, PermissionDenied
from tests.hostile.shape import wrong
from tests.hostile.world import ADMIN, ALICE, MALLORY, Target

PUBLIC = {"/", "/health", "/health/liveness", "/health/readiness", "/metrics"}
"""What anybody may read: no prompt, no key, no record of an expert; /docs and /openapi.json beside them."""
GUESSES = (
    "",
    "x",
    ADMIN[:-1],
    ADMIN + "x",
    ADMIN.upper(),
    "é" * 20,
    "Bearer",
    "null",
    "undefined",
    "*",
    "' OR 1=1",
)


def routes(target: Target) -> Iterator[tuple[str, str]]:
    """Yield every method and path of the gateway's own document, names filled in."""
    for path, methods in httpx.get(f"{target.url}/openapi.json").json()["paths"].items():
        for method in methods:
            yield method.upper(), re.sub(r"\{[^}]+\}", "x", path)


def status(target: Target, method: str, path: str, **headers: str) -> httpx.Response:
    return httpx.request(method, target.url + path, headers=headers, content=b"{}")


def test_every_admin_route_refuses_everybody_without_the_admin_key(target: Target) -> None:
    found = [each for each in routes(target) if each[1].startswith("/admin")]
    anybody = {status(target, *each).status_code for each in found}
    clients = {status(target, *each, authorization=f"Bearer {MALLORY}").status_code for each in found}

    assert len(found) > 20
    assert ({401}, {403}) == (anybody, clients)


def test_no_guess_opens_an_admin_route(target: Target) -> None:
    for method, path in [each for each in routes(target) if each[1].startswith("/admin")][:5]:
        for guess in GUESSES:
            for name, value in (("x-api-key", guess), ("authorization", f"Bearer {guess}"), ("authorization", guess)):
                sent: Any = {name: value.strip().encode()}
                answer = status(target, method, path, **sent)

                assert 401 == answer.status_code
                assert "" == wrong(401, answer.headers, answer.content)


def test_every_route_of_clients_needs_a_key(target: Target) -> None:
    found = [each for each in routes(target) if not each[1].startswith(("/admin", "/ui/")) and each[1] not in PUBLIC]
    answers = {each: status(target, *each).status_code for each in found}

    assert len(found) > 12
    assert {401} == set(answers.values()), answers


def test_a_key_in_the_address_is_no_key(target: Target) -> None:
    for name in ("key", "api_key", "api-key", "token", "access_token", "x-api-key", "authorization"):
        assert 401 == status(target, "GET", f"/v1/models?{name}={MALLORY}").status_code


def test_what_anybody_may_read_tells_no_secret(target: Target) -> None:
    with target.client(ALICE) as client:
        client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "plover-4711"}]})
    for path in (*PUBLIC, "/docs", "/openapi.json"):
        answer = httpx.get(target.url + path)

        assert 200 == answer.status_code
        assert "" == wrong(200, answer.headers, answer.content)
        assert "plover-4711" not in answer.text
        assert target.expert.url not in answer.text


@pytest.mark.parametrize("offered", ["", "x", "alice", "alice-key-1", "alice-key-2", "alice-key-22", "é"])
def test_every_key_takes_the_same_comparisons(monkeypatch: pytest.MonkeyPatch, offered: str) -> None:
    """Of digests of one length, in constant time, and all of them whatever the first one says."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(a: Any, b: Any) -> bool:
        compared.append((len(a), len(b)))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    keyring, headers = Keyring(["alice-key-1", "alice-key-2", "alice-key-3"]), {"x-api-key": offered}
    for ask in (lambda: keyring.authenticate(headers), lambda: AdminKey("root").check(headers, keyring)):
        with contextlib.suppress(AuthenticationFailed, PermissionDenied):
            ask()

    assert [(64, 64)] * len(compared) == compared
    assert 4 <= len(compared[:4])


@pytest.fixture(scope="module")
def alices(target: Target) -> dict[str, str]:
    """Return the ids of a file, a batch and an answer of Alice's."""
    body = {"model": "math", "messages": [{"role": "user", "content": "hers"}]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    with target.client(ALICE) as alice:
        files = {"file": ("hers.jsonl", io.BytesIO(json.dumps(line).encode()))}
        file = alice.post("/v1/files", files=files, data={"purpose": "batch"}).json()["id"]
        order = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        batch = alice.post("/v1/batches", json=order).json()["id"]
        answered = alice.post("/v1/chat/completions", json=body).headers["x-request-id"]
    return {"file": file, "batch": batch, "request": answered}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files/{file}"),
        ("GET", "/v1/files/{file}/content"),
        ("DELETE", "/v1/files/{file}"),
        ("GET", "/v1/batches/{batch}"),
        ("POST", "/v1/batches/{batch}/cancel"),
    ],
)
def test_anothers_files_and_batches_do_not_exist(
    mallory: httpx.Client, alices: dict[str, str], method: str, path: str
) -> None:
    hers = mallory.request(method, path.format(**alices))
    nobodys = mallory.request(method, path.format(file="file-0", batch="batch_0"))

    assert [404, 404] == [hers.status_code, nobodys.status_code]
    assert hers.json()["error"]["code"] == nobodys.json()["error"]["code"]


def test_anothers_file_cannot_be_ordered_and_anothers_answer_not_judged(
    mallory: httpx.Client, alices: dict[str, str]
) -> None:
    order = {"input_file_id": alices["file"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    judged = {"request_id": alices["request"], "score": 0}

    assert 404 == mallory.post("/v1/batches", json=order).status_code
    assert 404 == mallory.post("/v1/feedback", json=judged).status_code
    assert [] == mallory.get("/v1/files").json()["data"] + mallory.get("/v1/batches").json()["data"]
    assert 400 == mallory.get("/v1/files", params={"after": alices["file"]}).status_code


ESCAPES: tuple[str, ...] = (
    "..%2f..%2fadmin.key",
    "%2e%2e/%2e%2e/consilium.db",
    "..\\..\\admin.key",
    "%00",
    "%ff",
    "~",
    ".",
    "..",
    "%2fetc%2fpasswd",
)
ESCAPES += ("file-1%00.jsonl", "....//", "%252e%252e%252f", "a" * 20_000, "*", "[a-z]*", "file-%25", "%f0%9f%92%a3")


@pytest.mark.parametrize("name", ESCAPES)
def test_no_name_leads_out_of_where_it_belongs(
    target: Target, mallory: httpx.Client, admin: httpx.Client, name: str
) -> None:
    mine = [f"/v1/files/{name}", f"/v1/files/{name}/content", f"/v1/batches/{name}", f"/v1/models/{name}"]
    theirs = [f"/admin/experts/{name}", f"/admin/keys/{name}", f"/admin/jobs/{name}"]
    answers = [mallory.get(path) for path in mine] + [admin.get(path) for path in theirs]
    answers += [mallory.delete(mine[0]), admin.delete(theirs[1])]

    for answer in answers:
        listing = answer.request.url.path.rstrip("/") in ("/v1/files", "/v1/batches", "/v1/models", "/v1")
        assert (
            answer.status_code in (404, 405, 400)
            or answer.request.url.path.count("/") <= 3
            or listing
            or answer.is_redirect
        )
        assert answer.headers.get("location", target.url).startswith(target.url)
        assert "" == wrong(answer.status_code, answer.headers, answer.content)


@pytest.mark.parametrize(
    "name", ["../../../evil", "/etc/cron.d/evil", "a\x00b", "..\\evil", "CON", "." * 300, "é" * 300]
)
def test_an_uploads_name_is_only_told_never_used(target: Target, mallory: httpx.Client, name: str) -> None:
    body = b'--x\r\ncontent-disposition: form-data; name="file"; filename="%b"\r\n\r\nhello\r\n' % name.encode()
    body += b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x--\r\n'
    answer = mallory.post("/v1/files", content=body, headers={"content-type": "multipart/form-data; boundary=x"})

    assert 200 == answer.status_code
    kept = [path.name for path in (target.folder / "files").iterdir()]
    assert all(re.fullmatch(r"\.?file-[0-9a-f]+[a-z.-]*", each) for each in kept)
    assert b"hello" == mallory.get(f"/v1/files/{answer.json()['id']}/content").content
    mallory.delete(f"/v1/files/{answer.json()['id']}")
