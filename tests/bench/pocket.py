"""Pocket accuracy through the running gateway: every model on every domain, and `auto` over the mixed set.

    python -m tests.bench.pocket [--per-domain 200] [--models science auto] [--json FILE]

Starts `consilium serve --config builtin:pocket` itself, puts the same held-out questions to every model in one
run, and exits with 1 when a threshold of docs/pocket.md is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experts.backends import make_client
from experts.pocket import DOMAINS
from gateway.cli import exam
from gateway.cli.demo import until_ready
from tests.processes import free_port, started, wait_for

SEED = 1234
OWN, ABOVE, ROUTED = 0.85, 0.25, 0.97


async def measure(url: str, per_domain: int, models: list[str]) -> dict[str, Any]:
    """Return the accuracy matrix, the router's share of right domains, and seconds per model."""
    paper = exam.questions(per_domain, SEED)
    random.Random(SEED).shuffle(paper)
    found: dict[str, Any] = {"questions": len(paper), "per_domain": per_domain, "seed": SEED, "models": {}}
    async with make_client() as client:
        await until_ready(client, url)
        for model in models:
            begun = time.monotonic()
            marks = await exam.examine(client, url, model, paper)
            found["models"][model] = {
                "all": exam.accuracy(marks),
                **exam.by_domain(marks),
                "seconds": round(time.monotonic() - begun, 1),
            }
            print(model, json.dumps(found["models"][model]), flush=True)
            if model == "auto":
                found["routed_rightly"] = exam.routed_rightly(marks)
    return found


def misses(found: dict[str, Any]) -> list[str]:
    """Return the thresholds that were not met, as sentences; nothing is judged unless every model was asked."""
    models = found["models"]
    if not {*exam.SINGLE_MODELS, "auto"} <= set(models):
        return []
    told = [
        f"{d} alone: {models[d][d]:.3f}, base {models['base'][d]:.3f}"
        for d in DOMAINS
        if models[d][d] < OWN or models[d][d] - models["base"][d] < ABOVE
    ]
    best = max(models[model]["all"] for model in models if model != "auto")
    if models["auto"]["all"] < OWN or models["auto"]["all"] - best < ABOVE:
        told.append(f"auto {models['auto']['all']:.3f}, best single {best:.3f}")
    if found["routed_rightly"] < ROUTED:
        told.append(f"domains named rightly: {found['routed_rightly']:.3f}")
    return told


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-domain", type=int, default=200)
    parser.add_argument("--models", nargs="+", default=[*exam.SINGLE_MODELS, "auto"], help="default: all of them")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log, port = Path(folder) / "gateway.log", free_port()
        with started("gateway", "serve", "-c", "builtin:pocket", "--port", str(port), log=log) as process:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/health/liveness", process, log, seconds=300)
            found = asyncio.run(measure(url, options.per_domain, options.models))
    print(json.dumps(found, indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    for miss in misses(found):
        print(f"missed: {miss}", file=sys.stderr)
    return 1 if misses(found) else 0


if __name__ == "__main__":
    sys.exit(main())
