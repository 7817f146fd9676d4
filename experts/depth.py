"""JSON that is nested deeper than it can be passed on: orjson reads 1,024 levels and writes 254."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

DEEPEST = 128
"""Levels that a body, an answer or an event may have."""


def nested_too_deep(text: bytes, body: Mapping[str, Any] | Sequence[Any]) -> bool:
    """Say whether `body`, which was read from `text`, is nested too deep; nearly always the text alone says no."""
    if len(text) <= 2 * DEEPEST:
        return False
    return text.count(b"[") + text.count(b"{") > DEEPEST and deeper(body)


def deeper(body: Mapping[str, Any] | Sequence[Any]) -> bool:
    """Say whether JSON is nested more than `DEEPEST` levels."""
    level: list[Any] = [body]
    for _ in range(DEEPEST):
        inner = chain.from_iterable(each.values() if isinstance(each, dict) else each for each in level)
        level = [each for each in inner if isinstance(each, dict | list)]
        if not level:
            return False
    return True
