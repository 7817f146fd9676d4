"""Ask the owner of the pilot embeddings that a question is nearest to (RouterRetriever, 2409.02685).

An expert's pilots are the centroids of the questions it answered better than its peers, one for each category it is
comparatively good at. Adding or removing an expert adds or removes its pilots; nothing is trained.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from router.policies.lesson import Lesson, Reading
from router.policies.smoothing import Floats, squashed

LEAST = 3
SLOPE = 1.0


class Pilots:
    """Similarity to an expert's nearest pilot, on the scale of its mean score.

    Args:
        slope: probability gained by a cosine higher by 1 than that of the average expert.
    """

    def __init__(self, slope: float = SLOPE) -> None:
        self.slope = slope

    def fit(self, lesson: Lesson) -> Self:
        """Place the pilots: `pilots_` of shape [p, d] and whose they are, `owners_` of shape [p]."""
        self.pilots_, self.owners_ = self._placed(lesson, np.ones(len(lesson), dtype=bool))
        self.means_ = lesson.scores.mean(axis=0)
        return self

    def estimate(self, reading: Reading) -> Floats:
        """Return the mean score plus what being nearer than the others is worth, 0..1."""
        return self._estimated(reading.features.vectors, self.pilots_, self.owners_, self.means_)

    def cross_estimate(self, lesson: Lesson) -> Floats:
        """Return the estimates by pilots of other folds."""
        found = np.empty_like(lesson.scores)
        for fold in np.unique(lesson.folds):
            out = np.asarray(lesson.folds == fold)
            pilots, owners = self._placed(lesson, ~out)
            means = lesson.scores[~out].mean(axis=0)
            found[out] = self._estimated(lesson.reading.features.vectors[out], pilots, owners, means)
        return found

    def _placed(self, lesson: Lesson, rows: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return a pilot for every category and expert that is comparatively good at it.

        It is the centroid of the questions the expert answered better than the others' mean, weighed by how much.
        """
        vectors, scores = lesson.reading.features.vectors[rows], lesson.scores[rows]
        lead = scores - scores.mean(axis=1, keepdims=True)
        pilots, owners = [], []
        for label in lesson.labels[rows].T.astype(bool):
            good = lead[label].mean(axis=0) > lead.mean(axis=0) if label.any() else np.zeros(lead.shape[1], dtype=bool)
            for expert in np.flatnonzero(good):
                weights = np.where(label, np.maximum(lead[:, expert], 0.0), 0.0)
                if (weights > 0).sum() >= LEAST:
                    center = weights @ vectors
                    pilots.append(center / np.linalg.norm(center))
                    owners.append(expert)
        shape = (len(pilots), vectors.shape[1])
        return np.array(pilots, dtype=np.float32).reshape(shape), np.array(owners, dtype=np.int64)

    def _estimated(
        self,
        vectors: NDArray[np.float32],
        pilots: NDArray[np.float32],
        owners: NDArray[np.int64],
        means: Floats,
    ) -> Floats:
        nearest = np.full((len(vectors), len(means)), np.nan)
        similar = vectors @ pilots.T
        for expert in np.unique(owners):
            nearest[:, expert] = similar[:, owners == expert].max(axis=1)
        middle = np.nanmean(nearest, axis=1, keepdims=True) if len(owners) else 0.0
        lead = np.where(np.isnan(nearest), 0.0, nearest - middle)
        return squashed(means + self.slope * lead)
