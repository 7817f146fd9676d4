"""A sixth pocket specialist comes while the gateway runs: registered by examples, routed to, measured; what it adds.

    python -m tests.bench.sixth_expert [--adapter FOLDER] [--per-domain 40] [--json FILE]

Starts `consilium serve --config builtin:pocket`, puts held-out questions of all six domains to `auto` before the expert
is there, when it is registered, and when it was measured on 20 questions a domain. Without --adapter one is trained
first (a few minutes). Exits with 1 when a promise at the end of this file is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from experts.backends import make_client
from experts.pocket import DOMAINS, PocketQuestion, generate, weights_folder
from gateway.cli import exam
from gateway.cli.demo import until_ready
from tests.processes import free_port, started, wait_for

SIXTH = "numerals"
SIX = (*DOMAINS, SIXTH)
SEED, PROFILE_SEED, PROFILED = 4242, 31_415, 20
TOKENS = 850_000
ROUTED, MOST_LOST = 0.9, 0.01
ADMIN = {"authorization": "Bearer bench"}
RECORD = {
    "name": SIXTH,
    "description": "Roman numerals, written and read.",
    "domains": [SIXTH],
    "examples": [
        "What is 47 in Roman numerals?",
        "Write 112 as a Roman numeral.",
        "How do the Romans write 204?",
        "What number is the Roman numeral XLVII?",
        "Read the Roman numeral CXII.",
    ],
    "context_window": 1024,
    "active_parameters_billions": 0.002,
    "fallback": ["base"],
}


def trained(folder: Path) -> Path:
    """Train the adapter over the shipped base and return its folder."""
    (folder / "base").symlink_to(weights_folder() / "base")
    command = [
        "experts.pocket.train",
        "--stage",
        SIXTH,
        "--out",
        str(folder),
        "--tokens",
        str(TOKENS),
        "--threads",
        "2",
    ]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return folder / SIXTH


def rows(questions: Sequence[PocketQuestion]) -> list[dict[str, Any]]:
    """Return questions as a file for profiling has them."""
    return [
        {
            "question": each.prompt,
            "domain": each.domain,
            "skills": [each.task],
            **(
                {"tests": [{"expression": test.expression, "expected": test.expected} for test in each.tests]}
                if each.tests
                else {"answer": each.answer, "kind": "exact"}
            ),
        }
        for each in questions
    ]


class Bench:
    """One gateway, asked in stages."""

    def __init__(self, client: httpx.AsyncClient, url: str, per_domain: int, folder: Path) -> None:
        self.client, self.url, self.folder = client, url, folder
        self.profiling = [q for domain in SIX for q in generate(domain, "heldout", PROFILED, PROFILE_SEED)]
        known = {question.prompt for question in self.profiling}
        self.paper: list[PocketQuestion] = []
        for domain in SIX:
            fresh = [q for q in generate(domain, "heldout", per_domain + PROFILED, SEED) if q.prompt not in known]
            self.paper += fresh[:per_domain]
        random.Random(SEED).shuffle(self.paper)

    async def stage(self, name: str, model: str = "auto", *, only: str | None = None) -> dict[str, Any]:
        """Put the paper, or one domain of it, to a model and return accuracies and who answered the sixth domain."""
        begun = time.monotonic()
        paper = [question for question in self.paper if only in (None, question.domain)]
        marks = await exam.examine(self.client, self.url, model, paper)
        of = {domain: [mark for mark in marks if mark.question.domain == domain] for domain in SIX}
        found: dict[str, Any] = {domain: exam.accuracy(part) for domain, part in of.items() if part}
        found["all"] = exam.accuracy(marks)
        found["routed"] = sum(mark.experts.split(",")[0] == SIXTH for mark in of[SIXTH]) / len(of[SIXTH])
        found["seconds"] = round(time.monotonic() - begun, 1)
        print(f"{name:12}", json.dumps({key: round(value, 3) for key, value in found.items()}), flush=True)
        return found

    async def register(self, record: Mapping[str, Any]) -> float:
        """Register the expert with one call; return the seconds until it was ready."""
        begun = time.monotonic()
        answer = await self.client.post(f"{self.url}/admin/experts", json=dict(record), headers=ADMIN, timeout=300)
        assert answer.status_code == 201, answer.text
        await until_ready(self.client, self.url)
        return time.monotonic() - begun

    async def profile(self) -> dict[str, Any]:
        """Measure it; return the result."""
        path = self.folder / "questions.jsonl"
        path.write_text("\n".join(map(json.dumps, rows(self.profiling))))
        body = {"questions": str(path), "run_code": True}
        where = f"{self.url}/admin/experts/{SIXTH}/profile"
        job = (await self.client.post(where, json=body, headers=ADMIN)).json()
        while job["state"] not in ("done", "failed", "cancelled"):
            await asyncio.sleep(0.5)
            job = (await self.client.get(f"{self.url}/admin/jobs/{job['id']}", headers=ADMIN)).json()
        assert job["state"] == "done", job
        result: dict[str, Any] = job["result"]
        return result

    async def run(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return what every stage found."""
        await until_ready(self.client, self.url)
        found: dict[str, Any] = {"questions": len(self.paper), "before": await self.stage("before")}
        found["ready_after_seconds"] = round(await self.register(record), 1)
        found["alone"] = await self.stage("alone", SIXTH, only=SIXTH)
        found["registered"] = await self.stage("registered")
        profile = await self.profile()
        found["profile"] = {key: profile[key] for key in ("skills", "ci95", "expected", "latency_ms", "output_tokens")}
        print("profile     ", json.dumps(profile["skills"]), flush=True)
        found["profiled"] = await self.stage("profiled")
        return found


def broken(found: dict[str, Any]) -> list[str]:
    """Return the promises that were not kept, as sentences."""
    before, after = found["before"], found["profiled"]
    told = []
    if found["registered"]["routed"] < ROUTED:
        told.append(f"before profiling {found['registered']['routed']:.3f} of its questions were routed to it")
    gain = (found["alone"][SIXTH] - before[SIXTH]) / len(SIX)
    if after["all"] - before["all"] < gain - MOST_LOST:
        told.append(f"the mixed set rose by {after['all'] - before['all']:.3f}; the expert adds {gain:.3f}")
    lost = sum(before[domain] - after[domain] for domain in DOMAINS) / len(DOMAINS)
    if lost > MOST_LOST:
        told.append(f"the other domains lost {lost:.3f}")
    return told


async def measured(url: str, per_domain: int, folder: Path, adapter: Path) -> dict[str, Any]:
    """Run the stages against a running gateway."""
    record = {**RECORD, "backend": "vllm", "adapter": {"base": "base", "path": str(adapter)}}
    async with make_client() as client:
        return await Bench(client, url, per_domain, folder).run(record)


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapter", type=Path, help="a trained adapter; without it one is trained")
    parser.add_argument("--per-domain", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        adapter = options.adapter or trained(folder)
        log, port = folder / "gateway.log", free_port()
        environment = {"CONSILIUM_ADMIN_KEY": "bench", "CONSILIUM_STORE": str(folder / "store.db")}
        with started(
            "gateway", "serve", "-c", "builtin:pocket", "--port", str(port), log=log, **environment
        ) as process:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/health/liveness", process, log)
            found = asyncio.run(measured(url, options.per_domain, folder, adapter.resolve()))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    for sentence in (complaints := broken(found)):
        print("MISSED", sentence)
    return int(bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
