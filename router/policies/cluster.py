"""Ask the expert that did best on the question's clusters (Avengers-Pro, 2508.12631; UniRoute, 2502.08773)."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from router.policies.lesson import Lesson, Reading
from router.policies.smoothing import Floats, softmax, table

CLUSTERS = 32
NEAREST = 3
SHARPNESS = 9.0
SHRINKAGE = 20.0


class Clusters:
    """Mean score by cluster of the vectors; a question belongs to its nearest clusters, the nearer the more.

    Args:
        clusters: of k-means over the training questions.
        nearest: clusters that count for a question.
        sharpness: of the softmax over cosines that weighs them.
        shrinkage: questions at an expert's overall level that are added to each cluster.
    """

    def __init__(
        self,
        clusters: int = CLUSTERS,
        nearest: int = NEAREST,
        sharpness: float = SHARPNESS,
        shrinkage: float = SHRINKAGE,
    ) -> None:
        self.clusters, self.nearest, self.sharpness, self.shrinkage = clusters, nearest, sharpness, shrinkage

    def fit(self, lesson: Lesson) -> Self:
        """Find the clusters; learn each expert's mean score in each, shape [clusters, m]."""
        from sklearn.cluster import KMeans

        vectors = lesson.reading.features.vectors
        count = min(self.clusters, max(1, len(lesson) // 20))
        centers = KMeans(count, n_init=3, random_state=0).fit(vectors).cluster_centers_
        self.centers_ = (centers / np.linalg.norm(centers, axis=1, keepdims=True)).astype(np.float32)
        self.skill_ = table(self._membership(vectors), lesson.scores, self.shrinkage)
        return self

    def estimate(self, reading: Reading) -> Floats:
        """Return the skill in the nearest clusters, by their weight."""
        return np.asarray(self._membership(reading.features.vectors) @ self.skill_)

    def cross_estimate(self, lesson: Lesson) -> Floats:
        """Return the estimates of tables filled without the question's fold; clusters know no outcome."""
        share, found = self._membership(lesson.reading.features.vectors), np.empty_like(lesson.scores)
        for fold in np.unique(lesson.folds):
            out = lesson.folds == fold
            found[out] = share[out] @ table(share[~out], lesson.scores[~out], self.shrinkage)
        return found

    def _membership(self, vectors: NDArray[np.float32]) -> Floats:
        similar = (vectors @ self.centers_.T).astype(np.float64)
        nearest = min(self.nearest, similar.shape[1])
        bar = np.partition(similar, -nearest, axis=1)[:, -nearest][:, None]
        return softmax(np.where(similar >= bar, self.sharpness * similar, -np.inf))
