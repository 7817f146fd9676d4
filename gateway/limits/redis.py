"""Limits that several gateways share, in one Redis: a check is one script in one round trip, and so is a correction.

    {consilium}:used:KEY            "r<second>" and "t<second>" -> requests and tokens; gone two minutes after the last
    {consilium}:spent:KEY:PERIOD    USD

The seconds are Redis' own, whatever the gateways' clocks say. A budget's day or month is told by the gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from redis.exceptions import RedisError

from experts.store.redis import connected, where
from gateway.errors import LimitsUnavailable
from gateway.limits.base import SPAN, Caps, Cause, Standing
from gateway.logs import facts

log = logging.getLogger(__name__)
CALL_SECONDS = 1.0
"""The longest a check waits for Redis, and a request with it; long, lest a busy moment of ours pass for its fault."""
KEPT_SECONDS = {"total": 0, "day": 3 * 86_400, "month": 65 * 86_400}
PERIODS = {10: "day", 7: "month"}
"""What a period is, by the length of its name: 2026-11-22, 2026-11."""
CAUSES: dict[str, Cause] = {"requests": "requests", "tokens": "tokens", "budget": "budget"}

_READ = """
local time = redis.call('TIME')
local second = tonumber(time[1])
local now = second + tonumber(time[2]) / 1000000
local span = tonumber(ARGV[1])
local used = {r = {}, t = {}}
local totals = {r = 0, t = 0}
local newest = {r = 0, t = 0}
local fields = redis.call('HGETALL', KEYS[1])
local gone = {}
for i = 1, #fields, 2 do
  local kind, at, amount = string.sub(fields[i], 1, 1), tonumber(string.sub(fields[i], 2)), tonumber(fields[i + 1])
  if at <= second - span then
    gone[#gone + 1] = fields[i]
  elseif amount > 0 then
    table.insert(used[kind], {at, amount})
    totals[kind] = totals[kind] + amount
    if at > newest[kind] then newest[kind] = at end
  end
end
if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone)) end
local function add(kind, at, amount)
  redis.call('HINCRBY', KEYS[1], kind .. string.format('%d', at), amount)
  redis.call('EXPIRE', KEYS[1], 2 * span)
end
"""

ADMIT = (
    _READ
    + """
local limits = {r = tonumber(ARGV[2]), t = tonumber(ARGV[3])}
local budget, amounts = tonumber(ARGV[4]), {r = tonumber(ARGV[6]), t = tonumber(ARGV[5])}
local refused = ''
if budget and tonumber(redis.call('GET', KEYS[2]) or '0') >= budget then refused = 'budget'
elseif limits.r and totals.r + amounts.r > limits.r then refused = 'requests'
elseif limits.t and totals.t + amounts.t > limits.t then refused = 'tokens' end
local wait = 0
if refused == '' then
  for kind, amount in pairs(amounts) do
    if amount > 0 then
      add(kind, second, amount)
      totals[kind] = totals[kind] + amount
      newest[kind] = second
    end
  end
elseif refused ~= 'budget' then
  for kind, limit in pairs(limits) do
    local over = totals[kind] + amounts[kind] - limit
    table.sort(used[kind], function(a, b) return a[1] < b[1] end)
    for _, each in ipairs(used[kind]) do
      if over <= 0 then break end
      over = over - each[2]
      wait = math.max(wait, each[1] + span - now)
    end
  end
end
local function reset(kind) return newest[kind] > 0 and newest[kind] + span - now or 0 end
return {refused, second, totals.r, totals.t, tostring(wait), tostring(reset('r')), tostring(reset('t'))}
"""
)
"""ARGV: span, requests or '', tokens or '', budget or '', tokens to reserve, requests."""

SETTLE = (
    _READ
    + """
local taken, correction, cost, kept = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if correction > 0 then add('t', second, correction)
elseif correction < 0 then
  local there = tonumber(redis.call('HGET', KEYS[1], 't' .. taken) or '0')
  local back = math.min(there, -correction)
  if back > 0 then redis.call('HINCRBY', KEYS[1], 't' .. taken, -back) end
end
if cost > 0 then
  redis.call('INCRBYFLOAT', KEYS[2], ARGV[4])
  if kept > 0 then redis.call('EXPIRE', KEYS[2], kept) end
end
return 1
"""
)
"""ARGV: span, second of the reservation, correction of its tokens, USD, seconds to keep what was spent or 0."""


class RedisLimiter:
    """Counts in a Redis; see `Limiter`. Opening connects to nothing; the first call does.

    Args:
        url: of the Redis, as `RedisStore` takes it.
        namespace: gateways that share one share the limits.
    """

    def __init__(self, url: str, namespace: str = "consilium") -> None:
        self._where, self._namespace = where(url), namespace
        self._redis = connected(url)
        self._admit, self._settle = self._redis.register_script(ADMIT), self._redis.register_script(SETTLE)
        self._settling: set[asyncio.Task[None]] = set()

    async def admit(self, key: str, caps: Caps, tokens: int, requests: int = 1) -> Standing:
        """Take a request and so many tokens; see `Limiter.admit`."""
        limits = [_or_none(caps.requests), _or_none(caps.tokens), _or_none(caps.budget_usd)]
        asked = self._admit(keys=self._keys(key, caps), args=[SPAN, *limits, tokens, requests])
        refused, second, used, taken, wait, *resets = await self._called(asked)
        return Standing(CAUSES.get(refused), second, used, taken, float(wait), *map(float, resets))

    def settle(self, key: str, caps: Caps, second: int, correction: int, cost_usd: float) -> None:
        """Put tokens and cost right, beside everything else; see `Limiter.settle`."""
        task = asyncio.create_task(self._note(key, caps, second, correction, cost_usd), name="limits-settle")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def settled(self) -> None:
        """Wait for what is being noted."""
        await asyncio.gather(*self._settling, return_exceptions=True)

    async def _note(self, key: str, caps: Caps, second: int, correction: int, cost_usd: float) -> None:
        cost = 0.0 if caps.budget_usd is None else cost_usd
        kept = KEPT_SECONDS[PERIODS.get(len(caps.period), "total")]
        args: list[str | int] = [SPAN, second, correction, f"{cost:.12f}", kept]
        try:
            await self._called(self._settle(keys=self._keys(key, caps), args=args))
        except LimitsUnavailable as error:
            log.warning("what a request took cannot be noted", extra=facts(key=key, error=str(error)))

    async def aclose(self) -> None:
        """Close the connections, once everything is settled."""
        await self.settled()
        await self._redis.aclose()

    def _keys(self, key: str, caps: Caps) -> list[str]:
        name = f"{{{self._namespace}}}"
        return [f"{name}:used:{key}", f"{name}:spent:{key}:{caps.period}"]

    async def _called(self, call: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await call
        except TimeoutError:
            raise LimitsUnavailable(
                f"{self._where} did not say what the key has used within {CALL_SECONDS:g} s."
            ) from None
        except (RedisError, OSError) as error:
            raise LimitsUnavailable(f"{self._where} cannot say what the key has used: {error}.") from error


def _or_none(cap: float | None) -> str:
    return "" if cap is None else f"{cap:.12g}"
