"""What hedging does to the time to the first token, where replicas are now and then slow for reasons of their own.

The dispatcher is real; its two replicas are made up: they begin after 20 to 40 ms, and once in so many calls a second
later. Printed: median and tail of the first token in ms, and the share of calls that were sent twice.

python -m tests.bench.hedging [--calls 4000]
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import AsyncGenerator

from experts.config import ExpertConfig
from experts.dispatcher import Dispatcher
from experts.health import HealthBoard
from experts.registry import Expert, Registry, Replica, static_replicas
from experts.types import AnswerChunk, ExpertCall

PER_SECOND = 200
STALL_SECONDS = 1.0
TOKEN = AnswerChunk({"choices": [{"index": 0, "delta": {"content": "word"}}]}, text="word")
END = AnswerChunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, finish_reason="stop")


class Moody:
    """A backend whose replicas stall with a probability."""

    def __init__(self, stalls: float) -> None:
        self._stalls, self._rng = stalls, random.Random(1)

    async def stream(self, expert: Expert, replica: Replica, call: ExpertCall) -> AsyncGenerator[AnswerChunk, None]:
        """Begin, late perhaps, and end."""
        stalled = self._rng.random() < self._stalls
        await asyncio.sleep(self._rng.uniform(0.02, 0.04) + stalled * STALL_SECONDS)
        yield TOKEN
        yield END

    def relay(self, expert: Expert, replica: Replica, call: ExpertCall) -> AsyncGenerator[AnswerChunk, None]:
        """Not asked for here."""
        raise NotImplementedError

    async def probe(self, expert: Expert, replica: Replica) -> None:
        """Be there."""


async def measured(stalls: float, hedge: dict[str, float] | None, calls: int) -> str:
    """Return a row: median, 99th and 99.9th percentile in ms, and the share of calls that were sent twice."""
    urls = [{"base_url": f"http://127.0.0.1:{port}/v1"} for port in (1, 2)]
    config = ExpertConfig.model_validate({"name": "math", "replicas": urls, "hedge": hedge})
    registry = Registry([Expert(config, config.profile(), static_replicas(config))])
    dispatcher = Dispatcher(registry, {"openai": Moody(stalls)}, HealthBoard())
    facts = []

    async def call() -> None:
        facts.append((await dispatcher.open(ExpertCall("math", ({"role": "user", "content": "?"},))).read()).facts)

    tasks = []
    for _ in range(calls):
        tasks.append(asyncio.create_task(call()))
        await asyncio.sleep(1 / PER_SECOND)
    await asyncio.gather(*tasks)
    first = sorted(1000 * (each.first_token_seconds or 0) for each in facts)
    twice = sum(each.hedges for each in facts) / calls
    return " | ".join(f"{first[int(share * calls)]:.0f}" for share in (0.5, 0.99, 0.999)) + f" | {twice:.1%}"


async def main(calls: int) -> None:
    """Measure and print."""
    print("| calls that stall | hedge | p50 | p99 | p99.9 | sent twice |\n|---|---|---|---|---|---|")
    for stalls in (0.01, 0.03):
        for hedge in (None, {"share": 0.02}, {"share": 0.05}):
            print(f"| {stalls:.0%} | {hedge or 'off'} | {await measured(stalls, hedge, calls)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=4000)
    asyncio.run(main(parser.parse_args().calls))
