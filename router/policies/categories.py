"""Which category a question belongs to: learned from the table's labels, or found by clustering where it has none."""

from __future__ import annotations

import warnings
from typing import Self

import numpy as np
from numpy.typing import NDArray

from router.policies.smoothing import Floats, Normal, softmax

STRENGTH = 10.0
"""Inverse penalty of the regression."""
ROUNDS = 100
SHARPNESS = (0.5, 0.7, 0.85, 1.0, 1.2)
FOUND = 16
LEAST_LABELS = 2
UNLABELLED = "unlabelled"


class Categories:
    """Multinomial logistic regression on the design; its temperature is chosen on questions it was not fitted on."""

    def fit(self, normal: Normal, labels: NDArray[np.str_]) -> Self:
        """Learn the labels, shape [n]; `posterior` is then the cross-fitted probability of each, shape [n, names]."""
        names, places = np.unique(labels, return_inverse=True)
        self.names_ = [str(name) for name in names]
        self.targets = np.eye(len(names))[places]
        logits = np.zeros_like(self.targets)
        for fold in np.unique(normal.folds):
            out = normal.folds == fold
            logits[out] = normal.matrix[out] @ _regression(normal.matrix[~out], places[~out], len(names))
        self.sharpness_ = max(SHARPNESS, key=lambda sharpness: _likelihood(softmax(sharpness * logits), self.targets))
        self.posterior = softmax(self.sharpness_ * logits)
        self.accuracy_ = float((logits.argmax(axis=1) == places).mean())
        self.coef_ = _regression(normal.matrix, places, len(names)).astype(np.float32)
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


def _regression(matrix: NDArray[np.float32], places: NDArray[np.intp], count: int) -> Floats:
    """Return coefficients of shape [columns, count]; the last row is the constant. A label never seen is unlikely."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(places)
    found = np.zeros((matrix.shape[1], count))
    found[-1] = -20.0
    found[-1, seen] = 0.0
    if len(seen) < LEAST_LABELS:
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is part of the penalty
        model = LogisticRegression(C=STRENGTH, max_iter=ROUNDS).fit(matrix[:, :-1], places)
    slopes, constants = model.coef_, model.intercept_
    if len(seen) == LEAST_LABELS:
        slopes, constants = np.vstack([-slopes / 2, slopes / 2]), np.concatenate([-constants / 2, constants / 2])
    found[:-1, seen], found[-1, seen] = slopes.T, constants
    return found


def _likelihood(probabilities: Floats, targets: Floats) -> float:
    return float(np.log(np.clip((probabilities * targets).sum(axis=1), 1e-9, None)).mean())
