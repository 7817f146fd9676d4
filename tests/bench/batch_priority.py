"""What a batch costs those who wait: one expert, online requests at a steady rate, alone and beside a batch.

    python -m tests.bench.batch_priority [--seconds 20] [--rate 10] [--places 8] [--answer-ms 200]

Three times in one run, the same gateway and the same expert (a stand-in over sockets that takes its time): online
requests alone; beside a batch as it is run; beside the same lines sent as plain requests, which is what a batch
without priorities would be. The expert's places are the bottleneck, not this machine. Reported: the online requests'
median and 95th percentile, their ratio to those alone, and the batch's lines a second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import orjson

from gateway.app import create_app
from gateway.cli.server import Server, listening_socket, running
from gateway.configuration import GatewayConfig
from gateway.settings import Settings
from tests.fakes.encoder import FakeEncoder
from tests.fakes.expert import FakeExpert, serving

PLAIN_AT_ONCE = 64


def question(text: str) -> dict[str, object]:
    """Return a request to the expert."""
    return {"model": "expert", "messages": [{"role": "user", "content": text}]}


async def ask(client: httpx.AsyncClient, text: str) -> float:
    """Return how many milliseconds an answer took."""
    begun = time.perf_counter()
    response = await client.post("/v1/chat/completions", content=orjson.dumps(question(text)))
    response.raise_for_status()
    return (time.perf_counter() - begun) * 1000


async def online(client: httpx.AsyncClient, seconds: float, rate: float) -> list[float]:
    """Ask at a steady rate, whatever the answers take, and return what each took."""
    tasks = []
    for number in range(round(seconds * rate)):
        tasks.append(asyncio.create_task(ask(client, f"online {number}")))
        await asyncio.sleep(1 / rate)
    return await asyncio.gather(*tasks)


async def order(client: httpx.AsyncClient, lines: int) -> str:
    """Order a batch of so many lines and return its id."""
    content = b"".join(
        orjson.dumps(
            {"custom_id": str(i), "method": "POST", "url": "/v1/chat/completions", "body": question(f"line {i}")}
        )
        + b"\n"
        for i in range(lines)
    )
    sent = await client.post("/v1/files", files={"file": ("in.jsonl", content)}, data={"purpose": "batch"})
    body = {"input_file_id": sent.json()["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return str((await client.post("/v1/batches", json=body)).json()["id"])


async def completed(client: httpx.AsyncClient, batch: str) -> int:
    """Return how many lines are answered."""
    return int((await client.get(f"/v1/batches/{batch}")).json()["request_counts"]["completed"])


async def beside_batch(client: httpx.AsyncClient, options: argparse.Namespace) -> tuple[list[float], float]:
    """Return the online requests' times beside a batch, and the batch's lines a second."""
    batch = await order(client, round(options.seconds * 2000 * options.places / options.answer_ms))
    while (before := await completed(client, batch)) == 0:
        await asyncio.sleep(0.2)
    begun = time.perf_counter()
    times = await online(client, options.seconds, options.rate)
    done, took = await completed(client, batch) - before, time.perf_counter() - begun
    await client.post(f"/v1/batches/{batch}/cancel")
    while (await client.get(f"/v1/batches/{batch}")).json()["status"] != "cancelled":
        await asyncio.sleep(0.2)
    return times, done / took


async def beside_plain(client: httpx.AsyncClient, options: argparse.Namespace) -> tuple[list[float], float]:
    """Return the online requests' times beside as many plain requests as the gateway takes, and their rate."""
    done = 0

    async def lines() -> None:
        nonlocal done
        while True:
            await ask(client, f"line {done}")
            done += 1

    tasks = [asyncio.create_task(lines()) for _ in range(PLAIN_AT_ONCE)]
    await asyncio.sleep(2)
    before, begun = done, time.perf_counter()
    times = await online(client, options.seconds, options.rate)
    rate = (done - before) / (time.perf_counter() - begun)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return times, rate


def row(name: str, times: list[float], alone: list[float], rate: float) -> str:
    """Return one line of the table."""
    (p50, p95), (a50, a95) = ((statistics.median(t), statistics.quantiles(t, n=20)[18]) for t in (times, alone))
    return f"| {name} | {p50:.0f} | {p50 / a50:.2f} | {p95:.0f} | {p95 / a95:.2f} | {rate:.1f} |"


async def measure(options: argparse.Namespace) -> None:
    """Measure and print."""
    fake = FakeExpert(models=("expert",), reply=lambda _: "done", first_token_delay=options.answer_ms / 1000)
    async with serving(fake):
        record = {"name": "expert", "replicas": [{"base_url": fake.url}], "limits": {"max_in_flight": options.places}}
        config = GatewayConfig.model_validate({"experts": [record]})
        settings = Settings(store=":memory:")
        app = create_app(settings, config, Path(), encoder=FakeEncoder())
        async with (
            running(Server(settings, app), listening_socket("127.0.0.1", 0)) as url,
            httpx.AsyncClient(base_url=url, timeout=300, limits=httpx.Limits(max_connections=None)) as client,
        ):
            await online(client, 2, options.rate)
            alone = await online(client, options.seconds, options.rate)
            batch, batch_rate = await beside_batch(client, options)
            plain, plain_rate = await beside_plain(client, options)
    load = options.rate * options.answer_ms / 1000 / options.places
    print(f"{options.places} places, {options.answer_ms:g} ms an answer, {options.rate:g} online requests a second")
    print(f"(load {load:.0%}), {options.seconds:g} s each\n")
    print("| online requests | p50 ms | to alone | p95 ms | to alone | lines a second |\n|---|---|---|---|---|---|")
    print(row("alone", alone, alone, 0))
    print(row("beside a batch", batch, alone, batch_rate))
    print(row(f"beside {PLAIN_AT_ONCE} plain requests at a time", plain, alone, plain_rate))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=10, help="online requests a second")
    parser.add_argument("--places", type=int, default=8)
    parser.add_argument("--answer-ms", type=float, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CONSILIUM_STATE_DIR"] = folder
        asyncio.run(measure(options))


if __name__ == "__main__":
    main()
