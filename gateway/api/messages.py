"""POST /v1/messages: passed on to the expert's own server; see `gateway.passing`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.documentation import RELAYED
from gateway.passing import passed_on

api = APIRouter()


@api.post("/v1/messages", openapi_extra=RELAYED["messages"])
async def messages(request: Request) -> Response:
    """Answer in Anthropic's shape: passed on to an expert whose server speaks it."""
    return await passed_on(request, "messages")
