"""PyPI's semantic-router over the same encoder, in an environment of its own: `python peer.py < task.json`.

Imports nothing of ours, so that nothing of ours is measured. The task: `model` (folder), `threads`, `routes`
(name -> example texts), `queries`, `short` and `long` (texts to time). Prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from importlib.metadata import version
from typing import Any

BATCH = 32


def percentiles(router: Any, texts: list[str]) -> tuple[float, float]:
    """Return the p50 and p99 milliseconds of one decision at a time."""
    times = []
    for text in texts:
        begun = time.perf_counter()
        router(text)
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


async def rate(router: Any, texts: list[str]) -> float:
    """Return decisions a second, all asked at once."""
    begun = time.perf_counter()
    await asyncio.gather(*(router.acall(text) for text in texts))
    return len(texts) / (time.perf_counter() - begun)


def main() -> None:
    """Do the task."""
    task = json.load(sys.stdin)
    import torch
    from semantic_router import IndexedRouter, Route
    from semantic_router.encoders import HuggingFaceEncoder

    torch.set_num_threads(task["threads"])
    routes = [Route(name=name, utterances=texts) for name, texts in task["routes"].items()]
    begun = time.perf_counter()
    router = IndexedRouter(HuggingFaceEncoder(name=task["model"]), routes)
    ready = time.perf_counter() - begun
    found: dict[str, Any] = {"version": version("semantic-router"), "ready_seconds": ready}
    if task["short"]:
        percentiles(router, task["short"][:5])
        found["short"], found["long"] = percentiles(router, task["short"]), percentiles(router, task["long"])
        found["rate"] = asyncio.run(rate(router, task["short"]))
    chosen: list[str | None] = []
    for at in range(0, len(task["queries"]), BATCH):
        scored = asyncio.run(router._scores_many(task["queries"][at : at + BATCH]))
        chosen += [max(scores, key=scores.__getitem__) for scores in scored]
    print(json.dumps({**found, "chosen": chosen}))


if __name__ == "__main__":
    main()
