"""POST /v1/feedback: how good an answer was. The router learns from it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.decisions import Opinion
from gateway.deps import ClientDep, ServicesDep
from gateway.errors import InvalidRequest
from gateway.middleware import read_body

api = APIRouter()


class FeedbackBody(BaseModel):
    """What a client says about one answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    request_id: str = Field(min_length=1, max_length=128, description="The x-request-id of the answer.")
    score: float = Field(ge=0, le=1, allow_inf_nan=False, description="0 wrong or useless, 1 right.")
    expert: str | None = Field(default=None, max_length=64, description="Of several experts, the one it is about.")
    comment: str = Field(default="", max_length=4000, description="For people; nothing is learnt from it.")


BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": FeedbackBody.model_json_schema()}},
    }
}


@api.post("/v1/feedback", openapi_extra=BODY)
async def feedback(request: Request, services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Take how good an answer was; a second opinion on the same request replaces the first."""
    content = await read_body(request.receive, request.headers, services.settings.max_body_bytes)
    said = parsed(content)
    opinion = Opinion(said.score, said.expert, said.comment)
    heard = await services.feedback.given(said.request_id, client.key_id, opinion)
    credited = [
        {"expert": expert, "score": round(credit.score, 4), "trust": round(credit.trust, 4)}
        for expert, credit in heard.credited.items()
    ]
    return {
        "request_id": said.request_id,
        "outcome": heard.outcome,
        "credited": credited,
        "replaced": heard.replaced,
    }


def parsed(content: bytes) -> FeedbackBody:
    """Read the body.

    Raises:
        InvalidRequest: it is not JSON, or a field is missing, unknown or out of range.
    """
    try:
        return FeedbackBody.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(f"{where or 'The body'}: {first['msg']}.", param=where or None) from error
