"""Headers that carry more than a value: into the answer, into the log, into the next request of a connection."""

from __future__ import annotations

import json
from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.translate import header_value
from tests.hostile.shape import wrong
from tests.hostile.sockets import BODY, HEAD, connected, heard, said
from tests.hostile.world import MALLORY, Target

CHAT = "/v1/chat/completions"
EVIL = "x\r\nx-evil: yes\r\n\r\nHTTP/1.1 200 OK"
HELLO = [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(
    "body",
    [
        {"model": EVIL, "messages": HELLO},
        {"model": "auto", "messages": HELLO, EVIL: 1},
        {"model": "auto", "messages": HELLO, "user": EVIL},
        {"model": "auto", "messages": HELLO, "routing": {"policy": EVIL}},
        {"model": "auto", "messages": HELLO, "routing": {"fusion": EVIL}},
        {"model": "auto", "messages": HELLO, "routing": {"experts": {"allow": [EVIL]}}},
        {"model": "auto", "messages": HELLO, "routing": {EVIL: 1}},
        {"model": "auto", "messages": [{"role": EVIL, "content": EVIL}]},
    ],
)
def test_nothing_of_a_body_becomes_a_header(mallory: httpx.Client, body: dict[str, object]) -> None:
    answer = mallory.post(CHAT, json=body)

    assert "x-evil" not in answer.headers
    assert answer.status_code in (200, 400, 404)
    assert all("\n" not in value for value in answer.headers.values())


@pytest.mark.parametrize("value", [b"a b", b"\xe9", b"<script>", b"a" * 129, b"x;y", b"../../x", b"${jndi:ldap://x}"])
def test_a_request_id_that_could_be_more_is_not_repeated(target: Target, mallory: httpx.Client, value: bytes) -> None:
    answer = mallory.post(CHAT, content=BODY, headers=[(b"x-request-id", value)])

    assert 32 == len(answer.headers["x-request-id"])
    assert not any(value.decode("latin-1") in line for line in target.watch.lines)


@pytest.mark.parametrize(
    "name", ["x-consilium-session", "x-consilium-policy", "x-consilium-experts", "user-agent", "cookie"]
)
def test_no_header_of_a_request_comes_back(mallory: httpx.Client, name: str) -> None:
    answer = mallory.post(CHAT, content=BODY, headers=[(name.encode(), b"evil\xe9;x-evil=1")])

    assert "evil" not in str(dict(answer.headers.items()))


def test_a_log_line_stays_one_line_whatever_is_asked(target: Target) -> None:
    said(target, HEAD.replace(b"/v1/chat", b"/%0a%22%7d%7b%0d/v1/chat") + b"content-length: 2\r\n\r\n{}")
    lines = [line for line in target.watch.lines if "/v1/chat/completions" in line]

    assert lines
    assert all(json.loads(line) and "\n" not in line for line in target.watch.lines)


SMUGGLED = b"GET /v1/models HTTP/1.1\r\nhost: g\r\n\r\n"
AMBIGUOUS = {
    "both lengths": b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"content-length: 4\r\ncontent-length: 100\r\n\r\nabcd",
    "a list of lengths": b"content-length: 4, 100\r\n\r\nabcd",
    "a signed length": b"content-length: +4\r\n\r\nabcd",
    "a length in hex": b"content-length: 0x4\r\n\r\nabcd",
    "a space before the colon": b"content-length : 4\r\n\r\nabcd",
    "chunked, but not last": b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked with a tab": b"transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"x-a: b\r\n content-length: 4\r\n\r\nabcd",
    "bare line feeds": b"content-length: 4\n\nabcd",
    "a chunk size of no end": b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "a negative chunk size": b"transfer-encoding: chunked\r\n\r\n-1\r\nx\r\n",
    "chunked in other words": b"transfer-encoding: xchunked\r\ncontent-length: 4\r\n\r\nabcd",
    "two encodings": b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked twice": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "the same length twice": b"content-length: 4\r\ncontent-length: 4\r\n\r\nabcd",
    "no length at all": b"content-length: \r\n\r\n",
    "a space before the colon of chunks": b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a zero byte in a name": b"x\x00a: b\r\ncontent-length: 4\r\n\r\nabcd",
    "a zero byte in a value": b"x-a: b\x00\r\ncontent-length: 4\r\n\r\nabcd",
    "a bare carriage return": b"x-a: b\rcontent-length: 9\r\ncontent-length: 4\r\n\r\nabcd",
    "a line feed in an extension": b"transfer-encoding: chunked\r\n\r\n2;\nxx\r\n4c\r\n0\r\n\r\n",
    "chunks ended by line feeds": b"transfer-encoding: chunked\r\n\r\n2\nxx\n0\n\n",
    "a chunk longer than it says": b"transfer-encoding: chunked\r\n\r\n2\r\nxxx\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_a_request_of_two_meanings_is_refused_and_what_follows_is_not_answered(target: Target, kind: str) -> None:
    told = said(target, HEAD + AMBIGUOUS[kind] + SMUGGLED)

    assert (400, True) == (told.status, told.closed)
    assert 1 == told.data.count(b"HTTP/1.1 ")


@pytest.mark.parametrize("garbage", [b"\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nx-a: " + b"a" * 200_000])
@pytest.mark.parametrize("between", [b"", b"GET /v1/models HTTP/1.1\r\nhost: g\r\n\r\n"])
def test_a_refusal_is_not_written_into_an_answer_that_is_under_way(
    target: Target, garbage: bytes, between: bytes
) -> None:
    """Whoever reads the answer would take it for a part of it."""
    target.expert.word_delay = 0.05
    body = BODY.replace(b"{", b'{"stream":true,', 1)
    try:
        with connected(target) as connection:
            connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
            begun = heard(connection, 5, enough=b"data: ")
            with suppress(OSError):
                connection.sendall(between + garbage)
            rest = heard(connection, 5)
    finally:
        target.expert.word_delay = 0.0

    assert (200, True) == (begun.status, rest.closed)
    assert b"HTTP/1.1" not in rest.data.partition(b"0\r\n\r\n")[0]


@pytest.mark.parametrize("path", ["/v1/models/", "/v1/files/", "/v1/chat/completions/", "/docs/", "//evil.example/"])
def test_nothing_leads_to_the_host_that_a_request_names(target: Target, path: str) -> None:
    for address in (path, f"http://evil.example{path}"):
        head = f"GET {address} HTTP/1.1\r\nhost: evil.example\r\nauthorization: Bearer {MALLORY}\r\n"
        told = said(target, head.encode() + b"connection: close\r\n\r\n")

        assert 404 == told.status
        assert b"evil" not in told.data


@pytest.mark.parametrize("name", ["anthropic-version", "anthropic-beta"])
@pytest.mark.parametrize("value", [b"\xe9", b"a\tb", "\u202e".encode()])
def test_a_header_that_goes_on_to_an_expert_has_plain_words(mallory: httpx.Client, name: str, value: bytes) -> None:
    body = {"model": "math", "messages": HELLO, "max_tokens": 5}
    answer = mallory.post("/v1/messages", json=body, headers=[(name.encode(), value)])

    assert (400, name) == (answer.status_code, answer.json()["error"]["param"])


NAMES = (
    "a\r\nx: y",
    "math\n",
    "é",
    "..",
    ".",
    "a/b",
    "a b",
    "a,b",
    "%2e",
    "a\x00",
    "-",
    "",
    "a" * 65,
    "auto",
    "council",
    "💥",
)


@pytest.mark.parametrize("name", NAMES)
def test_an_expert_has_a_name_that_can_be_said_anywhere(admin: httpx.Client, target: Target, name: str) -> None:
    """In a header, a path, a metric, a file's name."""
    answer = admin.post("/admin/experts", json={"name": name, "replicas": [{"base_url": target.expert.url}]})

    assert 400 == answer.status_code
    assert "" == wrong(400, answer.headers, answer.content)


@given(st.text(max_size=2000))
def test_what_is_made_a_header_of_is_printable_whatever_it_was(text: str) -> None:
    made = header_value(text)

    assert made.isascii()
    assert made.isprintable() or made == ""
    assert len(made) <= 1024


def test_a_key_that_a_client_puts_into_the_address_is_not_logged(target: Target) -> None:
    for path in (f"/v1/{MALLORY}/models", f"/v1/models/{MALLORY}", f"/{MALLORY}", f"/v1/files/x {MALLORY}"):
        httpx.get(target.url + path)

    assert [] == target.leaks()


def test_what_strangers_make_up_does_not_multiply_in_the_metrics(target: Target, mallory: httpx.Client) -> None:
    def ask(begin: int) -> int:
        for n in range(begin, begin + 20):
            headers = {"x-consilium-session": f"s{n}", "user-agent": f"u{n}", "x-request-id": f"r{n}"}
            for more in ({"model": f"m{n}"}, {"routing": {"policy": f"p{n}"}}, {"routing": {"fusion": f"f{n}"}}, {}):
                mallory.post(CHAT, json={"messages": HELLO, **more}, headers=headers)
            mallory.get(f"/nowhere{n}")
            mallory.request(f"MADE{chr(65 + n % 26)}", "/v1/models")
        return len(mallory.get("/metrics").text.splitlines())

    assert ask(0) == ask(20)


def test_an_offered_protocol_is_declined_and_the_request_answered(target: Target) -> None:
    offers = (
        b"upgrade: h2c\r\nconnection: upgrade, http2-settings\r\n",
        b"UPGRADE: h2c\r\nCONNECTION: UPGRADE, HTTP2-SETTINGS\r\n",
        b"upgrade: websocket\r\nconnection: upgrade\r\n",
    )
    for offer in offers:
        told = said(target, HEAD + offer + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)

        assert 200 == told.status, offer


def test_a_clients_headers_do_not_reach_an_expert(target: Target, mallory: httpx.Client) -> None:
    sent = {"cookie": "a=b", "x-evil": "1", "x-forwarded-for": "1.2.3.4", "accept-encoding": "br", "x-api-key": MALLORY}
    assert 200 == mallory.post(CHAT, content=BODY, headers=sent).status_code
    arrived = target.expert.request_headers[-1]

    assert {"cookie", "x-evil", "x-forwarded-for", "x-api-key"}.isdisjoint(arrived)
    assert MALLORY not in str(arrived)
