"""What keys, limits and the ledger add to a request, in microseconds of processor time: median of several runs.

python -m tests.bench.key_cost [--keys 1000] [--requests 5000] [--redis redis://127.0.0.1:6379/0]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from experts.registry import Registry
from experts.store import SqliteStore
from experts.types import Usage
from gateway.auth import Keyring
from gateway.keys import KeyBody, KeyBook
from gateway.latitude import ListPrices
from gateway.limits import Gate, Limiter
from gateway.limits.config import KeyLimitsConfig
from gateway.limits.gate import confined
from gateway.limits.memory import MemoryLimiter
from gateway.limits.redis import RedisLimiter
from gateway.schemas import parse_chat
from gateway.usage.ledger import Ledger

BODY = b'{"model": "auto", "messages": [{"role": "user", "content": "What is 417 plus 268?"}], "max_tokens": 100}'
USED = {"math": Usage(12, 40)}
RUNS = 7
UNLIMITED = KeyBody(name="unlimited")
LIMITED = KeyBody(name="limited", requests_per_minute=10**9, tokens_per_minute=10**9, budget_usd=1e9, experts=["math"])


async def main(keys: int, requests: int, redis_url: str | None) -> None:
    """Measure and print."""
    store = SqliteStore(":memory:")
    book, ledger = KeyBook(store), Ledger(store)
    for _ in range(keys):
        await book.create(UNLIMITED)
    ring = Keyring(["environment"], book)
    limiters: dict[str, Limiter] = {"memory": MemoryLimiter()}
    if redis_url is not None:
        limiters["redis"] = RedisLimiter(redis_url, "key-cost")
    for where, limiter in limiters.items():
        gate = Gate(limiter, KeyLimitsConfig(), book=book, ledger=ledger, prices=ListPrices(Registry()))
        for body in (UNLIMITED, LIMITED):
            _, secret = await book.create(body)
            print(f"{where:8}{body.name:10}{await cost(ring, gate, secret, requests):8.1f} us a request")
        await gate.aclose()
    await store.aclose()


async def cost(ring: Keyring, gate: Gate, secret: str, requests: int) -> float:
    """Return processor microseconds from the headers to the noted usage, without reading the body."""
    headers = {"authorization": f"Bearer {secret}"}
    chat = parse_chat(BODY, headers)

    async def once() -> None:
        client = ring.authenticate(headers)
        with await gate.admit(client, confined(chat, client)) as visit:
            visit.end(USED)

    return statistics.median([await timed(once, requests) for _ in range(RUNS)])


async def timed(work: Callable[[], Awaitable[None]], times: int) -> float:
    """Return processor microseconds of one piece of work."""
    begun = time.process_time()
    for _ in range(times):
        await work()
    await asyncio.sleep(0)
    return 1e6 * (time.process_time() - begun) / times


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--redis", default=None)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.keys, arguments.requests, arguments.redis))
