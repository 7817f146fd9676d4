"""Which category a question belongs to: learned from the table's labels, or found by clustering where it has none."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from router.policies.smoothing import Floats, Normal, softmax

PENALTY = 2.0
SHARPNESS = (4.0, 6.0, 8.0, 10.0, 14.0, 20.0)
FOUND = 16
LEAST_LABELS = 2
UNLABELLED = "unlabelled"


class Categories:
    """A linear classifier by least squares; its probabilities are sharpened to fit questions it was not fitted on."""

    def fit(self, normal: Normal, labels: NDArray[np.str_]) -> Self:
        """Learn the labels, shape [n]; `posterior` is then the cross-fitted probability of each, shape [n, names]."""
        self.names_ = sorted(set(labels.tolist()))
        self.targets = np.asarray(labels[:, None] == np.array(self.names_)[None, :], dtype=np.float64)
        raw = normal.cross_fitted(self.targets, PENALTY)
        self.sharpness_ = max(SHARPNESS, key=lambda sharpness: _likelihood(softmax(sharpness * raw), self.targets))
        self.posterior = softmax(self.sharpness_ * raw)
        self.accuracy_ = float((raw.argmax(axis=1) == self.targets.argmax(axis=1)).mean())
        self.coef_ = normal.solve(self.targets, PENALTY).astype(np.float32)
        return self

    def classify(self, matrix: NDArray[np.float32]) -> Floats:
        """Return the probability of each category, shape [n, names]."""
        return softmax(self.sharpness_ * (matrix @ self.coef_).astype(np.float64))


def labels_of(categories: NDArray[np.str_], vectors: NDArray[np.float32]) -> NDArray[np.str_]:
    """Return the questions' categories; clusters of their vectors where the table names fewer than two."""
    if len(set(categories.tolist()) - {""}) >= LEAST_LABELS:
        return np.where(categories == "", UNLABELLED, categories)
    from sklearn.cluster import KMeans

    count = min(FOUND, max(1, len(vectors) // 20))
    places = KMeans(count, n_init=3, random_state=0).fit_predict(vectors)
    return np.array([f"cluster {place}" for place in places])


def _likelihood(probabilities: Floats, targets: Floats) -> float:
    return float(np.log(np.clip((probabilities * targets).sum(axis=1), 1e-9, None)).mean())
