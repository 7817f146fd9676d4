"""Answers that several gateways share, in one Redis: a look is one round trip, and so is a keeping.

    {consilium}:cache:answer:KEY   the answer; expires by itself      {consilium}:cache:bytes   what all take together
    {consilium}:cache:until        keys by when they expire           {consilium}:cache:sizes   key -> bytes

The bound is ours, not the server's `maxmemory`: the same Redis holds what must never be evicted. While it is away
every look is a miss, and for a second after each failure it is not even asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import RedisError

from experts.store import StoreError
from experts.store.redis import connected, where
from gateway.cache.base import ENTRY_BYTES, Kept
from gateway.logs import facts

log = logging.getLogger(__name__)
CALL_SECONDS = 0.25
"""The longest a look waits: an answer made anew beats one that is late."""
REST_SECONDS = 1.0
FORGET_SECONDS, FORGET_AT_ONCE = 30.0, 1000

GET = """
local content = redis.call('GET', KEYS[1])
if not content then return nil end
return {content, redis.call('PTTL', KEYS[1])}
"""

PUT = """
local member, content, size = ARGV[1], ARGV[2], tonumber(ARGV[3])
local ttl, most, prefix = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local total = tonumber(redis.call('GET', KEYS[4]) or '0')
local function drop(name)
  total = total - tonumber(redis.call('HGET', KEYS[3], name) or '0')
  redis.call('HDEL', KEYS[3], name)
  redis.call('ZREM', KEYS[2], name)
  redis.call('DEL', prefix .. name)
end
drop(member)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)) do drop(name) end
while total + size > most do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not oldest then
    total = 0
    break
  end
  drop(oldest)
end
redis.call('SET', KEYS[1], content, 'PX', ttl)
redis.call('ZADD', KEYS[2], now + ttl, member)
redis.call('HSET', KEYS[3], member, size)
redis.call('SET', KEYS[4], total + size)
for place = 2, 4 do redis.call('PEXPIRE', KEYS[place], 2 * ttl) end
return total + size
"""

FORGET = """
local total = tonumber(redis.call('GET', KEYS[3]) or '0')
local count = 0
for place = 2, #ARGV do
  total = total - tonumber(redis.call('HGET', KEYS[2], ARGV[place]) or '0')
  redis.call('HDEL', KEYS[2], ARGV[place])
  redis.call('ZREM', KEYS[1], ARGV[place])
  count = count + redis.call('DEL', ARGV[1] .. ARGV[place])
end
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('SET', KEYS[3], math.max(0, total), 'KEEPTTL') end
return count
"""


class RedisCache:
    """Keeps in a Redis; see `AnswerCache`. Opening connects to nothing; the first call does.

    Args:
        url: of the Redis, as `RedisStore` takes it.
        ttl_seconds, max_bytes: as `MemoryCache` takes them, for all gateways of the namespace together.
        namespace: gateways that share one share what was answered.
        failed: told of each call that Redis did not answer.
    """

    def __init__(
        self,
        url: str,
        ttl_seconds: float,
        max_bytes: int,
        *,
        namespace: str = "consilium",
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        self._where, self._redis, self._failed = where(url), connected(url), failed
        self._ttl_ms, self._max = round(1000 * ttl_seconds), max_bytes
        self._prefix = f"{{{namespace}}}:cache:answer:"
        self._books = [f"{{{namespace}}}:cache:{name}" for name in ("until", "sizes", "bytes")]
        self._get, self._put = self._redis.register_script(GET), self._redis.register_script(PUT)
        self._forget = self._redis.register_script(FORGET)
        self._rests_until = 0.0

    async def get(self, key: str) -> Kept | None:
        """Return what is kept; see `AnswerCache.get`."""
        found = await self._called(lambda: self._get(keys=[self._prefix + key]))
        if found is None:
            return None
        content, left_ms = found
        return Kept(content.encode(), max(0.0, (self._ttl_ms - left_ms) / 1000))

    async def put(self, key: str, content: bytes) -> None:
        """Keep it; see `AnswerCache.put`."""
        size = len(content) + ENTRY_BYTES
        if size <= self._max:
            args: list[str | bytes | int] = [key, content, size, self._ttl_ms, self._max, self._prefix]
            await self._called(lambda: self._put(keys=[self._prefix + key, *self._books], args=args))

    async def forget(self, owner: str | None) -> int:
        """Drop it, some at a time; see `AnswerCache.forget`."""
        try:
            async with asyncio.timeout(FORGET_SECONDS):
                members = [
                    str(member) async for member, _ in self._redis.zscan_iter(self._books[0], count=FORGET_AT_ONCE)
                ]
                gone = [member for member in members if owner is None or member.startswith(f"{owner}:")]
                counts = [
                    await self._forget(keys=self._books, args=[self._prefix, *gone[start : start + FORGET_AT_ONCE]])
                    for start in range(0, len(gone), FORGET_AT_ONCE)
                ]
        except (RedisError, OSError) as error:
            told = f"Kept answers cannot be forgotten now: the Redis at {self._where} does not answer."
            raise StoreError(told) from error
        return sum(map(int, counts))

    async def aclose(self) -> None:
        """Close the connections; what is kept stays until it expires."""
        await self._redis.aclose()

    async def _called(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Return what Redis says, or None when it says nothing in time."""
        if time.monotonic() < self._rests_until:
            return None
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await call()
        except (RedisError, OSError) as error:  # a timeout is an OSError too
            self._rests_until = time.monotonic() + REST_SECONDS
            self._failed()
            log.warning("kept answers cannot be reached", extra=facts(store=self._where, error=str(error) or "timeout"))
            return None
