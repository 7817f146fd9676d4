"""A server's answer on an endpoint beside chat, as it came: event by event, or whole. Nothing is sent from here.

Apart from the backends because it knows no transport: it is given the bytes.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import orjson

from experts import sse
from experts.endpoints import READERS, Said
from experts.errors import DeadlinePassed, ExpertProtocolError, ExpertTimeout, ExpertUnavailable
from experts.registry import Expert
from experts.types import Endpoint, ExpertCall, RelayChunk

EVENTS = "text/event-stream"
UNKNOWN = "application/octet-stream"
MEDIA_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}(?:; ?[\w-]{1,32}=[\w.+-]{1,64})?", re.ASCII)
"""What may be said again in a header of ours."""
DONE = b"[DONE]"
NO_SUCH_API = re.compile(r"does not support .*\bapi\b")
"""How vLLM says (501) that it has the path and nothing behind it; what else is not implemented is the request's."""
NO_CHOICES: Mapping[str, Any] = {"choices": ()}
MISSING = frozenset({"not found", "file not found", "method not allowed"})
"""What servers say of a path that they do not have; of a model or an answer that they do not have they say more."""


class RelayedEvents:
    """The events of one streamed answer; `ended` once the one that ends it has come."""

    def __init__(self, expert: str, endpoint: Endpoint) -> None:
        self._expert, self._reader, self.ended = expert, READERS[endpoint](), False

    async def read(self, content: AsyncIterator[bytes]) -> AsyncGenerator[RelayChunk, None]:
        """Yield the events, comments and what follows the last one included.

        Raises:
            ExpertProtocolError: an event is not JSON.
            ExpertUnavailable: the server reports an error, or breaks off before the end.
        """
        async for frame in sse.frames(content):
            data = sse.event_data(frame)
            if data is None:
                yield RelayChunk(NO_CHOICES, data=frame, hollow=True)
                continue
            said = Said(last=True) if data == DONE else self._reader.event(_event(self._expert, data))
            self.ended = self.ended or said.last
            yield RelayChunk(NO_CHOICES, text=said.text, usage=said.usage, data=frame, hollow=said.hollow)
        if not self.ended:
            raise ExpertUnavailable(self._expert, f"Expert '{self._expert}' broke off its answer before the end.")


async def unpaused(expert: Expert, call: ExpertCall, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the pieces of an answer that comes as one: slow to begin, perhaps, but going on once it has begun.

    Raises:
        ExpertTimeout: it pauses for longer than the expert may.
        DeadlinePassed: it pauses for longer than the request allows.
    """
    own, asked = expert.config.limits.idle_timeout_seconds, math.inf if call.idle_seconds is None else call.idle_seconds
    patience = None
    while True:
        try:
            async with asyncio.timeout(patience):
                piece = await anext(pieces, None)
        except TimeoutError:
            kind = ExpertTimeout if own <= asked else DeadlinePassed
            raise kind(expert.name, f"Expert '{expert.name}' stopped in the middle of its answer.") from None
        if piece is None:
            return
        yield piece
        patience = min(own, asked)


def relayed_whole(expert: str, endpoint: Endpoint, content: bytes, content_type: str) -> RelayChunk:
    """Return an answer that came in one piece.

    Raises:
        ExpertProtocolError: it calls itself JSON and is no JSON object.
    """
    if not MEDIA_TYPE.fullmatch(content_type):
        return RelayChunk(NO_CHOICES, data=content, content_type=UNKNOWN)
    if not content_type.startswith("application/json"):
        return RelayChunk(NO_CHOICES, data=content, content_type=content_type)
    said = READERS[endpoint]().whole(_object(expert, content))
    return RelayChunk(NO_CHOICES, text=said.text, usage=said.usage, data=content, content_type=content_type)


def is_missing(status: int, content: bytes) -> bool:
    """Tell an endpoint that a server does not have from something that it was asked for there and does not have."""
    if status not in (404, 501):
        return status == 405
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return True
    error = body.get("error", body) if isinstance(body, dict) else body
    told = (error.get("message") or error.get("detail") or "") if isinstance(error, dict) else error
    words = str(told).strip(" .").lower()
    return words in MISSING if status == 404 else not words or NO_SUCH_API.search(words) is not None


def _event(expert: str, data: bytes) -> dict[str, Any]:
    body = _object(expert, data)
    error = body.get("error")
    if error or body.get("type") == "error":
        told = error.get("message", error) if isinstance(error, dict) else error or body.get("message")
        raise ExpertUnavailable(expert, f"Expert '{expert}' reported: {told}")
    return body


def _object(expert: str, data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise ExpertProtocolError(expert, f"Expert '{expert}' answered with something that is no JSON object.")
    return body
