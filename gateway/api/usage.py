"""GET /admin/usage: requests, tokens and cost by day, key and expert, as JSON or CSV."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from gateway.deps import AdminDep, ServicesDep
from gateway.errors import InvalidRequest
from gateway.keys import KeyBook
from gateway.responses import JsonResponse
from gateway.usage.ledger import Sums, grouped

api = APIRouter()
USUAL_DAYS, MOST_DAYS = 30, 400
DIMENSIONS = ("day", "key", "expert")
FIGURES = ("requests", "prompt_tokens", "completion_tokens", "cost_usd")
CANNOT_BEGIN_A_CELL = ("=", "+", "-", "@", "\t", "\r")


@api.get("/admin/usage")
async def usage(
    request: Request,
    services: ServicesDep,
    admin: AdminDep,
    since: date | None = None,
    until: date | None = None,
    by: Annotated[str, Query(max_length=64)] = "day,key,expert",
    key: Annotated[str | None, Query(max_length=64)] = None,
    format: Literal["json", "csv"] | None = None,
) -> Response:
    """Show what was used from `since` to `until` (days, UTC, both included), added up by any of day, key, expert."""
    last = until or datetime.now(UTC).date()
    first = since or date.fromordinal(max(1, last.toordinal() - USUAL_DAYS + 1))
    dimensions = dimensions_of(by)
    if not 0 <= (last - first).days < MOST_DAYS:
        raise InvalidRequest(f"'since' to 'until' must be 1 to {MOST_DAYS} days.", param="since")
    sums = grouped(await services.ledger.pages(first, last, key), dimensions)
    rows = [row_of(dimensions, place, found, services.keys) for place, found in sums.items()]
    if format == "csv" or (format is None and "text/csv" in request.headers.get("accept", "")):
        return Response(as_csv(rows), media_type="text/csv")
    return JsonResponse({"object": "list", "since": str(first), "until": str(last), "data": rows})


def dimensions_of(by: str) -> tuple[str, ...]:
    """Return what to add up by.

    Raises:
        InvalidRequest: there is no such thing.
    """
    asked = tuple(dict.fromkeys(each.strip() for each in by.split(",") if each.strip()))
    if not asked or not set(asked) <= set(DIMENSIONS):
        raise InvalidRequest(f"'by' is one or more of {', '.join(DIMENSIONS)}, with commas.", param="by")
    return asked


def row_of(dimensions: tuple[str, ...], place: tuple[str, ...], sums: Sums, keys: KeyBook) -> dict[str, Any]:
    """Return one row; a key has its name beside its id where it was given out here."""
    row: dict[str, Any] = dict(zip(dimensions, place, strict=True))
    if "key" in row:
        record = keys.by_id(row["key"])
        row["key_name"] = None if record is None else record.name
    return {**row, **dict(zip(FIGURES, sums.row, strict=True)), "cost_usd": round(sums.cost_usd, 10)}


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Return rows as CSV; text that a spreadsheet would take for a formula gets a quote before it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(rows[0] if rows else FIGURES)
    writer.writerows([[_cell(value) for value in row.values()] for row in rows])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(CANNOT_BEGIN_A_CELL) else value
