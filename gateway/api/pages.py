"""Lists that are read page by page, as OpenAI defines them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.errors import InvalidRequest


def page(items: Sequence[dict[str, Any]], after: str | None, limit: int) -> dict[str, Any]:
    """Return at most `limit` of the items, from the one behind the id `after`.

    Raises:
        InvalidRequest: `after` is no item's id.
    """
    ids = [item["id"] for item in items]
    if after is not None and after not in ids:
        raise InvalidRequest(f"'after' names nothing of yours: '{after[:64]}'.", param="after")
    begin = 0 if after is None else ids.index(after) + 1
    shown = list(items[begin : begin + limit])
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": begin + limit < len(items),
    }
