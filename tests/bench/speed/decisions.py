"""Time our own decisions: alone, together, again, the policy by itself, and what the process weighs.

On the loop, and with garbage collected as seldom, as `consilium serve` has it. `python -m tests.bench.speed.decisions`
prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

import psutil
import uvloop

from experts.profile import Price, Skill, SkillProfile
from gateway.cli.server import collect_seldom
from router import Router, RoutingConfig
from router.config import EncoderConfig
from router.policies import POLICIES
from router.policies.candidates import PolicyContext
from router.taxonomy import default_taxonomy
from router.types import DomainScores, Query
from tests.bench.speed.texts import texts_of

DOMAINS = default_taxonomy().domains
SPECIALISTS = (
    *(SkillProfile(domain.replace(" ", "-"), domains=(domain,)) for domain in DOMAINS),
    SkillProfile("generalist"),
)
CONFIG = RoutingConfig(default="generalist", budget_ms=60_000)
AT_ONCE = 64


def asked(text: str) -> Query:
    """Return the query of one question."""
    return Query(({"role": "user", "content": text},))


async def alone(router: Router, texts: Sequence[str]) -> tuple[float, float]:
    """Return the p50 and p99 milliseconds of one decision at a time."""
    times = []
    for text in texts:
        begun = time.perf_counter()
        await router.route(asked(text), SPECIALISTS)
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


async def together(router: Router, texts: Sequence[str]) -> tuple[float, float]:
    """Return decisions a second with AT_ONCE clients, each of which asks again as soon as it is answered, and the
    processor milliseconds that a decision takes on all threads together: what other work disturbs least."""
    left = list(texts)

    async def client() -> None:
        while left:
            await router.route(asked(left.pop()), SPECIALISTS)

    begun, begun_work = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    worked = time.process_time() - begun_work
    return len(texts) / (time.perf_counter() - begun), 1000 * worked / len(texts)


async def again(router: Router, texts: Sequence[str], count: int) -> float:
    """Return decisions a second for questions that were asked before."""
    for text in texts:
        await router.route(asked(text), SPECIALISTS)
    begun = time.perf_counter()
    for place in range(count):
        await router.route(asked(texts[place % len(texts)]), SPECIALISTS)
    return count / (time.perf_counter() - begun)


def policy_milliseconds(experts: int) -> float:
    """Return the median time of the usual policy among so many measured and priced experts."""
    draw = random.Random(0)
    pool = tuple(
        SkillProfile(
            f"expert-{place}",
            measured={domain: Skill(draw.uniform(0.3, 0.9), 50) for domain in DOMAINS},
            price=Price(draw.random(), draw.random()),
        )
        for place in range(experts)
    )
    context = PolicyContext(default="expert-0", fallback_confidence=0.3, taxonomy=default_taxonomy())
    odds = [[draw.random() for _ in DOMAINS] for _ in range(300)]
    given = [DomainScores({d: o / sum(row) for d, o in zip(DOMAINS, row, strict=True)}, 0.9) for row in odds]
    query = asked("?")
    times = []
    for scores in given:
        begun = time.perf_counter()
        POLICIES["profile"].decide(query, scores, pool, context)
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


async def measure(threads: int, repeats: int) -> dict[str, Any]:
    """Return all figures of our router."""
    begun = time.perf_counter()
    config = CONFIG.model_copy(update={"encoder": EncoderConfig(threads=threads)})
    async with await Router.create(config, SPECIALISTS) as router:
        started = time.perf_counter() - begun
        collect_seldom()
        short, long = texts_of(60, 2 * repeats + 320), texts_of(200, repeats // 2)
        await alone(router, texts_of(60, 10, seed=1) + texts_of(200, 5, seed=1))
        first, second = await alone(router, short[:repeats]), await alone(router, long)
        rate, work = await together(router, short[repeats : 2 * repeats + 300])
        return {
            "start_seconds": started,
            "short": first,
            "long": second,
            "rate": rate,
            "work_ms": work,
            "again": await again(router, short[:100], 20_000),
            "policy_ms": policy_milliseconds(100),
            "memory_mib": psutil.Process().memory_info().rss / 2**20,
            "classifier": router.classifier.name,
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=EncoderConfig().threads)
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    print(json.dumps(uvloop.run(measure(options.threads, options.repeats))))


if __name__ == "__main__":
    main()
