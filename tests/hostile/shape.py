"""What every refusal looks like, and what must be in no answer."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.hostile.world import ADMIN, ALICE, UPSTREAM_KEY

MUST_NOT_LEAVE = (ADMIN, ALICE, UPSTREAM_KEY, "Traceback", 'File "', "site-packages", "pydantic", "sqlite3")
STATED = frozenset({502, 503, 504})
"""The only answers from 500 on: about experts and the store, never about the client's own words."""


def leaks(text: str) -> list[str]:
    """Return what of the things that must not leave stands in a text."""
    return [each for each in MUST_NOT_LEAVE if each in text]


def wrong(status: int, headers: Mapping[str, str], content: bytes, *, upstream: bool = False) -> str:
    """Return what is wrong with an answer, or nothing: refusals are OpenAI's error object, 5xx only upstream ones."""
    text = content.decode("utf-8", "replace")
    if found := leaks(text + " ".join(f"{name}: {value}" for name, value in headers.items())):
        return f"leaks {found}: {text[:300]}"
    if status >= 500 and not (upstream and status in STATED):
        return f"{status}: {text[:300]}"
    return "" if status < 400 or not content else not_openai(text)


def not_openai(text: str) -> str:
    """Return why a text is not OpenAI's error object, or nothing."""
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return f"no error object: {text[:300]}"
    missing = {"message", "type", "param", "code"} - set(error)
    return f"lacks {missing}: {text[:300]}" if missing or not isinstance(error["message"], str) else ""
