"""POST /v1/embeddings: passed on to the expert's own server; see `gateway.passing`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.documentation import RELAYED
from gateway.passing import passed_on

api = APIRouter()


@api.post("/v1/embeddings", openapi_extra=RELAYED["embeddings"])
async def embeddings(request: Request) -> Response:
    """Turn texts into vectors: passed on to the expert that is named, or the only one that says it embeds."""
    return await passed_on(request, "embeddings")
