"""More models than memory: a mixed batch grouped by model, beside the same requests in order. Real vLLM on this CPU.

    python -m tests.bench.batching [--models 6] [--requests 600] [--in-order 12] [--json FILE]

Each model is a server of its own (the pocket base with one of the shipped adapters) and one may be awake at a time. The
questions are shuffled. The batch goes through the Batch API of a gateway in a process of its own; in order, they are
asked one after the other, so that nearly every one swaps models: that takes half a minute each, so it is measured on a
few and told as a rate. The floor is the time that loading every model once and answering alone take.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from experts.launch import find_environment
from experts.pocket import DOMAINS, PocketQuestion, generate, grade
from tests.processes import free_port, started, wait_for

MODELS = (*DOMAINS, "generalist")
SEED, MAX_TOKENS, POLL_SECONDS = 77, 256, 0.5
LONGEST_SECONDS, LONE = 1800, 5


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway with every model on a server of its own, and its log."""

    client: httpx.Client
    log: Path

    def loads(self) -> list[tuple[str, float]]:
        """Return each load so far: which server, and how many seconds it took."""
        return [(line["server"], line["load_seconds"]) for line in self._said("load_seconds")]

    def sleeps(self) -> list[float]:
        """Return the seconds that putting a server to sleep took, each time."""
        return [line["sleep_seconds"] for line in self._said("sleep_seconds")]

    def _said(self, field: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_text().splitlines() if f'"{field}"' in line and line.startswith("{")]
        return [json.loads(line) for line in lines]


def configuration(models: list[str]) -> dict[str, Any]:
    """Return a gateway's configuration in which one of the models' servers may be awake."""
    launch = {"model": "builtin:pocket/base", "args": ["--max-model-len", "1024"]}
    experts = []
    for model in models:
        experts.append({"name": f"{model}-base", "backend": "vllm", "routed": False, "launch": launch})
        adapter = {"base": f"{model}-base", "path": f"builtin:pocket/{model}"}
        experts.append({"name": model, "backend": "vllm", "adapter": adapter, "limits": {"timeout_seconds": 900}})
    return {"experts": experts, "residency": {"max_resident": 1}, "routing": {"default": models[0]}}


@contextmanager
def served(models: list[str]) -> Iterator[Served]:
    """Run the gateway; its first model is awake when this is entered."""
    environment = find_environment()
    assert environment is not None, "make setup installs a vLLM"
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        (folder / "c.yaml").write_text(json.dumps(configuration(models)))
        own = {"CONSILIUM_VLLM_PYTHON": str(environment.python), "CONSILIUM_STATE_DIR": name}
        log, url = folder / "gateway.log", f"http://127.0.0.1:{port}"
        arguments = ("gateway", "serve", "-c", str(folder / "c.yaml"), "--port", str(port))
        with started(*arguments, log=log, **own) as process, httpx.Client(base_url=url, timeout=900) as client:
            wait_for(f"{url}/health/liveness", process, log, seconds=120)
            while (state := client.get(f"/v1/models/{models[0]}").json()["state"]) == "waking":
                time.sleep(0.5)
            assert state == "ready", log.read_text()[-3000:]
            yield Served(client, log)


def questions(models: list[str], count: int) -> list[tuple[str, PocketQuestion]]:
    """Return as many questions for each model, shuffled: every domain's own, all domains' for the generalist."""
    per_model, asked = count // len(models), []
    for model in models:
        domains = DOMAINS if model not in DOMAINS else (model,)
        share = -(-per_model // len(domains))
        paper = [q for domain in domains for q in generate(domain, "heldout", share, SEED)]
        asked += [(model, question) for question in paper[:per_model]]
    random.Random(SEED).shuffle(asked)
    return asked


def body_of(model: str, question: PocketQuestion) -> dict[str, Any]:
    """Return the request."""
    messages = [{"role": "user", "content": question.prompt}]
    return {"model": model, "messages": messages, "temperature": 0, "max_tokens": MAX_TOKENS}


def batched(gateway: Served, asked: list[tuple[str, PocketQuestion]]) -> tuple[float, list[str | None]]:
    """Run the questions as one batch; return the seconds from order to completion, and the texts (None: failed)."""
    lines = [
        {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body_of(*each)}
        for number, each in enumerate(asked)
    ]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    client = gateway.client
    file = client.post("/v1/files", files={"file": ("in.jsonl", content)}, data={"purpose": "batch"}).json()
    order = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    begun = time.monotonic()
    batch = client.post("/v1/batches", json=order).json()
    while batch["status"] not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() - begun < LONGEST_SECONDS, batch
        time.sleep(POLL_SECONDS)
        batch = client.get(f"/v1/batches/{batch['id']}").json()
    seconds = time.monotonic() - begun
    output = client.get(f"/v1/files/{batch['output_file_id']}/content").text if batch["output_file_id"] else ""
    texts: list[str | None] = [None] * len(asked)
    for line in map(json.loads, output.splitlines()):
        if line["response"] and line["response"]["status_code"] == 200:
            texts[int(line["custom_id"])] = line["response"]["body"]["choices"][0]["message"]["content"]
    return seconds, texts


def in_order(gateway: Served, asked: list[tuple[str, PocketQuestion]]) -> float:
    """Ask one after the other as they come; return the seconds."""
    begun = time.monotonic()
    for model, question in asked:
        gateway.client.post("/v1/chat/completions", json=body_of(model, question)).raise_for_status()
    return time.monotonic() - begun


def measure(models: list[str], count: int, few: int) -> dict[str, Any]:
    """Return the figures of one run."""
    asked = questions(models, count)
    with served(models) as gateway:
        first = gateway.loads()
        seconds, texts = batched(gateway, asked)
        loads = [*first, *gateway.loads()[len(first) :]]
        group = [each for each in asked if each[0] == loads[-1][0].removesuffix("-base")]
        alone, _ = batched(gateway, group)
        lone = in_order(gateway, group[:LONE]) / min(LONE, len(group))
        before = len(gateway.loads())
        ordered = in_order(gateway, asked[:few]) if few else 0.0
        swaps, sleeps = len(gateway.loads()) - before, gateway.sleeps()
    right = sum(text is not None and grade(q, text) for (_, q), text in zip(asked, texts, strict=True))
    load_total = sum(took for _, took in loads)
    floor = load_total + alone * len(models)
    whole = seconds + sum(took for _, took in first)
    return {
        "models": len(models),
        "requests": len(asked),
        "failed": texts.count(None),
        "right": right,
        "grouped_seconds": round(whole, 1),
        "grouped_per_minute": round(60 * len(asked) / whole, 1),
        "loads": dict(Counter(server for server, _ in loads)),
        "floor_seconds": round(floor, 1),
        "ratio_to_floor": round(whole / floor, 3),
        "compute_seconds_per_group": round(alone, 1),
        "in_order_requests": few,
        "in_order_loads": swaps,
        "in_order_per_minute": round(60 * few / ordered, 2) if few else None,
        "load_seconds": round(load_total / len(loads), 1),
        "sleep_seconds": round(sum(sleeps) / max(len(sleeps), 1), 2),
        "service_seconds": round(lone, 3),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    """Print the figures; return 1 when a model was loaded twice or a request failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=6, choices=range(2, len(MODELS) + 1))
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--in-order", type=int, default=12, help="requests asked in order; 0 leaves it out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(list(MODELS[: options.models]), options.requests, options.in_order)
    print(json.dumps(found, indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if found["failed"] or max(found["loads"].values()) > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
