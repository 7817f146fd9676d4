"""Clients that are slow, large or absent on purpose: each is cut off, and others are served meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.hostile.shape import wrong
from tests.hostile.sockets import BODY, HEAD, Heard, connected, heard
from tests.hostile.world import LARGEST_BODY, LARGEST_FILE, MALLORY, PATIENCE_SECONDS, Target

SLACK_SECONDS = 2.5
"""What a busy machine may add."""
UPLOAD = f"POST /v1/files HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {MALLORY}\r\n".encode()
FORM = b"content-type: multipart/form-data; boundary=x\r\n"


def dripped(target: Target, begin: bytes, drip: bytes, every: float = 0.2) -> Heard:
    """Send the beginning, then a drip at a time, until the gateway has had enough; at most ten seconds."""
    with connected(target) as connection:
        connection.sendall(begin)
        done = threading.Event()

        def drips() -> None:
            while not done.wait(every):
                try:
                    connection.sendall(drip)
                except OSError:
                    return

        thread = threading.Thread(target=drips)
        thread.start()
        try:
            return heard(connection, 10)
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"", b""),
        (b"GET /health HTTP/1.1\r\nhost: g\r\nx-a: ", b"a"),
        (HEAD + b"content-length: 5000\r\n\r\n{", b" "),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (UPLOAD + FORM + b"content-length: 100000\r\n\r\n--x\r\n", b"a"),
        (b"", b"\r\n"),
    ],
    ids=["silence", "header", "body", "chunks", "upload", "empty lines"],
)
def test_a_request_that_drips_is_ended(target: Target, begin: bytes, drip: bytes) -> None:
    told = dripped(target, begin, drip)

    assert told.closed
    assert PATIENCE_SECONDS - 0.2 <= told.seconds <= PATIENCE_SECONDS + SLACK_SECONDS
    assert 408 == told.status
    assert "" == wrong(told.status, {}, told.body)


def test_a_body_that_nobody_reads_is_not_waited_for(target: Target) -> None:
    """Its refusal is sent at once; the rest has a moment to come, so that the refusal is not lost."""
    begin = HEAD + b"content-length: 999999999\r\n\r\n" + b"x" * 10_000
    told = dripped(target, begin, b"x" * 10_000, every=0.05)

    assert (413, True) == (told.status, told.closed)
    assert told.seconds <= 2 + SLACK_SECONDS


def test_a_connection_that_idles_after_an_answer_is_closed(target: Target) -> None:
    with connected(target) as connection:
        connection.sendall(b"GET /health/liveness HTTP/1.1\r\nhost: g\r\n\r\n\r\n")
        told = heard(connection, 12)

    assert (200, True) == (told.status, told.closed)


def test_a_slow_body_that_moves_is_read_to_its_end(target: Target) -> None:
    """2.5 seconds for 5,000 bytes are more than the patience for few, and allowed for so many."""
    padded = BODY + b" " * (5000 - len(BODY))
    with connected(target) as connection:
        connection.sendall(HEAD + b"connection: close\r\ncontent-length: 5000\r\n\r\n")
        for begin in range(0, 5000, 500):
            connection.sendall(padded[begin : begin + 500])
            time.sleep(0.25)
        told = heard(connection)

    assert 200 == told.status


def test_a_client_that_takes_its_time_between_requests_of_one_connection_is_served(target: Target) -> None:
    with httpx.Client(base_url=target.url, headers={"authorization": f"Bearer {MALLORY}"}) as client:
        for _ in range(2):
            assert 200 == client.get("/v1/models").status_code
            time.sleep(PATIENCE_SECONDS + 0.3)


def test_a_stream_longer_than_the_patience_is_not_cut(target: Target) -> None:
    """Also where an old browser's empty line follows the request."""
    target.expert.word_delay = 0.15
    body = b'{"model":"math","stream":true,"messages":[{"role":"user","content":"' + b"word " * 20 + b'"}]}'
    try:
        with connected(target) as connection:
            connection.sendall(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body + b"\r\n")
            told = heard(connection)
    finally:
        target.expert.word_delay = 0.0

    assert told.seconds > PATIENCE_SECONDS
    assert b"data: [DONE]" in told.data


def test_a_client_that_never_reads_its_stream_loses_it_and_the_expert_is_free_again(target: Target) -> None:
    body = b'{"model":"math","stream":true,"messages":[{"role":"user","content":"' + b"w " * 50_000 + b'"}]}'
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((target.host, target.port))
        connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        eventually(lambda: target.expert.running > 0, 10)
        eventually(lambda: target.expert.running == 0, PATIENCE_SECONDS + 8)


def test_a_client_that_reads_slowly_but_reads_gets_all_of_its_stream(target: Target) -> None:
    """Four megabytes in seconds, the connection's end included; the gateway waits with the rest."""
    body = b'{"model":"math","stream":true,"messages":[{"role":"user","content":"' + b"w " * 20_000 + b'"}]}'
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(10)
        connection.connect((target.host, target.port))
        connection.sendall(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        begun, data = time.monotonic(), bytearray()
        while piece := connection.recv(65536):
            data += piece
            time.sleep(0.04)

    assert time.monotonic() - begun > 1.5 * PATIENCE_SECONDS
    assert data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route", "/v1/feedback", "/v1/batches"])
def test_a_body_over_the_limit_is_refused_before_it_is_whole(target: Target, path: str) -> None:
    """Announced and in chunks: the refusal comes while most of it has not been sent."""
    head = f"POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {MALLORY}\r\n".encode()
    for begin in (
        b"content-length: 1000000000\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n%x\r\n" % 1_000_000_000 + b" " * (LARGEST_BODY + 1),
    ):
        with connected(target) as connection:
            connection.sendall(head + begin)
            answer = heard(connection, 10, enough=b"request_too_large")

        assert 413 == answer.status
        assert b"request_too_large" in answer.data


def test_an_endless_upload_is_refused_and_leaves_nothing_on_the_disk(target: Target) -> None:
    before = psutil.Process().memory_info().rss
    begin = b'--x\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
    with connected(target) as connection:
        connection.sendall(UPLOAD + FORM + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % 1_000_000_000 + begin)
        told = heard_while_sending(connection, b"x" * 65536)

    assert b" 413 " in told[:20]
    assert [] == [path.name for path in (target.folder / "files").glob("*")]
    assert psutil.Process().memory_info().rss - before < 64 * 1024 * 1024 + LARGEST_FILE


def heard_while_sending(connection: socket.socket, block: bytes) -> bytes:
    """Send blocks until something comes back, and return it."""
    connection.settimeout(0.05)
    for _ in range(10_000):
        try:
            connection.sendall(block)
        except TimeoutError:
            pass
        except ConnectionError:
            break
        try:
            return connection.recv(65536)
        except TimeoutError:
            continue
    connection.settimeout(5)
    return connection.recv(65536)


@pytest.fixture
def crowd(target: Target) -> Iterator[list[socket.socket]]:
    """Three hundred connections that have begun a request and say no more."""
    found = [connected(target) for _ in range(300)]
    for each in found:
        each.sendall(HEAD + b"content-length: 100\r\n\r\n{")
    yield found
    for each in found:
        each.close()


def test_a_crowd_of_half_requests_holds_nobody_up_and_is_sent_away(target: Target, crowd: list[socket.socket]) -> None:
    begun = time.monotonic()
    with target.client() as client:
        answer = client.post("/v1/chat/completions", content=BODY)
    assert (200, True) == (answer.status_code, time.monotonic() - begun < PATIENCE_SECONDS)

    ended = [heard(each, 10) for each in crowd]
    assert {(408, True)} == {(each.status, each.closed) for each in ended}


def eventually(holds: object, seconds: float) -> None:
    """Wait until something holds."""
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.02)
