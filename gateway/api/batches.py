"""/v1/batches: many requests in one file, answered when there is room, as OpenAI defines it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.api.pages import page
from gateway.deps import ClientDep, ServicesDep
from gateway.errors import InvalidRequest
from gateway.middleware import read_body

api = APIRouter()
Word = Annotated[str, Field(max_length=512)]


class BatchBody(BaseModel):
    """What a client orders; fields of OpenAI's that mean nothing here are let pass."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    input_file_id: str = Field(min_length=1, max_length=128, description="An uploaded file of requests.")
    endpoint: Literal["/v1/chat/completions"] = Field(description="What every line's url must be.")
    completion_window: Literal["24h"] = Field(description="What is not done by then is left out.")
    metadata: Annotated[dict[Annotated[str, Field(max_length=64)], Word], Field(max_length=16)] | None = None


BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": BatchBody.model_json_schema()}}}
}


@api.post("/v1/batches", openapi_extra=BODY)
async def order_batch(request: Request, services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Take a batch; it begins at once and runs behind every request that somebody waits for."""
    content = await read_body(request.receive, request.headers, services.settings.max_body_bytes)
    said = parsed(content)
    batch = await services.desk.order(client.key_id, said.input_file_id, said.endpoint, said.metadata)
    return batch.shown()


@api.get("/v1/batches")
async def list_batches(
    services: ServicesDep,
    client: ClientDep,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    """List the client's batches, newest first."""
    return page([batch.shown() for batch in await services.desk.all(client.key_id)], after, limit)


@api.get("/v1/batches/{batch_id}")
async def show_batch(batch_id: str, services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Show a batch and how far it is."""
    return (await services.desk.get(batch_id, client.key_id)).shown()


@api.post("/v1/batches/{batch_id}/cancel")
async def cancel_batch(batch_id: str, services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Stop a batch; what is done is in its output file soon."""
    return (await services.desk.cancel(batch_id, client.key_id)).shown()


def parsed(content: bytes) -> BatchBody:
    """Read the body.

    Raises:
        InvalidRequest: it is not JSON, or a field is missing or not one of those that exist.
    """
    try:
        return BatchBody.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(f"{where or 'The body'}: {first['msg']}.", param=where or None) from error
