"""Errors as clients of the other endpoints expect them: Anthropic's shape under /v1/messages, else OpenAI's.

In a stream that has begun, an error is one event and the stream ends; what an event is called differs by endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from experts.errors import ExpertRejected, ServiceError
from experts.types import Endpoint
from gateway.errors import error_body, wire

ANTHROPIC_PATH = "/v1/messages"
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's `type` by status (its API reference, "Errors"); below 500 any other is the request's fault."""
KNOWN_TYPES = frozenset({*ANTHROPIC_TYPES.values(), "api_error"})
Body = Mapping[str, Any]


def shaped(path: str, status: int, body: Body, request_id: str | None = None, kind: str | None = None) -> Body:
    """Return an error body in the shape that the clients of a path read; `body` is in OpenAI's.

    `kind` is the type that an expert's own server gave; it is kept where it is one of Anthropic's.
    """
    return anthropic(status, body["error"], request_id, kind) if path.startswith(ANTHROPIC_PATH) else body


def anthropic(status: int, error: Body, request_id: str | None = None, kind: str | None = None) -> dict[str, Any]:
    """Return Anthropic's error body; what OpenAI's says beyond it, such as the expert's name, rides along."""
    usual = "api_error" if status >= 500 else "invalid_request_error"
    told = {**error, "type": kind if kind in KNOWN_TYPES else ANTHROPIC_TYPES.get(status, usual)}
    return {"type": "error", "error": told, **({"request_id": request_id} if request_id else {})}


def refusal_type(error: ServiceError) -> str | None:
    """Return the type that an expert's own server gave its refusal, if any."""
    given = error.body.get("type") if isinstance(error, ExpertRejected) else None
    return given if isinstance(given, str) else None


def error_event(endpoint: Endpoint, error: ServiceError) -> bytes:
    """Return the event that ends a stream which has begun."""
    body = error_body(error)
    if endpoint == "messages":
        return _event("error", anthropic(wire(error).status, body["error"], kind=refusal_type(error)))
    if endpoint == "responses":  # the flat fields are OpenAI's event; its SDK raises on `error`, as in other streams
        told = body["error"]
        return _event("error", {"type": "error", **{k: told[k] for k in ("code", "message", "param")}, **body})
    return b"data: " + orjson.dumps(body) + b"\n\n"


def _event(name: str, body: Body) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(body) + b"\n\n"
