"""Clients that are slow or endless on purpose: every connection has a time for its headers, its body, and for taking
an answer, and headers have a size.

uvicorn closes a connection that idles between two requests and waits forever within one, so a few thousand sockets
that send a byte a minute would use up a process's descriptors, and a reader that never reads would keep its expert's
place. As Apache's mod_reqtimeout has it: a time, and beyond it a second for every so many bytes that moved. The
parser keeps headers however long, and whoever sends them fast would fill the memory without any key.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus

import orjson
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.errors import HeadTooLarge, InvalidRequest, RequestError, TooSlow, error_body, wire

BYTES_PER_SECOND = 1000
"""What earns a second more."""
MOST_HEAD_BYTES = 64 * 1024
"""Of a request's first line and headers; of what follows a body, or stands between two pieces of one, too."""
OFFER = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
TOLD_TOO_LARGE = f"The request's headers are larger than {MOST_HEAD_BYTES} bytes."
GONE = "consilium.gone"
"""Where a request's scope has a future that is done once its client has gone."""
LINGER_SECONDS = 2.0
"""How long the rest of a body may still come when its answer, a refusal, has been sent."""


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 of uvicorn's, with an end to patience; one timer a connection, looked at when it may be due."""

    patience_seconds = 20.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for headers."""
        super().connection_made(transport)
        self._answered: RequestResponseCycle | None = None
        self._began: float | None = self.loop.time()
        self._arrived = self._stuck = 0
        self._stuck_since: float | None = None
        self._lingers_until: float | None = None
        self._in_head = True
        self._around = 0  # bytes since the last one of a body
        self._gone: asyncio.Future[None] = self.loop.create_future()
        self._timer = self.loop.call_later(self.patience_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._timer.cancel()
        self._gone.set_result(None)
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Remember whom an answer is for: uvicorn tells the last request alone that its client has gone."""
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Count what arrives; the first byte after an answer begins a request, an empty line too."""
        if self._began is None:
            self._begin()
        self._arrived += len(data)
        self._around += len(data)
        super().data_received(
            without_offer(data) if self._in_head and (b"pgrade:" in data or b"PGRADE:" in data) else data
        )
        if self._around > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(HeadTooLarge(TOLD_TOO_LARGE))

    def on_headers_complete(self) -> None:
        """Leave the bytes of a body as they are.

        Raises:
            HeadTooLarge: the headers came at once, and are too many.
        """
        if self._around > MOST_HEAD_BYTES and self._head_size() > MOST_HEAD_BYTES:
            raise HeadTooLarge(TOLD_TOO_LARGE)
        self._in_head, self._around = False, 0
        self.scope[GONE] = self._gone  # type: ignore[literal-required]
        super().on_headers_complete()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._around = 0
        super().on_body(body)

    def _begin(self) -> None:
        self._began, self._arrived = self.loop.time(), 0

    def on_message_begin(self) -> None:
        """Begin to wait, where a request follows another at once."""
        if self._began is None:
            self._begin()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Wait for nothing from the client until its next request."""
        self._began = self._lingers_until = None
        self._in_head = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give the rest of a body that nobody reads a moment: closing at once would lose the answer on its way."""
        if self._began is not None and self.cycle.response_complete and self.cycle.more_body:
            self._lingers_until = self.loop.time() + LINGER_SECONDS
            self._again_at(self._lingers_until)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        self._stick()
        super().pause_writing()

    def _stick(self) -> None:
        self._stuck_since, self._stuck = self.loop.time(), self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """It did."""
        self._stuck_since = None
        super().resume_writing()

    def due(self) -> float | None:
        """Return when patience ends, on the loop's clock; None while nothing is awaited from the client."""
        if self._stuck_since is not None:
            taken = self._stuck - self.transport.get_write_buffer_size()
            return self._stuck_since + self.patience_seconds + max(0, taken) / BYTES_PER_SECOND
        if self._lingers_until is not None:
            return self._lingers_until
        if self._began is None:
            return None
        if self.flow.read_paused or self._answering():  # it is us who take our time
            self._begin()
        return self._began + self.patience_seconds + self._arrived / BYTES_PER_SECOND

    def _answering(self) -> bool:
        """Say whether a request that came whole is being answered; what arrives meanwhile is of a later one."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _again_at(self, when: float) -> None:
        self._timer.cancel()
        self._timer = self.loop.call_at(when, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        if self.transport.is_closing() and self._stuck_since is None:
            self._stick()  # the last bytes have to be taken, too
        due = self.due()
        if due is None:
            self._again_at(now + self.patience_seconds)
        elif now < due:
            self._again_at(due)
        else:
            self._give_up()

    def _give_up(self) -> None:
        """End the connection: with a word, where one can still be said."""
        if self._stuck_since is not None:
            self.transport.abort()
            return
        told = TooSlow("The request did not arrive in time; send it faster, or whole.")
        waiting = self.cycle is None or self.cycle.response_complete or not self.cycle.response_started
        if waiting and self._lingers_until is None:
            self.transport.write(refusal(told))
        self.transport.close()
        self._again_at(self.loop.time() + self.patience_seconds)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the shape of every other error; nothing of it is repeated."""
        large = self._in_head and self._around > MOST_HEAD_BYTES
        self._refuse(HeadTooLarge(TOLD_TOO_LARGE) if large else InvalidRequest(msg))

    def _refuse(self, error: RequestError) -> None:
        """Close, with a word where it cannot be taken for a part of an answer that is under way."""
        answered = self._answered
        begun = answered is not None and answered.response_started and not answered.response_complete
        if not (begun or self.pipeline):
            self.transport.write(refusal(error))
        self.transport.close()


def without_offer(data: bytes) -> bytes:
    """Return a request's beginning without its offer to speak another protocol.

    It is declined by not hearing it (RFC 9110, 7.8): Java's client offers HTTP/2 in every request, and the parser
    takes what follows such a head for the other protocol's, a body too.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    return OFFER.sub(b"\r\nx-offered:", head) + end + body


def refusal(error: RequestError) -> bytes:
    """Return a whole answer that closes the connection."""
    body, status = orjson.dumps(error_body(error)), wire(error).status
    reason = HTTPStatus(status).phrase.encode()
    head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    return head % (status, reason, len(body)) + body


def patient(seconds: float) -> type[PatientProtocol]:
    """Return the protocol with this much patience."""
    return type("PatientProtocol", (PatientProtocol,), {"patience_seconds": seconds})
