"""POST /v1/completions: passed on to the expert's own server; see `gateway.passing`."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.api.documentation import RELAYED
from gateway.passing import passed_on

api = APIRouter()


@api.post("/v1/completions", openapi_extra=RELAYED["completions"])
async def completions(request: Request) -> Response:
    """Continue a text: passed on to an expert whose server speaks OpenAI's text completions."""
    return await passed_on(request, "completions")
