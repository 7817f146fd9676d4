"""What routing costs: the same requests to a fake expert by name and through `auto`, interleaved in one run.

    python -m tests.bench.routing_cost [--requests 400]

The baseline is the named expert (no routing): what is reported is the difference and the ratio, with medians, for
questions never seen before (the encoder works) and seen ones (its cache answers).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import orjson

from experts.pocket import DOMAINS, generate
from gateway.app import create_app
from gateway.cli.server import Server, listening_socket, running
from gateway.configuration import GatewayConfig
from gateway.settings import Settings
from router import Encoder
from tests.fakes.expert import FakeExpert, serving

WARM_UP = 20


async def timed(client: httpx.AsyncClient, model: str, question: str) -> float:
    """Return the milliseconds one whole answer took."""
    body = orjson.dumps({"model": model, "messages": [{"role": "user", "content": question}]})
    begun = time.perf_counter()
    response = await client.post("/v1/chat/completions", content=body)
    response.raise_for_status()
    return (time.perf_counter() - begun) * 1000


async def measure(requests: int) -> dict[str, list[float]]:
    """Return milliseconds per request for each way of asking."""
    each = (requests + WARM_UP) // len(DOMAINS) + 1
    questions = [question.prompt for domain in DOMAINS for question in generate(domain, "heldout", each, 9)]
    found: dict[str, list[float]] = {"named": [], "auto, new question": [], "auto, seen question": []}
    fake = FakeExpert(models=("a", "b"), reply=lambda _: "ok")
    async with serving(fake):
        records = [
            {"name": "a", "domains": ["math"], "replicas": [{"base_url": fake.url}]},
            {"name": "b", "domains": ["general chat"], "replicas": [{"base_url": fake.url}]},
        ]
        config = GatewayConfig.model_validate({"experts": records, "routing": {"budget_ms": 5000}})
        settings = Settings(log_level="warning")
        encoder = Encoder(config.routing.encoder)
        await encoder.warm_up()
        app = create_app(settings, config, Path(), encoder=encoder)
        async with (
            running(Server(settings, app), listening_socket("127.0.0.1", 0)) as url,
            httpx.AsyncClient(base_url=url, timeout=60) as client,
        ):
            for index, question in enumerate(questions[: requests + WARM_UP]):
                times = [await timed(client, model, question) for model in ("a", "auto", "auto")]
                if index >= WARM_UP:
                    for way, milliseconds in zip(found, times, strict=True):
                        found[way].append(milliseconds)
    return found


def line(way: str, times: Sequence[float], baseline: float) -> str:
    """Return one row of the report."""
    p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
    return f"{way:22} p50 {p50:7.2f} ms  p95 {p95:7.2f} ms  added {p50 - baseline:6.2f} ms  ratio {p50 / baseline:5.2f}"


def main() -> None:
    """Run the benchmark and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400)
    options = parser.parse_args()
    found = asyncio.run(measure(options.requests))
    baseline = statistics.median(found["named"])
    for way, times in found.items():
        print(line(way, times, baseline))


if __name__ == "__main__":
    main()
