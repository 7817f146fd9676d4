"""One request to another endpoint, from its body to the answer's bytes. It goes the way of a chat request."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial

from fastapi import Request
from fastapi.responses import Response

from experts.errors import ServiceError
from experts.registry import Snapshot
from experts.types import AnswerChunk, Endpoint, RelayChunk
from gateway.api.chat import Exchange, account, answer_headers, attempts_header, known_model
from gateway.auth import Client
from gateway.deps import client_of, services_of
from gateway.errors import InvalidRequest
from gateway.latitude import permits
from gateway.limits import Visit
from gateway.limits.gate import confined
from gateway.middleware import read_body
from gateway.passing.errors import error_event
from gateway.passing.naming import named
from gateway.passing.requests import AUTO, parse
from gateway.schemas import ChatRequest
from gateway.services import Services
from gateway.streaming import EventStream, Primed, while_connected


async def passed_on(request: Request, endpoint: Endpoint) -> Response:
    """Answer a request to one of the endpoints beside chat: the router picks the expert unless `model` names one."""
    services, client = await services_of(request), await client_of(request)
    content = await read_body(request.receive, request.headers, services.settings.max_body_bytes)
    asked = confined(parse(endpoint, content, request.headers), client)
    request.state.told = {"model": known_model(asked, services), "stream": asked.stream, "key": client.key_id}
    with await services.gate.admit(client, asked) as visit:
        request.state.headers = visit.headers
        asked = with_embedder(asked, services.registry.snapshot)
        return await answered(request, asked, services, client, visit)


async def answered(request: Request, asked: ChatRequest, services: Services, client: Client, visit: Visit) -> Response:
    """Answer a request that was let in."""
    told = request.state.told
    answering = await services.pipeline.answer(asked, client.key_id)
    services.metrics.decided(answering.decision)
    entry = services.feedback.decided(request.state.request_id, client.key_id, asked, answering.decision)
    exchange = Exchange(asked, answering, entry, services, told, False, visit)
    told["policy"] = answering.decision.policy
    told["experts"] = [assignment.expert for assignment in answering.decision.assignments]
    try:
        return await (streamed if asked.stream else whole)(request, exchange)
    except ServiceError:
        request.state.headers = {**request.state.headers, **attempts_header(answering)}
        raise


def with_embedder(asked: ChatRequest, snapshot: Snapshot) -> ChatRequest:
    """Return a request for `auto` embeddings as one for the expert that says it embeds; any other as it is.

    Routing by content makes no sense here: vectors of different models cannot be compared. The client's word on
    experts, and its key's, hold as everywhere.

    Raises:
        InvalidRequest: no expert says that it embeds, or several do.
    """
    if asked.endpoint != "embeddings" or asked.model != AUTO:
        return asked
    declared = [name for name, each in snapshot.items() if asked.endpoint in (each.profile.endpoints or ())]
    bounds = (asked.within, asked.options.experts)
    usable = [name for name in declared if all(permits(bound, snapshot[name].profile) for bound in bounds)]
    if len(usable) == 1:
        return replace(asked, model=usable[0])
    found = f"{', '.join(usable)} do" if usable else "none does"
    told = f"'{AUTO}' needs exactly one expert whose endpoints list embeddings, and {found}: name the expert as model."
    raise InvalidRequest(told, param="model")


async def whole(request: Request, exchange: Exchange) -> Response:
    """Answer in one piece, once it is there."""
    answering = exchange.answering
    try:
        piece = await while_connected(request.scope, request.receive, only_piece(exchange))
    finally:
        await answering.stream.aclose()
        answering.stream.report.first_token_seconds = None  # nobody saw one
        account(exchange, "")
    body, headers = named(piece, answered_by(exchange)), answer_headers(answering, exchange.services)
    return Response(body, headers=headers, media_type=piece.content_type)


async def only_piece(exchange: Exchange) -> RelayChunk:
    """Return an answer that comes in one piece, read to its end."""
    pieces = [relayed(chunk) async for chunk in exchange.answering.stream]
    return pieces[-1]


async def streamed(request: Request, exchange: Exchange) -> Response:
    """Begin the response once the first event is there, or has let us wait for a while."""
    patience = exchange.services.settings.keep_alive_seconds
    primed = Primed(_events(exchange), failed=partial(error_event, exchange.chat.endpoint))
    await while_connected(request.scope, request.receive, primed.prime(patience))
    return EventStream(primed, patience, answer_headers(exchange.answering, exchange.services))


async def _events(exchange: Exchange) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in exchange.answering.stream:
            yield named(relayed(chunk), answered_by(exchange))
    finally:
        await exchange.answering.stream.aclose()
        account(exchange, "")


def relayed(chunk: AnswerChunk) -> RelayChunk:
    """Return a chunk of a relayed answer as what it is."""
    assert isinstance(chunk, RelayChunk)
    return chunk


def answered_by(exchange: Exchange) -> str:
    """Return who answers: known as soon as there is a chunk."""
    return exchange.answering.stream.report.answered_by or exchange.chat.model
