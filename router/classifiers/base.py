"""What a classifier promises, and the part of it that most of them share.

Classifier            Query -> DomainScores, async, may be slow
  EmbeddingClassifier encode the conversation's turns, ask a head about each, add the evidence up
    Head              texts and their vectors -> Judgement: fitted (blend) or by examples (centroid)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from experts.types import Domain
from router.conversation import accumulate, blended, read_turns, recent
from router.encoder import TextEncoder, Vectors
from router.types import DomainScores, Query


class Classifier(Protocol):
    """Says which domains a query is about. Masking experts never changes what it says."""

    @property
    def name(self) -> str:
        """Its key in CLASSIFIERS."""

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The labels it knows."""

    async def classify(self, query: Query) -> DomainScores:
        """Return one calibrated probability per domain.

        Raises:
            ClassifierUnavailable: it broke; routing falls back.
        """


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a head says about n texts.

    Args:
        probabilities: shape [n, domains]; rows sum to 1.
        familiarity: shape [n], 0..1: how much each text looks like anything the head has seen.
    """

    probabilities: NDArray[np.float64]
    familiarity: NDArray[np.float64]


class Head(Protocol):
    """Says which domains texts belong to, row by row."""

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The columns of the probabilities."""

    def judge(self, vectors: Vectors, texts: Sequence[str]) -> Judgement:
        """Return the judgement of texts and their unit vectors, in order."""


@dataclass(slots=True)
class _Round:
    """What is judged in one go, and the task that does it."""

    vectors: list[Vectors] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    task: asyncio.Task[Judgement] | None = None


class Together:
    """Judges in one go what is asked for at the same moment, as the texts of an encoder's batch are: reading the
    memory once for eight texts takes little more than for one. Belongs to one event loop.

    Args:
        head: what judges.
        most: how many askers share a round at most.
    """

    def __init__(self, head: Head, *, most: int = 16) -> None:
        self._head = head
        self._most = most
        self._next: _Round | None = None

    async def judge(self, vectors: Vectors, texts: Sequence[str]) -> Judgement:
        """Return what the head says; whatever it raises, everybody hears whose texts were judged along."""
        if (shared := self._next) is None or len(shared.vectors) >= self._most:
            self._next = shared = _Round()
        if shared.task is None:  # it starts when all who are ready now have asked
            shared.task = asyncio.create_task(self._judged(shared), name="judge")
        begun = len(shared.texts)
        shared.vectors.append(vectors)
        shared.texts.extend(texts)
        found = await asyncio.shield(shared.task)
        rows = slice(begun, begun + len(texts))
        return Judgement(found.probabilities[rows], found.familiarity[rows])

    async def _judged(self, shared: _Round) -> Judgement:
        if self._next is shared:
            self._next = None
        return self._head.judge(np.concatenate(shared.vectors), shared.texts)


class EmbeddingClassifier:
    """Encodes every turn of a conversation (earlier ones come from the cache) and accumulates what they say.

    Args:
        name: its key in CLASSIFIERS.
        encoder: shared with others; not closed here.
        head: what reads the vectors.
        forgetting: chance that the topic changes between two turns.
    """

    def __init__(self, name: str, encoder: TextEncoder, head: Head, *, forgetting: float) -> None:
        self.name = name
        self.head = head
        self._together = Together(head)
        self._encoder = encoder
        self._forgetting = forgetting

    @property
    def domains(self) -> tuple[Domain, ...]:
        return self.head.domains

    async def classify(self, query: Query) -> DomainScores:
        """Return the topic's distribution; uniform and unfamiliar when nothing in the query is text."""
        turns = read_turns(query.messages)
        if not turns or not self.domains:
            return DomainScores({domain: 1 / len(self.domains) for domain in self.domains}, 0.0)
        begun = time.perf_counter()
        texts = [turn.text for turn in turns]
        vectors = await self._encoder.encode(texts)
        encoded = time.perf_counter()
        weights = [turn.weight for turn in turns]
        found = await self._together.judge(vectors, texts)
        belief = accumulate(found.probabilities, weights, self._forgetting)
        familiarity = recent(found.familiarity, weights)
        return DomainScores(
            scores=_named(self.domains, belief),
            familiarity=min(1.0, max(0.0, familiarity)),
            encode_ms=1000 * (encoded - begun),
            classify_ms=1000 * (time.perf_counter() - encoded),
            vector=blended(vectors, weights),
        )


def _named(domains: Sequence[Domain], values: Sequence[float] | NDArray[np.float64]) -> Mapping[Domain, float]:
    return {domain: float(value) for domain, value in zip(domains, values, strict=True)}
