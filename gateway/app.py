"""The web application: the lifespan builds the services and closes them; handlers are thin."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import Receive, Scope, Send

from experts.errors import ServiceError
from gateway.api import (
    atlas,
    batches,
    cache,
    chat,
    completions,
    decisions,
    embeddings,
    experts,
    feedback,
    files,
    fusers,
    jobs,
    keys,
    learning,
    messages,
    models,
    operations,
    profiling,
    responses,
    route,
    ui,
    usage,
)
from gateway.configuration import GatewayConfig
from gateway.errors import InvalidRequest, error_body, error_headers, wire
from gateway.middleware import Direct, RequestContext
from gateway.opening import open_services
from gateway.passing import refusal_type, shaped
from gateway.responses import JsonResponse
from gateway.running import Progress
from gateway.settings import Settings
from gateway.tracing import TraceContext
from router.encoder import TextEncoder

log = logging.getLogger(__name__)
NOUNS = (
    chat,
    completions,
    embeddings,
    responses,
    messages,
    models,
    route,
    files,
    batches,
    feedback,
    decisions,
    atlas,
    experts,
    jobs,
    keys,
    learning,
    profiling,
    fusers,
    usage,
    cache,
    operations,
    ui,
)
NOT_OURS = {404: "not_found", 405: "method_not_allowed"}


class Application(FastAPI):
    """FastAPI, but that chat goes past it: what it does around a handler costs as much as half of what we do in it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == chat.PATH and scope["method"] == "POST":
            scope["app"] = self
            await CHAT(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(
    settings: Settings,
    config: GatewayConfig,
    root: Path,
    *,
    progress: Progress | None = None,
    encoder: TextEncoder | None = None,
) -> FastAPI:
    """Return the application; nothing starts before its lifespan does.

    Args:
        root: the folder relative paths in the configuration count from.
        progress: told whenever a server that the gateway runs gets further.
        encoder: instead of the configured one, which is then not loaded; the caller closes it.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings, config, root, progress, encoder) as services:
            app.state.services = services
            yield

    # Redirects to a path without its last slash would repeat the Host header, which is a stranger's word.
    app = Application(title="Consilium", lifespan=lifespan, redoc_url=None, redirect_slashes=False)
    for noun in NOUNS:
        app.include_router(noun.api)
    app.add_middleware(TraceContext)
    app.add_middleware(RequestContext)
    app.add_exception_handler(ServiceError, answer_service_error)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(RequestValidationError, answer_bad_parameter)
    app.add_exception_handler(Exception, answer_bug)
    return app


async def answer_service_error(request: Request, error: Exception) -> Response:
    """Answer an error of ours in OpenAI's shape, or in the one that the clients of its path read."""
    assert isinstance(error, ServiceError)
    return _told(request, error_body(error), wire(error).status, error_headers(error), refusal_type(error))


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Answer what the web framework refuses (unknown path, wrong method) in the same shape."""
    assert isinstance(error, HTTPException)
    code = NOT_OURS.get(error.status_code, "http_error")
    body = {"message": f"{error.detail}.", "type": "invalid_request_error", "param": None, "code": code}
    return _told(request, {"error": body}, error.status_code, error.headers)


async def answer_bad_parameter(request: Request, error: Exception) -> Response:
    """Answer a parameter of the path or query that cannot be read in the same shape."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = str(first["loc"][-1])
    told = InvalidRequest(f"{where}: {first['msg']}.", param=where)
    return _told(request, error_body(told), wire(told).status)


async def answer_bug(request: Request, error: Exception) -> Response:
    """Answer a bug of ours without showing its insides; the traceback is in the log under the request's id."""
    request_id = request.state.request_id
    log.error("bug", exc_info=error, extra={"facts": {"request_id": request_id}})
    told = "The gateway failed; its log has the reason under this request's id."
    return _told(request, error_body(ServiceError(told)), 500, {"x-request-id": request_id})


def _told(
    request: Request,
    body: Mapping[str, Any],
    status: int,
    headers: Mapping[str, str] | None = None,
    kind: str | None = None,
) -> Response:
    path, request_id = request.scope["path"], getattr(request.state, "request_id", None)
    return JsonResponse(shaped(path, status, body, request_id, kind), status_code=status, headers=headers)


CHAT = ServerErrorMiddleware(
    RequestContext(TraceContext(Direct(chat.chat_completions, answer_service_error))), handler=answer_bug
)
"""The same layers as around everything else."""
