"""Ask a running gateway the pocket experts' questions and mark the answers; what `demo` and the benchmark show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from experts.errors import ServiceError
from experts.pocket import DOMAINS, PocketQuestion, generate, grade

CONCURRENCY = 32
SINGLE_MODELS = ("base", "generalist", *DOMAINS)
"""Every pocket expert that answers questions on its own; the fuser only reads others' answers."""
MAX_TOKENS = 256


class NotAnswered(ServiceError):
    """The gateway answered a question with an error."""


@dataclass(frozen=True, slots=True)
class Marked:
    """One question put to one model, and how it went. `domain` is the router's, empty when a model was named."""

    question: PocketQuestion
    model: str
    text: str
    right: bool
    seconds: float
    experts: str
    domain: str
    confidence: float
    fusion: str


def questions(count_per_domain: int, seed: int) -> list[PocketQuestion]:
    """Return held-out questions of every domain, so many of each."""
    return [question for domain in DOMAINS for question in generate(domain, "heldout", count_per_domain, seed)]


async def put(
    client: httpx.AsyncClient, url: str, model: str, question: PocketQuestion, routing: dict[str, Any] | None = None
) -> Marked:
    """Ask one question and mark the answer.

    Raises:
        NotAnswered: the gateway answered with an error.
    """
    messages = [{"role": "user", "content": question.prompt}]
    asked = {"model": model, "messages": messages, "temperature": 0, "max_tokens": MAX_TOKENS, "routing": routing or {}}
    begun = time.monotonic()
    response = await client.post(f"{url}/v1/chat/completions", content=orjson.dumps(asked), timeout=300)
    seconds = time.monotonic() - begun
    body = orjson.loads(response.content)
    if response.status_code != 200:
        raise NotAnswered(f"{model} did not answer {question.prompt!r}: {body['error']['message']}")
    text = body["choices"][0]["message"]["content"] or ""
    right = await asyncio.to_thread(grade, question, text)
    headers = response.headers
    return Marked(
        question=question,
        model=model,
        text=text,
        right=right,
        seconds=seconds,
        experts=headers.get("x-consilium-experts", ""),
        domain=headers.get("x-consilium-domains", "").partition("=")[0],
        confidence=float(headers.get("x-consilium-confidence", "0")),
        fusion=body.get("fusion", {}).get("strategy", "none"),
    )


async def examine(client: httpx.AsyncClient, url: str, model: str, paper: Iterable[PocketQuestion]) -> list[Marked]:
    """Put every question to one model, many at a time, and return the marks in the questions' order."""
    places = asyncio.Semaphore(CONCURRENCY)

    async def one(question: PocketQuestion) -> Marked:
        async with places:
            return await put(client, url, model, question)

    return await asyncio.gather(*(one(question) for question in paper))


def accuracy(marks: Sequence[Marked]) -> float:
    """Return the share answered rightly."""
    return sum(mark.right for mark in marks) / len(marks)


def by_domain(marks: Sequence[Marked]) -> dict[str, float]:
    """Return the accuracy in each domain."""
    return {d: accuracy([mark for mark in marks if mark.question.domain == d]) for d in DOMAINS}


def routed_rightly(marks: Sequence[Marked]) -> float:
    """Return the share whose domain the router named rightly."""
    return sum(mark.domain == mark.question.domain for mark in marks) / len(marks)
