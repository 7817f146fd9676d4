"""Draw questions: any number, of one domain and split, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from experts.pocket.question import PocketQuestion, Split, ask
from experts.pocket.tasks import TASKS

DOMAINS: tuple[str, ...] = ("math", "code", "science", "geography", "language")

PATIENCE = 2000
"""Draws in a row that may repeat earlier prompts before the domain counts as exhausted."""


def generate(domain: str, split: Split, count: int, seed: int) -> list[PocketQuestion]:
    """Return `count` questions with distinct prompts; raise ValueError when the domain does not hold that many."""
    found: dict[str, PocketQuestion] = {}
    repeats = 0
    for question in stream(domain, split, seed):
        if len(found) == count:
            break
        repeats = repeats + 1 if question.prompt in found else 0
        if repeats > PATIENCE:
            raise ValueError(f"{domain}/{split} holds only about {len(found)} questions, {count} were asked for")
        found.setdefault(question.prompt, question)
    return list(found.values())


def stream(domain: str, split: Split, seed: int) -> Iterator[PocketQuestion]:
    """Yield questions without end, repeats included."""
    if domain not in TASKS:
        raise ValueError(f"unknown domain {domain!r}, expected one of {', '.join(DOMAINS)}")
    tasks = TASKS[domain]
    shares = [task.share for task in tasks]
    random = Random(f"{domain}/{split}/{seed}")
    while True:
        yield ask(domain, random.choices(tasks, shares)[0], split, random)
