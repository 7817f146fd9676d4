"""Connections to experts, against servers of a few lines that answer byte by byte as told."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from experts.backends import wire
from experts.backends.wire import Connections, placed

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Served:
    """A server that is told what to do with each request; `met` counts connections, `asked` has what they sent."""

    def __init__(self, *handlers: Handler) -> None:
        self.handlers, self.met, self.asked = list(handlers), 0, list[bytes]()
        self.url = ""
        self.gone = asyncio.Event()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.asked.append(head + await reader.readexactly(length))
                await (self.handlers.pop(0) if len(self.handlers) > 1 else self.handlers[0])(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
        finally:
            writer.close()


def self_signed(key: Path, certificate: Path) -> None:
    wanted = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    place = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *wanted.split(), *place], check=True, capture_output=True)


@asynccontextmanager
async def serving(*handlers: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    served = Served(*handlers)
    server = await asyncio.start_server(served.meet, "127.0.0.1", 0, ssl=context)
    host, port = server.sockets[0].getsockname()
    served.url = f"{'http' if context is None else 'https'}://{host if context is None else 'localhost'}:{port}/v1/x"
    async with server:
        yield served


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    found = Connections()
    yield found
    await found.aclose()


def says(*pieces: bytes, pause: float = 0.0, closes: bool = False) -> Handler:
    async def handler(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        if closes:
            writer.close()

    return handler


async def asked(
    connections: Connections, url: str, rest: float = 0.0, patience: float = 0.0
) -> tuple[int, list[bytes]]:
    async with connections.post(url, b"{}", {"accept": "x/y"}) as response:
        pieces = []
        while piece := await response.read(rest, patience):
            pieces.append(piece)
        return response.status, pieces


async def test_a_request_says_what_it_must_and_its_connection_serves_the_next(connections: Connections) -> None:
    async with serving(says(OK)) as served:
        first, second = await asked(connections, served.url), await asked(connections, served.url)

    assert (200, [b"ok"]) == first == second
    assert 1 == served.met
    begin = b"POST /v1/x HTTP/1.1\r\nhost: %b\r\naccept: x/y\r\ncontent-length: 2\r\n\r\n{}"
    assert begin % served.url.split("/")[2].encode() == served.asked[0]


async def test_connections_are_used_by_one_request_at_a_time(connections: Connections) -> None:
    async with serving(says(CHUNKED, b"2\r\nok\r\n", b"0\r\n\r\n", pause=0.02)) as served:
        answers = await asyncio.gather(*(asked(connections, served.url) for _ in range(5)))
        assert 0 == connections.open

    assert [b"ok"] * 5 == [b"".join(pieces) for _, pieces in answers]
    assert 5 == served.met


async def test_a_connection_that_has_idled_is_not_used_again(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "IDLE_SECONDS", 0.05)
    async with serving(says(OK)) as served:
        await asked(connections, served.url)
        await asyncio.wait_for(served.gone.wait(), 2)  # nobody asks: it is closed all the same
        await asked(connections, served.url)

    assert 2 == served.met


async def test_what_was_sent_on_a_connection_that_died_idle_is_sent_once_more(connections: Connections) -> None:
    async with serving(says(OK), says(closes=True), says(OK)) as served:
        await asked(connections, served.url)
        status, _ = await asked(connections, served.url)

    assert 200 == status
    assert (2, 3) == (served.met, len(served.asked))


async def test_what_broke_on_a_new_connection_is_not_sent_again(connections: Connections) -> None:
    async with serving(says(closes=True)) as served:
        with pytest.raises(httpx.ReadError):
            await asked(connections, served.url)

    assert 1 == len(served.asked)


async def test_what_broke_after_its_first_byte_is_not_sent_again(connections: Connections) -> None:
    async with serving(says(OK), says(b"HTTP/1.1 2", closes=True)) as served:
        await asked(connections, served.url)
        with pytest.raises(httpx.ReadError):
            await asked(connections, served.url)

    assert 2 == len(served.asked)


async def test_all_that_came_before_a_break_is_read_first(connections: Connections) -> None:
    cut = says(CHUNKED + b"2\r\nok\r\n", closes=True)
    async with serving(cut) as served, connections.post(served.url, b"{}", {}) as response:
        await asyncio.sleep(0.05)
        assert b"ok" == await response.read()
        with pytest.raises(httpx.ReadError):
            await response.read()


async def test_an_answer_without_a_length_ends_with_its_connection(connections: Connections) -> None:
    async with serving(says(b"HTTP/1.1 200 OK\r\n\r\nall of it", closes=True)) as served:
        status, pieces = await asked(connections, served.url)

    assert (200, b"all of it") == (status, b"".join(pieces))


async def test_what_is_only_announced_is_no_answer(connections: Connections) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"
    async with serving(says(early, OK)) as served, connections.post(served.url, b"{}", {}) as response:
        assert (200, b"ok") == (response.status, await response.read())
        assert b"link" not in response.headers


async def test_a_connection_that_the_server_closes_is_not_kept(connections: Connections) -> None:
    async with serving(says(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))) as served:
        await asked(connections, served.url)
        await asked(connections, served.url)

    assert 2 == served.met


async def test_bytes_after_the_end_are_nobodys_answer(connections: Connections) -> None:
    async with serving(says(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged")) as served:
        answers = [await asked(connections, served.url) for _ in range(3)]

    assert [[b"ok"]] * 3 == [pieces for _, pieces in answers]
    assert 3 == served.met


async def test_bytes_that_come_later_than_the_end_are_nobodys_answer(connections: Connections) -> None:
    async with serving(says(OK, b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged", pause=0.02)) as served:
        await asked(connections, served.url)
        await asyncio.sleep(0.1)
        _, pieces = await asked(connections, served.url)

    assert [b"ok"] == pieces
    assert 2 == served.met


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\nok",
        CHUNKED + b"zz\r\nok\r\n",
    ],
    ids=["no HTTP", "endless head", "packed", "another protocol", "no length of a piece"],
)
async def test_what_is_no_answer_is_an_error(connections: Connections, sent: bytes) -> None:
    async with serving(says(sent)) as served:
        with pytest.raises(httpx.RemoteProtocolError):
            await asyncio.wait_for(asked(connections, served.url), 5)
        assert 0 == connections.open


async def test_nobody_there_is_an_error(connections: Connections) -> None:
    async with serving(says(OK)) as served:
        url = served.url
    with pytest.raises(httpx.ConnectError):
        await asked(connections, url)
    with pytest.raises(httpx.ConnectError):
        await asked(connections, "http://nobody.invalid/")


async def test_nothing_is_sent_to_a_metadata_service(connections: Connections) -> None:
    with pytest.raises(httpx.ConnectError, match="metadata"):
        await asked(connections, "http://169.254.169.254/v1")


@pytest.mark.parametrize("url", ["ftp://expert/v1", "expert:80", "http://", "http://a b/", "file:///etc/passwd"])
async def test_what_is_no_url_of_http_is_not_called(connections: Connections, url: str) -> None:
    with pytest.raises((httpx.UnsupportedProtocol, httpx.ConnectError)):
        await asked(connections, url)


async def test_a_header_cannot_break_out_of_its_line(connections: Connections) -> None:
    async with serving(says(OK)) as served:
        with pytest.raises(httpx.LocalProtocolError):
            async with connections.post(served.url, b"{}", {"authorization": "Bearer a\r\nx: y"}):
                pass
        assert (0, 0) == (served.met, connections.open)


async def test_an_answer_that_is_left_is_aborted(connections: Connections) -> None:
    async with serving(says(CHUNKED, *[b"2\r\nok\r\n"] * 1_000, pause=0.01)) as served:
        async with connections.post(served.url, b"{}", {}) as response:
            await response.read()
        await asyncio.wait_for(served.gone.wait(), 2)
        assert 0 == connections.open


async def test_thousands_of_dead_connections_are_passed_over(connections: Connections) -> None:
    async with serving(says(OK)) as served:
        origin, _ = placed(served.url)
        connections._free[origin] = [(0.0, wire.Connection()) for _ in range(3000)]
        assert (200, [b"ok"]) == await asked(connections, served.url)

    assert 1 == served.met


async def test_what_was_left_unread_is_no_part_of_the_next_answer(connections: Connections) -> None:
    second = OK.replace(b"ok", b"no")
    async with serving(says(OK), says(second), says(CHUNKED + b"2\r\nok\r\n0\r\n\r\n"), says(second)) as served:
        for _ in range(2):
            async with connections.post(served.url, b"{}", {}) as response:
                await asyncio.sleep(0.05)
                assert response.over  # and left as it is
            assert [b"no"] == (await asked(connections, served.url))[1]

    assert 1 == served.met


async def test_who_waits_is_cancelled_with_the_connection(connections: Connections) -> None:
    async with serving(says(pause=60)) as served:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asked(connections, served.url), 0.1)
        assert 0 == connections.open
        assert not connections._free


async def test_pieces_come_together_while_a_connection_is_left_alone(connections: Connections) -> None:
    pieces = [b"2\r\n%02d\r\n" % number for number in range(40)]
    async with serving(says(CHUNKED, *pieces, b"0\r\n\r\n", pause=0.005)) as served:
        _, found = await asked(connections, served.url, rest=0.1)
        await asked(connections, served.url)  # it takes again what comes

    assert b"".join(b"%02d" % number for number in range(40)) == b"".join(found)
    assert 10 >= len(found)
    assert 1 == served.met


async def test_patience_lets_pieces_come_together_and_ends_with_the_answer(connections: Connections) -> None:
    pieces = [b"2\r\n%02d\r\n" % number for number in range(20)]
    async with serving(says(CHUNKED + pieces[0], *pieces[1:], b"0\r\n\r\n", pause=0.005)) as served:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        _, found = await asked(connections, served.url, patience=5.0)

    assert b"".join(b"%02d" % number for number in range(20)) == b"".join(found)
    assert 2 >= len(found)
    assert 4.0 > loop.time() - begun


async def test_a_server_waits_for_who_does_not_read(connections: Connections) -> None:
    piece = b"10000\r\n" + bytes(65536) + b"\r\n"
    sent = 0

    async def pours(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(CHUNKED)
        for _piece in range(800):
            writer.write(piece)
            await writer.drain()
            sent += 65536
        writer.write(b"0\r\n\r\n")

    async with serving(pours) as served, connections.post(served.url, b"{}", {}) as response:
        await asyncio.sleep(0.3)
        held = sent
        read = 0
        while data := await response.read(0.0005):
            read += len(data)

    assert 40_000_000 > held
    assert 800 * 65536 == read


async def test_few_answers_are_read_at_once_and_many_after_a_pause() -> None:
    connections = Connections()
    connections.open = 20
    few = connections.rest_seconds
    connections.open = 256
    many = connections.rest_seconds
    connections.open = 100_000

    assert (0.0, 0.0512, 0.1) == (few, many, connections.rest_seconds)


def test_urls_lead_where_they_say() -> None:
    assert (wire.Origin(False, "::1", 8000), b"POST /v1 HTTP/1.1\r\nhost: [::1]:8000\r\n") == placed(
        "http://[::1]:8000/v1"
    )
    assert wire.Origin(True, "expert.example", 443) == placed("https://expert.example/v1?a=b")[0]
    assert b"authorization: Basic dTpw\r\n" in placed("http://u:p@expert/v1")[1]


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    connections: Connections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    await asyncio.to_thread(self_signed, key, certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with serving(says(OK), context=context) as served:
        with pytest.raises(httpx.ConnectError, match="certificate"):
            await asked(connections, served.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        trusting = Connections()
        assert (200, [b"ok"]) == await asked(trusting, served.url)
        await trusting.aclose()
