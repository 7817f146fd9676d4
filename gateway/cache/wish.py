"""Whether a request's answer may be one that was given before. Pure.

Only who asks gets it: by the request itself (`routing.cache`, or the header `x-consilium-cache`), or by a setting of
its key. A key's setting speaks for requests that leave nothing to chance (`temperature: 0`); one that samples, which
is what a server does when no temperature is said, has to ask itself. Several sampled choices are never said again: who
wants several wants them different.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from gateway.auth import Client
from gateway.schemas import ChatRequest

Wish: TypeAlias = Literal["on", "refresh", "bypass"]
"""`refresh`: make a new answer and keep it; `bypass`: wanted, and not possible for this request."""


def wish_of(request: ChatRequest, client: Client) -> Wish | None:
    """Return what is wanted; None when nobody asked for a kept answer."""
    said = request.options.cache
    if said == "off" or (said is None and (client.record is None or not client.record.cache)):
        return None
    if samples(request.parameters) and (said is None or several(request.parameters)):
        return "bypass"
    return said or "on"


def samples(parameters: Mapping[str, Any]) -> bool:
    """Say whether the answer is drawn by chance, as far as the request tells."""
    return parameters.get("temperature") not in (0, 0.0)


def several(parameters: Mapping[str, Any]) -> bool:
    """Say whether more than one choice is wanted."""
    return parameters.get("n") not in (None, 1)
