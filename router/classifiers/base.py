"""What a classifier promises, and the part of it that most of them share.

Classifier            Query -> DomainScores, async, may be slow
  EmbeddingClassifier encode the conversation's turns, ask a head about each, add the evidence up
    Head              texts and their vectors -> Judgement: fitted (blend) or by examples (centroid)
"""

from __future__ import annotations

import time
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
        found = self.head.judge(vectors, texts)
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
