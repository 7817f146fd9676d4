"""/v1/files: what a client uploads and what its batches write, as OpenAI defines it; nobody sees another's files."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from starlette.requests import ClientDisconnect

from gateway.api.documentation import UPLOAD_BODY
from gateway.api.pages import page
from gateway.batches.shelf import BATCH_INPUT
from gateway.batches.upload import Upload
from gateway.deps import ClientDep, ServicesDep
from gateway.errors import ClientGone, FileInUse, InvalidRequest, UnknownFile

api = APIRouter()


@api.post("/v1/files", openapi_extra=UPLOAD_BODY)
async def upload_file(request: Request, services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Take a file, streamed to the disk as it arrives."""
    shelf = services.desk.shelf
    draft = shelf.draft()
    try:
        upload = Upload(request.headers.get("content-type", ""), draft.file, services.settings.max_file_bytes)
        await upload.read(request.stream())
        purpose = upload.fields.get("purpose")
        if purpose != BATCH_INPUT:
            raise InvalidRequest("'purpose' must be 'batch': files are the input of batches here.", param="purpose")
        kept = await shelf.keep(draft, client.key_id, upload.filename or "file", purpose)
    except ClientDisconnect as error:
        raise ClientGone("The client closed the connection before its file was whole.") from error
    finally:
        shelf.drop(draft)
    return kept.shown()


@api.get("/v1/files")
async def list_files(
    services: ServicesDep,
    client: ClientDep,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> dict[str, Any]:
    """List the client's files."""
    files = [file for file in await services.desk.shelf.all(client.key_id) if purpose in (None, file.purpose)]
    return page([file.shown() for file in (files if order == "desc" else files[::-1])], after, limit)


@api.get("/v1/files/{file_id}")
async def show_file(file_id: str, services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Show what is known about a file."""
    return (await services.desk.shelf.get(file_id, client.key_id)).shown()


@api.get("/v1/files/{file_id}/content")
async def read_file(file_id: str, services: ServicesDep, client: ClientDep) -> Response:
    """Send a file's bytes."""
    file = await services.desk.shelf.get(file_id, client.key_id)
    path = services.desk.shelf.path(file.id)
    if not await asyncio.to_thread(path.exists):
        raise UnknownFile(f"The bytes of file '{file.id}' are not on this machine.", param="file_id")
    return FileResponse(path, media_type="application/octet-stream")


@api.delete("/v1/files/{file_id}")
async def delete_file(file_id: str, services: ServicesDep, client: ClientDep) -> dict[str, Any]:
    """Remove a file; not while a batch reads it."""
    if await services.desk.reads(file_id, client.key_id):
        raise FileInUse(f"A batch that has not ended reads file '{file_id[:64]}'.", param="file_id")
    await services.desk.shelf.delete(file_id, client.key_id)
    return {"id": file_id, "object": "file", "deleted": True}
