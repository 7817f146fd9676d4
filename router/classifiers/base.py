"""What a classifier promises, and the part of it that most of them share.

Classifier            Query -> DomainScores, async, may be slow
  EmbeddingClassifier encode the conversation's turns, ask a head about each, add the evidence up
    Head              texts and their vectors -> Judgement: fitted (blend) or by examples (centroid)
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


class Together:
    """Judges in one go what is asked for at the same moment, as the texts of an encoder's batch are: reading the
    memory once for eight texts takes little more than for one. Belongs to one event loop.

    Args:
        head: what judges.
        most: how many askers are answered before the event loop gets its turn.
    """

    def __init__(self, head: Head, *, most: int = 16) -> None:
        self._head = head
        self._most = most
        self._asked: deque[tuple[Vectors, Sequence[str], asyncio.Future[Judgement]]] = deque()

    async def judge(self, vectors: Vectors, texts: Sequence[str]) -> Judgement:
        """Return what the head says; whatever it raises, everybody hears whose texts were judged along."""
        loop = asyncio.get_running_loop()
        promise: asyncio.Future[Judgement] = loop.create_future()
        self._asked.append((vectors, texts, promise))
        if len(self._asked) == 1:
            loop.call_soon(self._answer)
        return await promise

    def _answer(self) -> None:
        share = [self._asked.popleft() for _ in range(min(self._most, len(self._asked)))]
        if self._asked:
            asyncio.get_running_loop().call_soon(self._answer)
        share = [(vectors, texts, promise) for vectors, texts, promise in share if not promise.done()]
        if not share:
            return
        try:
            vectors = np.concatenate([vectors for vectors, _, _ in share])
            found = self._head.judge(vectors, [text for _, texts, _ in share for text in texts])
        except Exception as error:  # noqa: BLE001  it is raised where each of them waits
            for *_, promise in share:
                promise.set_exception(error)
            return
        begun = 0
        for _, texts, promise in share:
            rows = slice(begun, begun := begun + len(texts))
            promise.set_result(Judgement(found.probabilities[rows], found.familiarity[rows]))


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
