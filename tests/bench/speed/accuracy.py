"""Ours against the peer on the same task with the same texts to learn from; both see the same encoder.

`own`      the 96 chat questions of sixteen domains; both know the taxonomy's examples, nothing else
`prompts`  labelled prompts of a file: the peer's routes hold every `train` prompt, ours is the shipped head
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from router import Router, RoutingConfig
from router.config import EncoderConfig
from router.conversation import window
from router.taxonomy import default_taxonomy
from router.training.evaluate import merged
from router.training.prompts import of_split, read_prompts
from tests.bench.speed.decisions import SPECIALISTS, asked
from tests.unit.router.chat_questions import QUESTIONS


@dataclass(frozen=True, slots=True)
class Task:
    """Texts and their labels, and what the peer learns from; `classifier` is ours."""

    name: str
    classifier: str
    routes: dict[str, list[str]]
    texts: list[str]
    labels: list[str]

    def share_right(self, chosen: Sequence[str | None]) -> float:
        """Return the accuracy of the labels chosen."""
        return float(np.mean([label == each for label, each in zip(self.labels, chosen, strict=True)]))


def own_task() -> Task:
    """Return the task that needs no data."""
    taxonomy = default_taxonomy()
    routes = {domain: list(taxonomy.examples(domain)) for domain in taxonomy.domains}
    pairs = [(text, domain) for domain, texts in QUESTIONS.items() for text in texts]
    return Task("chat questions", "centroid", routes, [text for text, _ in pairs], [label for _, label in pairs])


def prompt_tasks(path: Path, splits: Sequence[str], most: int) -> list[Task]:
    """Return a task for each split of labelled prompts, at most `most` of each, drawn with a fixed seed."""
    rows = read_prompts([path])
    routes: dict[str, list[str]] = {}
    for row in of_split(rows, "train"):
        routes.setdefault(row.domain, []).append(window(row.text))
    tasks = []
    for split in splits:
        known = of_split(rows, split)
        drawn = random.Random(0).sample(known, min(most, len(known)))
        texts, labels = [window(row.text) for row in drawn], [row.domain for row in drawn]
        tasks.append(Task(f"{path.name}: {split}", "linear", routes, texts, labels))
    return tasks


async def our_choices(task: Task) -> list[str]:
    """Return the labels that our classifier gives the task's texts."""
    config = RoutingConfig(classifier=task.classifier, default="generalist", budget_ms=60_000)
    async with await Router.create(config.model_copy(update={"encoder": EncoderConfig()}), SPECIALISTS) as router:
        scores = await asyncio.gather(*(router.classifier.classify(asked(text)) for text in task.texts))
        domains = router.classifier.domains
    odds = np.array([[each.scores[domain] for domain in domains] for each in scores])
    names, found = merged(domains, odds, sorted(task.routes))
    return [str(name) for name in names[found.argmax(axis=1)]]
