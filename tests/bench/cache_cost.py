"""What a kept answer costs beside one from an expert that answers at once: wall time of one request after the other.

python -m tests.bench.cache_cost [--requests 300] [--redis redis://127.0.0.1:6379/0]
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import statistics
import time
import timeit
from collections.abc import Callable

import httpx
from pydantic import SecretStr

from aggregator import FusionConfig
from experts.registry import Registry
from gateway.auth import ANYONE
from gateway.cache import CacheConfig, Replays
from gateway.cache.memory import MemoryCache
from gateway.schemas import parse_chat
from gateway.settings import Settings
from gateway.tracing import CURRENT
from tests.conftest import expert_record, gateway_over
from tests.fakes.expert import FakeExpert, serving

WORDS = "word " * 100
PATH = "/v1/chat/completions"


async def main(requests: int, redis_url: str) -> None:
    """Measure and print: milliseconds, the median and the slowest in twenty."""
    expert = FakeExpert(reply=lambda _: WORDS)
    settings = Settings(redis_url=SecretStr(redis_url), store=":memory:")
    async with serving(expert), gateway_over([expert_record("math", expert)], settings=settings) as client:
        await times(client, requests // 4, None)
        for name, wish in (("not asked for", None), ("miss", "refresh"), ("hit", "on")):
            for stream in (False, True):
                found = await times(client, requests, wish, stream=stream)
                spread = statistics.quantiles(found, n=20)
                kind = "stream" if stream else "whole"
                print(f"{'redis' if redis_url else 'memory':7}{name:14}{kind:7}{spread[9]:7.2f} ms{spread[18]:7.2f} ms")


async def times(client: httpx.AsyncClient, requests: int, wish: str | None, *, stream: bool = False) -> list[float]:
    """Return the milliseconds that each request took; those that may be a hit ask for one answer all the time."""
    headers = {} if wish is None else {"x-consilium-cache": wish}
    found = []
    for _ in range(requests):
        text = "What is 2 + 2?" if wish == "on" else secrets.token_hex(8)
        body = {"model": "math", "messages": [{"role": "user", "content": text}], "stream": stream}
        begun = time.perf_counter()
        answer = await client.post(PATH, json=body, headers=headers)
        found.append(1000 * (time.perf_counter() - begun))
        assert 200 == answer.status_code, answer.text
    return found


def unasked() -> None:
    """Print what requests pay that do not ask, in microseconds: the cache's question, and a trace that is not there."""
    request = parse_chat(b'{"messages": [{"role": "user", "content": "hi"}]}', {})
    config, fusion = CacheConfig(), FusionConfig()
    cache = MemoryCache(config.ttl_seconds, config.max_bytes)
    replays = Replays(cache, config, registry=Registry(), fusers=lambda _: (), versions=dict, fusion=fusion)
    calls: dict[str, Callable[[], object]] = {"cache": lambda: replays.wanted(request, ANYONE), "trace": CURRENT.get}
    for name, call in calls.items():
        print(f"not asked for: {name} {1e6 * min(timeit.repeat(call, number=100_000, repeat=5)) / 100_000:.2f} us")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=300)
    options.add_argument("--redis", default="")
    chosen = options.parse_args()
    asyncio.run(main(chosen.requests, chosen.redis))
    unasked()
