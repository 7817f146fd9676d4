"""How a key stands, as OpenAI's headers and sentences say it. Pure."""

from __future__ import annotations

from gateway.errors import BudgetSpent, Limited, RateLimited
from gateway.limits.base import Caps, Standing


def headers_of(caps: Caps, standing: Standing) -> dict[str, str]:
    """Return the `x-ratelimit-*` headers of what is limited."""
    rows = (
        ("requests", caps.requests, standing.requests, standing.requests_reset_seconds),
        ("tokens", caps.tokens, standing.tokens, standing.tokens_reset_seconds),
    )
    told: dict[str, str] = {}
    for what, cap, used, reset in rows:
        if cap is not None:
            told[f"x-ratelimit-limit-{what}"] = str(cap)
            told[f"x-ratelimit-remaining-{what}"] = str(max(0, cap - used))
            told[f"x-ratelimit-reset-{what}"] = duration(reset)
    return told


def duration(seconds: float) -> str:
    """Return seconds as OpenAI writes them: 17ms, 6.5s, 1m0.2s."""
    if seconds < 1:
        return f"{max(0, round(1000 * seconds))}ms"
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{rest:g}s" if not minutes else f"{minutes:.0f}m{round(rest, 1):g}s"


def refusal(caps: Caps, standing: Standing, period_ends_in: float | None) -> Limited:
    """Return the error of a request that was not let in."""
    headers = headers_of(caps, standing)
    if standing.refused == "budget":
        when = "" if period_ends_in is None else f" It is whole again in {duration(period_ends_in)}."
        told = f"This key's budget of {caps.budget_usd:g} USD is spent.{when}"
        return BudgetSpent(told, retry_after=period_ends_in, headers=headers)
    cap, used = (caps.requests, standing.requests) if standing.refused == "requests" else (caps.tokens, standing.tokens)
    room = f"there is room again in {duration(standing.wait_seconds)}"
    told = f"This key may use {cap} {standing.refused} a minute and has used {used}; {room}."
    return RateLimited(told, retry_after=standing.wait_seconds, headers=headers)


def too_large(caps: Caps, tokens: int) -> Limited:
    """Return the error of a request that no minute has room for."""
    told = (
        f"The request may take {tokens} tokens, and this key may use {caps.tokens} a minute: ask for less (max_tokens)."
    )
    return RateLimited(told, retry_after=None)
