"""GET / and /ui/FILE: the page, from files that ship with the gateway. Nothing in it comes from anywhere else.

The content security policy lets the page load from and speak to this gateway only, and run no inline script.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.responses import JsonResponse

api = APIRouter()
INDEX = "index.html"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
GUARDS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent, plain and packed."""

    content: bytes
    packed: bytes
    kind: str
    etag: str


@cache
def assets() -> MappingProxyType[str, Asset]:
    """Return every file of the page by name, read once."""
    folder = Path(str(files("gateway") / "ui"))
    return MappingProxyType({path.name: read(path) for path in sorted(folder.iterdir()) if path.suffix in KINDS})


def read(path: Path) -> Asset:
    """Return one file of the page."""
    content = path.read_bytes()
    tag = blake2b(content, digest_size=12).hexdigest()
    return Asset(content, gzip.compress(content, 6, mtime=0), KINDS[path.suffix], f'"{tag}"')


@api.get("/", response_model=None)
async def index(request: Request) -> Response:
    """Show the page to browsers; tell everybody else what this is and where to go on."""
    if "text/html" in request.headers.get("accept", ""):
        return sent(assets()[INDEX], request)
    told = {"name": "consilium", "docs": "/docs", "models": "/v1/models", "chat": "/v1/chat/completions"}
    return JsonResponse(told, headers={"vary": "accept"})


@api.get("/ui/{file}", response_model=None)
async def asset(file: str, request: Request) -> Response:
    """Send one file of the page."""
    if (found := assets().get(file)) is None:
        raise HTTPException(404, "Not Found")
    return sent(found, request)


def sent(asset: Asset, request: Request) -> Response:
    """Return a file; browsers keep it, and ask each time whether it has changed."""
    headers = {**GUARDS, "cache-control": "no-cache", "etag": asset.etag, "vary": "accept, accept-encoding"}
    if request.headers.get("if-none-match", "").removeprefix("W/") == asset.etag:
        return Response(status_code=304, headers=headers)
    packs = "gzip" in request.headers.get("accept-encoding", "")
    packing = {"content-encoding": "gzip"} if packs else {}
    return Response(asset.packed if packs else asset.content, media_type=asset.kind, headers={**headers, **packing})
