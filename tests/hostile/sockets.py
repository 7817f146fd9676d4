"""HTTP by hand: bytes out, bytes back, over a real socket, with a deadline."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass

from tests.hostile.world import MALLORY, Target

LONGEST_SECONDS = 20.0
WAITS_SECONDS = 0.25
"""How long an answer may take before a request is given up for unfinished."""
HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {MALLORY}\r\n".encode()
BODY = b'{"model":"math","messages":[{"role":"user","content":"hello"}]}'


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back until the connection ended, or the time was up; `closed` says which."""

    data: bytes
    closed: bool
    seconds: float

    @property
    def status(self) -> int:
        """The first answer's status; 0 without one."""
        line = self.data.split(b"\r\n", 1)[0].split(b" ")
        return int(line[1]) if len(line) > 1 and line[1].isdigit() else 0

    @property
    def body(self) -> bytes:
        """All behind the first answer's headers."""
        return self.data.partition(b"\r\n\r\n")[2]


def connected(target: Target, seconds: float = LONGEST_SECONDS) -> socket.socket:
    """Return a connection; the caller closes it."""
    return socket.create_connection((target.host, target.port), timeout=seconds)


def heard(connection: socket.socket, seconds: float = LONGEST_SECONDS, enough: bytes | None = None) -> Heard:
    """Read until the gateway closes the connection, or says `enough`, at most so long."""
    begun, data = time.monotonic(), bytearray()
    while (enough is None or enough not in data) and (left := begun + seconds - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            chunk = connection.recv(65536)
        except TimeoutError:
            break
        except ConnectionError:
            chunk = b""
        if not chunk:
            return Heard(bytes(data), True, time.monotonic() - begun)
        data += chunk
    return Heard(bytes(data), False, time.monotonic() - begun)


def said(target: Target, data: bytes, seconds: float = LONGEST_SECONDS) -> Heard:
    """Send bytes and return what came back; when nothing more does, say that there is no more to send."""
    with connected(target, seconds) as connection:
        with suppress(OSError):  # it has been refused already: what was said is still there to be read
            connection.sendall(data)
        first = heard(connection, WAITS_SECONDS)
        if first.closed:
            return first
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        rest = heard(connection, seconds)
    return Heard(first.data + rest.data, rest.closed, first.seconds + rest.seconds)
