"""What a classifier promises, and the part of it that most of them share.

Classifier            Query -> DomainScores, async, may be slow
  EmbeddingClassifier encode the conversation's turns, ask a head about each, add the evidence up
    Head              vectors -> probabilities and familiarity: fitted (linear) or by examples (centroid)
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
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


class Head(Protocol):
    """Turns vectors of texts into probabilities, row by row."""

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The columns of `predict_proba`."""

    def predict_proba(self, vectors: Vectors) -> NDArray[np.float64]:
        """Return shape [n, domains]; rows sum to 1."""

    def familiarity(self, vectors: Vectors) -> NDArray[np.float64]:
        """Return shape [n], 0..1: how much each text looks like anything the head has seen."""


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
        vectors = await self._encoder.encode([turn.text for turn in turns])
        encoded = time.perf_counter()
        weights = [turn.weight for turn in turns]
        belief = accumulate(self.head.predict_proba(vectors), weights, self._forgetting)
        familiarity = recent(self.head.familiarity(vectors), weights)
        return DomainScores(
            scores=_named(self.domains, belief),
            familiarity=min(1.0, max(0.0, familiarity)),
            encode_ms=1000 * (encoded - begun),
            classify_ms=1000 * (time.perf_counter() - encoded),
            vector=blended(vectors, weights),
        )


def _named(domains: Sequence[Domain], values: Sequence[float] | NDArray[np.float64]) -> Mapping[Domain, float]:
    return {domain: float(value) for domain, value in zip(domains, values, strict=True)}
