"""A little world in which it is known who answers rightly and who fuses well, for tests of the fuser benchmark."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import httpx

from experts.fusion_prompt import INSTRUCTIONS
from tests.conftest import expert_record
from tests.fakes.expert import FakeExpert

DOMAINS = ("math", "law")
ENDED = {"done", "failed", "cancelled"}
ANSWERS = {"ann": 0, "bob": 1, "cyd": 2, "dee": 3}
"""Who is right: on question n the expert number n modulo four, and nobody else; the wrong ones say different things."""


def questions(folder: Path, count: int) -> Path:
    """Write so many questions of each domain."""
    rows = [
        {"question": f"{domain} question {number}?", "answer": str(1000 + number), "domain": domain}
        for number in range(count)
        for domain in DOMAINS
    ]
    path = folder / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def asked(body: dict[str, Any]) -> tuple[str, int]:
    """Return the domain and the number of the question."""
    domain, _, number = body["messages"][-1]["content"].rstrip("?").split(" ")
    return domain, int(number)


def fusing(body: dict[str, Any]) -> bool:
    """Say whether it is a fuser that is asked."""
    return INSTRUCTIONS in str(body["messages"][0]["content"])


def panelist(name: str) -> Callable[[dict[str, Any]], str]:
    """Return a reply that is right on every fourth question, and never when it should fuse."""

    def reply(body: dict[str, Any]) -> str:
        _, number = asked(body)
        own = ANSWERS[name]
        right = number % len(ANSWERS) == own and not fusing(body)
        return f"I am {name}.\nAnswer: {1000 + number if right else 10 * number + own}"

    return reply


def fuser(good_at: Collection[str]) -> Callable[[dict[str, Any]], str]:
    """Return a reply that finds the right answer among those it reads, in some domains; elsewhere it is wrong."""

    def reply(body: dict[str, Any]) -> str:
        domain, number = asked(body)
        read = re.findall(r"\| ?Answer: (\d+)", str(body["messages"][0]["content"])) or ["0"]
        found = str(1000 + number) if domain in good_at and str(1000 + number) in read else "0"
        return f"They say {len(read)} things.\nAnswer: {found}"

    return reply


def world(**more: FakeExpert) -> dict[str, FakeExpert]:
    """Return four experts that answer, one that fuses in maths, one that fuses in law."""
    fakes = {name: FakeExpert(reply=panelist(name)) for name in ANSWERS}
    return {**fakes, "sums": FakeExpert(reply=fuser({"math"})), "pleads": FakeExpert(reply=fuser({"law"})), **more}


def records(fakes: dict[str, FakeExpert]) -> list[dict[str, Any]]:
    """Return the experts' records: those that answer are equally good, the others are asked only to fuse."""
    examples = {domain: [f"{domain} question {number}?" for number in range(500, 503)] for domain in DOMAINS}
    declared = {"ann": {"domains": ["math"], "examples": examples["math"]}}
    declared["bob"] = {"domains": ["law"], "examples": examples["law"]}
    skills = {domain: {"accuracy": 1 / len(ANSWERS), "count": 200} for domain in DOMAINS}
    return [
        expert_record(name, fake, routed=name in ANSWERS, skills=skills, **declared.get(name, {}))
        for name, fake in fakes.items()
    ]


async def begun(client: httpx.AsyncClient, data: Path, **body: Any) -> dict[str, Any]:
    """Start a benchmark and return its job."""
    response = await client.post("/admin/experts/benchmark-fuser", json={"data": str(data), **body})
    assert 202 == response.status_code, response.text
    return dict(response.json())


async def ended(client: httpx.AsyncClient, job: dict[str, Any]) -> dict[str, Any]:
    """Return a job once it has ended."""
    async with asyncio.timeout(60):
        while job["state"] not in ENDED:
            await asyncio.sleep(0.05)
            job = (await client.get(f"/admin/jobs/{job['id']}")).json()
    return dict(job)


async def examined(client: httpx.AsyncClient, data: Path, **body: Any) -> dict[str, Any]:
    """Examine fusers to the end and return the job."""
    return await ended(client, await begun(client, data, **body))


async def written_by(client: httpx.AsyncClient, domain: str, **routing: Any) -> str:
    """Ask a council and return who wrote its answer."""
    body = {
        "model": "council",
        "messages": [{"role": "user", "content": f"{domain} question 7?"}],
        "routing": {"fusion": "synthesize", **routing},
    }
    response = await client.post("/v1/chat/completions", json=body)
    assert 200 == response.status_code, response.text
    return str(response.json()["fusion"]["fuser"])
