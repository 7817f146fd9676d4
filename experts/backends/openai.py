"""Any OpenAI-compatible server, asked for a streamed chat completion.

Whole answers are read from the same stream, so there is one request shape, one parser (`chunks`), and the same
deadlines until the first token and between tokens. httpx's errors are translated here, in one table, and nowhere else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
import httpx
import orjson

from experts import sse
from experts.backends.chunks import ChunkReader
from experts.backends.client import ENDING_SECONDS, LONGEST_SHORT_BYTES, Client, shortened, until_ended
from experts.backends.relaying import EVENTS, RelayedEvents, is_missing, relayed_whole, unpaused
from experts.backends.wire import Connection
from experts.errors import (
    EndpointMissing,
    ExpertError,
    ExpertOverloaded,
    ExpertProtocolError,
    ExpertRejected,
    ExpertTimeout,
    ExpertUnavailable,
)
from experts.registry import Expert, Replica
from experts.trace_context import SENT_ALONG
from experts.types import AnswerChunk, ExpertCall, Relay

PROBE_TIMEOUT_SECONDS = 3.0
UNWATCHED_SECONDS = 0.2
"""How often an answer is looked at that nobody watches being written: often enough to see that it goes on."""
OVERLOADED = frozenset({429, 503})
LONGEST_NAMES = 500
"""Characters of the names that a server lists instead of the one it should."""
MOST_WHOLE_BYTES = 256 * 1024 * 1024
"""Of an answer that comes in one piece: embeddings of a few thousand texts take a hundred million."""
LONGEST_RETRY_AFTER_SECONDS = 86_400.0
HTTPX_ERRORS: dict[type[httpx.HTTPError], tuple[type[ExpertError], str]] = {
    httpx.ReadTimeout: (ExpertTimeout, "stopped answering"),
    httpx.WriteTimeout: (ExpertTimeout, "stopped reading the request"),
    httpx.PoolTimeout: (ExpertTimeout, "had no connection free"),
    # aiohttp's lost connections arrive as connect timeouts: httpx_aiohttp maps ClientConnectionError so.
    httpx.ConnectTimeout: (ExpertUnavailable, "closed the connection or could not be reached"),
    httpx.TimeoutException: (ExpertTimeout, "took too long"),
    httpx.UnsupportedProtocol: (ExpertUnavailable, "has a URL that cannot be called"),
    httpx.RemoteProtocolError: (ExpertUnavailable, "broke off the connection"),
    httpx.NetworkError: (ExpertUnavailable, "cannot be reached"),
    httpx.HTTPError: (ExpertUnavailable, "could not be asked"),
}


class OpenAIBackend:
    """Speak to any OpenAI-compatible server. The client is borrowed, not owned."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def stream(self, expert: Expert, replica: Replica, call: ExpertCall) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the answer's chunks; see `Backend.stream`."""
        content = orjson.dumps(self.request_body(expert, call))
        url = f"{replica.base_url}/chat/completions"
        reader, begun = ChunkReader(expert.name, joined=call.joined), False
        rest = patience = 0.0
        async with translated(expert.name), self._client.answers.post(url, content, headers(replica)) as response:
            if response.status >= 400:
                await raise_for_status(expert.name, await refusal(response))
            while data := await response.read(rest, patience):
                for chunk in reader.read(data):
                    begun = begun or chunk.speaks
                    yield chunk
                if reader.ended:
                    await response.end(ENDING_SECONDS)
                    return
                if begun:
                    rest = self._client.answers.rest_seconds
                    patience = UNWATCHED_SECONDS if call.joined and not rest else 0.0
        for chunk in reader.close():
            yield chunk

    def request_body(self, expert: Expert, call: ExpertCall) -> dict[str, Any]:
        """Return what is sent: the client's own parameters, our model name, streaming with usage."""
        body = dict(call.parameters)
        body["model"] = expert.config.served_model
        body["messages"] = [dict(message) for message in call.messages]
        body["stream"] = True
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        return body

    async def relay(self, expert: Expert, replica: Replica, call: ExpertCall) -> AsyncGenerator[AnswerChunk, None]:
        """Yield the answer of another endpoint as it comes; see `Backend.relay`."""
        assert call.relay is not None
        relay, name = call.relay, expert.name
        body, with_headers = relay.body(expert.config.served_model), relay_headers(replica, relay)
        async with (
            translated(name),
            self._client.stream(
                "POST", f"{replica.base_url}/{relay.endpoint}", content=body, headers=with_headers
            ) as response,
        ):
            await raise_for_relay(name, relay, response)
            if relay.stream:
                events = RelayedEvents(name, relay.endpoint)
                content = until_ended(response.aiter_bytes(), lambda: events.ended)
                async with aclosing(content), aclosing(events.read(content)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            else:
                kind = response.headers.get("content-type", "application/json")
                async with aclosing(unpaused(expert, call, response.aiter_bytes())) as pieces:
                    answer = await within(name, pieces)
                yield relayed_whole(name, relay.endpoint, answer, kind)

    async def probe(self, expert: Expert, replica: Replica) -> None:
        """Return when the server lists the expert's model."""
        listed = await self._listed_models(expert, replica)
        if expert.config.served_model not in listed:
            known = ", ".join(sorted(listed))[:LONGEST_NAMES] or "nothing"
            raise ExpertUnavailable(
                expert.name,
                f"The server of expert '{expert.name}' serves {known}, not '{expert.config.served_model}'.",
            )

    async def _listed_models(self, expert: Expert, replica: Replica) -> set[str]:
        async with translated(expert.name):
            url = f"{replica.base_url}/models"
            response = await self._client.short("GET", url, headers(replica), PROBE_TIMEOUT_SECONDS)
            await raise_for_status(expert.name, response)
        return listed_models(expert.name, response)


def listed_models(expert: str, response: httpx.Response) -> set[str]:
    """Return the model names in an answer of /v1/models.

    Raises:
        ExpertProtocolError: it is none.
    """
    try:
        return {str(model["id"]) for model in orjson.loads(response.content)["data"]}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = f"The server of expert '{expert}' does not list models as OpenAI does."
        raise ExpertProtocolError(expert, message) from None


def headers(replica: Replica) -> dict[str, str]:
    """Return the upstream headers: the replica's own key, never the client's, and the trace this is part of."""
    bearer = {"authorization": f"Bearer {replica.api_key}"} if replica.api_key else {}
    ours = {"content-type": "application/json", "accept": "text/event-stream", "accept-encoding": "identity"}
    return {**ours, **bearer, **SENT_ALONG.get()}


def relay_headers(replica: Replica, relay: Relay) -> dict[str, str]:
    """Return the upstream headers of a relayed request: those of its protocol come in, under our own."""
    return {**relay.headers, **headers(replica), "accept": EVENTS if relay.stream else "application/json"}


@asynccontextmanager
async def translated(expert: str) -> AsyncIterator[None]:
    """Turn httpx's errors into ours, the most specific row first."""
    try:
        yield
    except httpx.HTTPError as error:
        kind, what = next(HTTPX_ERRORS[base] for base in type(error).__mro__ if base in HTTPX_ERRORS)
        raise kind(expert, f"Expert '{expert}' {what}.") from error
    except sse.EventTooLarge as error:
        raise ExpertProtocolError(expert, f"Expert '{expert}': {error}.") from error
    except aiohttp.ClientError as error:  # what httpx_aiohttp has no word for: a status line that is none, say
        raise ExpertProtocolError(expert, f"Expert '{expert}' sent what is not HTTP.") from error
    except UnicodeError as error:  # bytes in a status line that are no text
        raise ExpertProtocolError(expert, f"Expert '{expert}' sent what is not HTTP.") from error


async def refusal(response: Connection) -> httpx.Response:
    """Return a short response, as far as such a one goes, in httpx's words."""
    content = bytearray()
    while len(content) < LONGEST_SHORT_BYTES and (piece := await response.read()):
        content += piece
    return httpx.Response(response.status, headers=list(response.headers.items()), content=bytes(content))


async def raise_for_status(expert: str, response: httpx.Response) -> None:
    """Raise the error that an HTTP status means: overload, a fault of the server, or of the request."""
    if response.status_code < 400:
        return
    await response.aread()
    error = error_object(response)
    message = f"Expert '{expert}' answered {response.status_code}: {error['message']}"
    if response.status_code in OVERLOADED:
        raise ExpertOverloaded(expert, message, retry_after=retry_after_seconds(response))
    if response.status_code in (401, 403):
        raise ExpertUnavailable(expert, f"Expert '{expert}' refused the gateway's key: check its api_key.")
    if response.status_code >= 500 or response.status_code == 408:
        raise ExpertUnavailable(expert, message)
    raise ExpertRejected(expert, message, status=response.status_code, body=error)


async def raise_for_relay(expert: str, relay: Relay, response: httpx.Response) -> None:
    """Raise what an answer on another endpoint than chat means, if it is none that can be passed on."""
    status = response.status_code
    if status >= 400:
        refusal = await shortened(response)
        if is_missing(status, refusal.content):
            raise EndpointMissing(expert, relay.endpoint)
        await raise_for_status(expert, refusal)
    events = response.headers.get("content-type", "").startswith(EVENTS)
    if status >= 300 or events != relay.stream:
        raise ExpertProtocolError(expert, f"Expert '{expert}' answered {status} with something else than was asked.")


async def within(expert: str, content: AsyncIterator[bytes]) -> bytes:
    """Return an answer that comes in one piece.

    Raises:
        ExpertProtocolError: it is larger than any may be.
    """
    pieces, size = [], 0
    async for piece in content:
        pieces.append(piece)
        size += len(piece)
        if size > MOST_WHOLE_BYTES:
            raise ExpertProtocolError(expert, f"Expert '{expert}' sent more than {MOST_WHOLE_BYTES} bytes.")
    return b"".join(pieces)


def error_object(response: httpx.Response) -> dict[str, Any]:
    """Return the OpenAI error object of a response, whatever shape the server chose."""
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        body = {}
    found = body.get("error", body) if isinstance(body, dict) else {}
    if not isinstance(found, dict):
        found = {"message": str(found)}
    text = found.get("message") or found.get("detail") or words_of(response) or response.reason_phrase
    return {
        "type": found.get("type"),
        "param": found.get("param"),
        "code": found.get("code"),
        "message": text,
    }


def words_of(response: httpx.Response) -> str:
    """Return the beginning of a body as text, whatever encoding it says: some are none, and of some comes no text."""
    return response.content[:500].decode("utf-8", "replace")


def retry_after_seconds(response: httpx.Response) -> float:
    """Return the server's Retry-After in seconds, a day at most; 1 when it names none or a date."""
    try:
        return min(LONGEST_RETRY_AFTER_SECONDS, max(0.0, float(response.headers.get("retry-after", "1"))))
    except ValueError:
        return 1.0
