"""Limits of one process: each gateway counts for itself. What keys spent before its start is read from the ledger."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from experts.store import StoreError
from gateway.errors import LimitsUnavailable
from gateway.limits.base import Caps, Cause, Standing
from gateway.limits.window import Window

Spent = Callable[[str, str], Awaitable[float]]
"""Says what a key had spent in a period before anything was counted here."""


@dataclass(slots=True)
class Account:
    """One key's."""

    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)


async def nothing(_key: str, _period: str) -> float:
    """Return what a key had spent where nobody remembers."""
    return 0.0


class MemoryLimiter:
    """Counts in this process; see `Limiter`.

    Args:
        spent: asked once for each key and period.
        clock: seconds, only moving forward.
    """

    def __init__(self, spent: Spent = nothing, clock: Callable[[], float] = time.monotonic) -> None:
        self._spent_before, self._clock = spent, clock
        self._accounts: dict[str, Account] = {}
        self._spent: dict[tuple[str, str], float] = {}

    async def admit(self, key: str, caps: Caps, tokens: int, requests: int = 1) -> Standing:
        """Take a request and so many tokens; see `Limiter.admit`."""
        account = self._account(key)
        if caps.budget_usd is not None and (key, caps.period) not in self._spent:
            self._spent.setdefault((key, caps.period), await self._before(key, caps.period))
        now = self._clock()
        account.requests.move(now)
        account.tokens.move(now)
        if (refused := self._refusal(key, caps, account, tokens, requests)) is None:
            account.requests.add(math.floor(now), requests)
            account.tokens.add(math.floor(now), tokens)
        return _standing(account, caps, (requests, tokens), now, refused)

    def settle(self, key: str, caps: Caps, second: int, correction: int, cost_usd: float) -> None:
        """Put tokens and cost right; see `Limiter.settle`."""
        account, now = self._account(key), self._clock()
        account.tokens.move(now)
        if correction > 0:
            account.tokens.add(math.floor(now), correction)
        else:
            account.tokens.take_back(second, -correction)
        if (key, caps.period) in self._spent:
            self._spent[key, caps.period] += cost_usd

    async def settled(self) -> None:
        """Everything is."""

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _before(self, key: str, period: str) -> float:
        try:
            return await self._spent_before(key, period)
        except StoreError as error:
            raise LimitsUnavailable(f"What this key has spent cannot be read: {error}") from error

    def _account(self, key: str) -> Account:
        known = self._accounts.get(key)
        if known is None:
            known = self._accounts[key] = Account()
        return known

    def _refusal(self, key: str, caps: Caps, account: Account, tokens: int, requests: int) -> Cause | None:
        if caps.budget_usd is not None and self._spent[key, caps.period] >= caps.budget_usd:
            return "budget"
        if caps.requests is not None and account.requests.total + requests > caps.requests:
            return "requests"
        if caps.tokens is not None and account.tokens.total + tokens > caps.tokens:
            return "tokens"
        return None


def _standing(account: Account, caps: Caps, wanted: tuple[int, int], now: float, refused: Cause | None) -> Standing:
    waits = [0.0]
    if refused in ("requests", "tokens"):
        waits += [account.requests.wait_seconds(now, caps.requests, wanted[0])] if caps.requests is not None else []
        waits += [account.tokens.wait_seconds(now, caps.tokens, wanted[1])] if caps.tokens is not None else []
    return Standing(
        refused=refused,
        second=math.floor(now),
        requests=account.requests.total,
        tokens=account.tokens.total,
        wait_seconds=max(waits),
        requests_reset_seconds=account.requests.reset_seconds(now),
        tokens_reset_seconds=account.tokens.reset_seconds(now),
    )
