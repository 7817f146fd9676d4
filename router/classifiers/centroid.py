"""Domains known by examples alone: nothing is trained, so any label set works at once and can change live.

A domain's score blends its nearest examples with its centroid (nearest-prototype classification as in
Snell et al. 2017, 1703.05175, equation 2, on frozen sentence embeddings); a softmax makes it a probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from experts.profile import SkillProfile
from experts.types import Domain, ExpertName
from router.classifiers.base import Judgement
from router.encoder import TextEncoder, Vectors
from router.taxonomy import Taxonomy


class CentroidHead:
    """Nearest examples and centroid of each domain.

    Args:
        vectors: unit vectors of each domain's examples, at least one.
        nearest_weight: share of the nearest examples in the blend; the rest is the centroid's.
        neighbours: how many nearest examples are averaged.
        temperature: of the softmax over blended cosines; smaller is surer.
        strange, familiar: nearest cosines that mean a familiarity of 0 and of 1.
    """

    def __init__(
        self,
        vectors: Mapping[Domain, Vectors],
        *,
        nearest_weight: float = 0.7,
        neighbours: int = 3,
        temperature: float = 0.03,
        strange: float = 0.1,
        familiar: float = 0.3,
    ) -> None:
        self.domains = tuple(vectors)
        self._examples = vectors
        self._nearest_weight = nearest_weight
        self._neighbours = neighbours
        self._temperature = temperature
        self._strange = strange
        self._familiar = familiar
        means = [rows.mean(axis=0) for rows in vectors.values()]
        self._centroids = np.array([mean / (np.linalg.norm(mean) or 1.0) for mean in means])

    def judge(self, vectors: Vectors, texts: Sequence[str]) -> Judgement:
        """Return a softmax over each domain's blended cosine, and how close the closest example is."""
        return Judgement(self._probabilities(vectors), self._familiarity(vectors))

    def _probabilities(self, vectors: Vectors) -> NDArray[np.float64]:
        nearest = np.stack([self._nearest(vectors, domain) for domain in self.domains], axis=1)
        blend = self._nearest_weight * nearest + (1 - self._nearest_weight) * vectors @ self._centroids.T
        logits = (blend - blend.max(axis=1, keepdims=True)).astype(np.float64) / self._temperature
        odds = np.exp(logits)
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def _familiarity(self, vectors: Vectors) -> NDArray[np.float64]:
        """Return how close the closest example of any domain is, stretched to 0..1."""
        closest = np.max([(vectors @ rows.T).max(axis=1) for rows in self._examples.values()], axis=0)
        span = self._familiar - self._strange
        return np.asarray(np.clip((closest.astype(np.float64) - self._strange) / span, 0.0, 1.0))

    def _nearest(self, vectors: Vectors, domain: Domain) -> NDArray[np.float32]:
        cosines = vectors @ self._examples[domain].T
        count = min(self._neighbours, cosines.shape[1])
        return np.asarray(np.sort(cosines, axis=1)[:, -count:].mean(axis=1))


async def fit_centroids(encoder: TextEncoder, examples: Mapping[Domain, Sequence[str]]) -> CentroidHead:
    """Encode the examples, known ones from the encoder's cache, and return the head."""
    vectors = {domain: await encoder.encode(list(texts)) for domain, texts in examples.items() if texts}
    return CentroidHead(vectors)


def domains_in_play(
    profiles: Sequence[SkillProfile], taxonomy: Taxonomy, default: ExpertName | None
) -> dict[Domain, tuple[str, ...]]:
    """Return each domain that some expert is for, with its example texts; a domain without any is left out.

    Experts' own examples and descriptions count for the domains they declare, or for a domain of the
    expert's own name when it declares none (a default expert that only describes itself is for everything,
    so its description counts for nothing).
    """
    labels = _disjoint_labels([name for profile in profiles for name in profile.domains], taxonomy)
    filed: dict[Domain, dict[str, None]] = {label: dict.fromkeys(taxonomy.examples(label)) for label in labels}
    for profile in profiles:
        texts = [*profile.examples, *([profile.description] if profile.description else [])]
        if not profile.domains and profile.expert == default and not profile.examples:
            continue
        for label in _labels_of(profile, labels, taxonomy):
            filed.setdefault(label, {}).update(dict.fromkeys(texts))
    return {label: tuple(texts) for label, texts in filed.items() if texts}


def _disjoint_labels(names: Sequence[str], taxonomy: Taxonomy) -> tuple[Domain, ...]:
    """Return the declared names once each; names whose domains overlap are replaced by those domains."""
    unique = list(dict.fromkeys(names))
    members = {name: set(taxonomy.expand([name])) for name in unique}
    apart = [all(members[a].isdisjoint(members[b]) for b in unique if b != a) for a in unique]
    kept = [[name] if alone else taxonomy.expand([name]) for name, alone in zip(unique, apart, strict=True)]
    return tuple(dict.fromkeys(label for group in kept for label in group))


def _labels_of(profile: SkillProfile, labels: Sequence[Domain], taxonomy: Taxonomy) -> tuple[Domain, ...]:
    if not profile.domains:
        return (profile.expert,)
    return tuple(
        dict.fromkeys(
            label for name in profile.domains for label in ([name] if name in labels else taxonomy.expand([name]))
        )
    )
