"""What a client sends without end and fast, so that no patience ends it: each is refused, and memory is not filled."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psutil
import pytest

from gateway.batches.upload import AROUND_THE_FILE
from gateway.connections import MOST_HEAD_BYTES
from tests.hostile.shape import wrong
from tests.hostile.sockets import BODY, HEAD, Heard, connected, heard, said
from tests.hostile.test_slow_clients import eventually
from tests.hostile.world import MALLORY, PATIENCE_SECONDS, Target

GROWTH = 32 * 1024 * 1024
MOST_SENT = 64 * 1024 * 1024
LINE = b"x-a: " + b"a" * 1000 + b"\r\n"
CHUNKS = HEAD + b"transfer-encoding: chunked\r\n\r\n"
ENDLESS = {
    "a first line": (b"GET /", b"a" * 60_000),
    "headers": (b"GET /health HTTP/1.1\r\nhost: g\r\n", LINE * 60),
    "a header": (b"GET /health HTTP/1.1\r\nhost: g\r\nx-a: ", b"a" * 60_000),
    "a header's name": (b"GET /health HTTP/1.1\r\nhost: g\r\n", b"a" * 60_000),
    "a chunk's extension": (CHUNKS + b"1;", b"a" * 60_000),
    "a chunk's size": (CHUNKS, b"0" * 60_000),
    "trailers": (CHUNKS + b"2\r\n{}\r\n0\r\n", LINE * 60),
    "a trailer": (CHUNKS + b"2\r\n{}\r\n0\r\nx-a: ", b"a" * 60_000),
}


def flooded(target: Target, begin: bytes, block: bytes) -> tuple[Heard, int]:
    """Send blocks until the gateway hangs up; return what it said, and how much was sent."""
    sent = len(begin)
    with connected(target) as connection:
        connection.sendall(begin)
        with suppress(OSError):
            while sent < MOST_SENT:
                connection.sendall(block)
                sent += len(block)
        return heard(connection, 3), sent


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_surrounds_a_body_has_an_end(target: Target, kind: str) -> None:
    """Without a key: whoever reaches the port can send it."""
    before = psutil.Process().memory_info().rss
    told, sent = flooded(target, *ENDLESS[kind])
    grown = psutil.Process().memory_info().rss - before

    assert told.closed
    assert sent < MOST_SENT // 4
    assert grown < GROWTH
    assert told.status in (0, 400, 431)  # 0: what was still under way broke the connection, and its answer with it
    assert "" == wrong(told.status, {}, told.body)


def test_headers_that_come_at_once_are_too_many_too(target: Target) -> None:
    lines = MOST_HEAD_BYTES // len(LINE)
    fit = said(target, b"GET /health/liveness HTTP/1.1\r\nhost: g\r\n" + LINE * (lines - 2) + b"\r\n")
    more = said(target, b"GET /health/liveness HTTP/1.1\r\nhost: g\r\n" + LINE * (lines + 2) + b"\r\n")

    assert (200, 431) == (fit.status, more.status)
    assert "" == wrong(431, {}, more.body)
    assert b"headers_too_large" in more.body


def test_headers_of_many_requests_on_one_connection_do_not_add_up(target: Target) -> None:
    one = b"GET /health/liveness HTTP/1.1\r\nhost: g\r\n" + LINE * 30 + b"\r\n"
    with connected(target) as connection:
        for _ in range(5):
            connection.sendall(one)
            assert 200 == heard(connection, 5, enough=b"}").status


def test_a_body_in_pieces_of_one_byte_is_no_flood(target: Target) -> None:
    """What stands between the pieces is six times what they say, and far more than headers may be."""
    padded = BODY + b" " * (40_000 - len(BODY))
    body = b"".join(b"1;ab=c\r\n%c\r\n" % byte for byte in padded) + b"0\r\n\r\n"
    told = said(target, HEAD + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n" + body)

    assert 200 == told.status


def parts(count: int) -> bytes:
    return b"".join(b'--x\r\ncontent-disposition: form-data; name="%d"\r\n\r\n\r\n' % number for number in range(count))


@pytest.mark.parametrize(
    "beside",
    [
        parts(2000),
        b"--x\r\n" + LINE * 80,
        b"--x\r\n" + b"x-a: b\r\n" * 12_000,
        b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n' + b"a" * 70_000,
        b'--x\r\ncontent-disposition: form-data; name="' + b"a" * 70_000 + b'"\r\n\r\n',
    ],
    ids=["parts", "long headers", "headers", "a field", "a name"],
)
def test_a_form_may_have_little_beside_its_file(target: Target, mallory: httpx.Client, beside: bytes) -> None:
    """Its file may have hundreds of megabytes; as many of fields would stand in memory."""
    form = {"content-type": "multipart/form-data; boundary=x"}
    body = beside + b'\r\n--x\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--x--\r\n'
    answer = mallory.post("/v1/files", content=body, headers=form)

    assert len(body) > AROUND_THE_FILE
    assert 400 == answer.status_code
    assert "" == wrong(400, answer.headers, answer.content)
    assert [] == [path.name for path in (target.folder / "files").glob(".*")]


ODD_PARTS = {
    "two files": b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\na\r\n' * 2,
    "no name": b"--x\r\ncontent-disposition: form-data\r\n\r\na\r\n",
    "no disposition": b"--x\r\n\r\na\r\n",
    "an attachment": b'--x\r\ncontent-disposition: attachment; name="x"\r\n\r\na\r\n',
    "a name of bytes": b'--x\r\ncontent-disposition: form-data; name="\xff\xfe"\r\n\r\na\r\n',
    "a name in parts": b"--x\r\ncontent-disposition: form-data; name*0=fi; name*1=le\r\n\r\na\r\n",
    "a coded name": b"--x\r\ncontent-disposition: form-data; name*=utf-8''%ff%00\r\n\r\na\r\n",
    "a form in the form": b"--x\r\ncontent-type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\na\r\n--y--\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", ODD_PARTS)
def test_odd_parts_end_in_an_openai_error_and_leave_nothing(target: Target, mallory: httpx.Client, kind: str) -> None:
    before = sorted((target.folder / "files").glob("*"))
    form = {"content-type": "multipart/form-data; boundary=x"}
    answer = mallory.post("/v1/files", content=ODD_PARTS[kind] + b"--x--\r\n", headers=form)

    assert 400 == answer.status_code
    assert "" == wrong(400, answer.headers, answer.content)
    assert before == sorted((target.folder / "files").glob("*"))


@pytest.fixture
def deaf(target: Target) -> Iterator[list[socket.socket]]:
    """Thirty connections that asked for a stream of five megabytes and read nothing of it."""
    body = BODY.replace(b"{", b'{"stream":true,', 1)
    former, target.expert.reply = target.expert.reply, lambda _: ("w" * 2000 + " ") * 2500
    found = []
    for _ in range(30):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((target.host, target.port))
        connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        found.append(connection)
    eventually(lambda: target.expert.running == len(found), 10)
    target.expert.reply = former
    yield found
    for each in found:
        each.close()


def test_a_crowd_that_reads_nothing_holds_nobody_up(target: Target, deaf: list[socket.socket]) -> None:
    """Each of its streams waits for its own reader, and is ended."""
    before = psutil.Process().memory_info().rss
    with target.client() as client:
        assert 200 == client.post("/v1/chat/completions", content=BODY).status_code
    assert target.expert.running > len(deaf) / 2
    eventually(lambda: target.expert.running == 0, PATIENCE_SECONDS + 20)

    assert psutil.Process().memory_info().rss - before < GROWTH * 4


def test_five_hundred_requests_at_once_on_one_connection_are_answered_in_their_order(target: Target) -> None:
    head = f"GET /v1/files/%d HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {MALLORY}\r\n\r\n".encode()
    with connected(target) as connection:
        connection.sendall(b"".join(head % number for number in range(500)))
        told = heard(connection, 30, enough=b"'499'")

    at = [told.data.find(b"'%d'" % number) for number in range(500)]
    assert sorted(at) == at
    assert at[0] > 0
