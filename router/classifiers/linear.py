"""A fitted head: calibrated multinomial logistic regression on sentence embeddings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from experts.types import Domain
from router.encoder import Vectors

FAMILIARITY_EDGES = (0.002, 0.5)
"""Shares of the training texts that are farther away than what counts as strange (0) and as familiar (1)."""


class LinearHead:
    """Multinomial logistic regression, its temperature fitted on texts it was not trained on.

    Probabilities are softmax((x W + b) / T) with the T that minimises the log loss on `calibration` (Guo et
    al. 2017, 1706.04599, equation 9). Familiarity compares a text with the nearest of the training texts'
    cluster centres: 0 when it is farther away than nearly all of those texts were, 1 when it is as close as
    the median one.

    Args:
        C: inverse strength of the L2 penalty.
        balanced: weight domains alike, and within a domain its sources, however many texts each has: a
            thousand exam questions must not drown thirty short ones that people really type.
        anchors: how many cluster centres are kept.
        seed: of the clustering.
    """

    def __init__(self, *, C: float = 3.0, balanced: bool = True, anchors: int = 128, seed: int = 0) -> None:  # noqa: N803
        self.C = C
        self.balanced = balanced
        self.anchors = anchors
        self.seed = seed

    @property
    def domains(self) -> tuple[Domain, ...]:
        return self._fitted().classes_

    def fit(
        self,
        vectors: Vectors,
        labels: Sequence[Domain],
        *,
        sources: Sequence[str] | None = None,
        calibration: tuple[Vectors, Sequence[Domain]] | None = None,
    ) -> Self:
        """Fit on unit vectors, shape [n, dimension]; without `calibration` the temperature stays 1."""
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        weights = balance(labels, sources) if self.balanced else None
        with threadpool_limits(1):  # on a busy machine several BLAS threads wait for each other, 50 times slower
            model = LogisticRegression(C=self.C, max_iter=500, tol=1e-3)
            model.fit(vectors.astype(np.float64), list(labels), sample_weight=weights)
            self.anchors_ = self._cluster_centres(vectors)
        self.classes_ = tuple(str(name) for name in model.classes_)
        self.coef_, self.intercept_ = _one_row_a_class(model.coef_, model.intercept_)
        self.temperature_ = 1.0 if calibration is None else self._best_temperature(*calibration)
        closest = (vectors @ self.anchors_.T).max(axis=1)
        edges = np.quantile(closest, FAMILIARITY_EDGES)
        self.strange_, self.familiar_ = (float(edge) for edge in edges)
        return self

    def predict_proba(self, vectors: Vectors) -> NDArray[np.float64]:
        """Return calibrated probabilities, shape [n, domains]."""
        return _softmax(self.decision_function(vectors) / self._fitted().temperature_)

    def decision_function(self, vectors: Vectors) -> NDArray[np.float64]:
        """Return the logits before calibration, shape [n, domains]."""
        head = self._fitted()
        return np.asarray(vectors.astype(np.float64) @ head.coef_.T + head.intercept_)

    def familiarity(self, vectors: Vectors) -> NDArray[np.float64]:
        """Return how close each text is to what the head was fitted on, 0..1."""
        head = self._fitted()
        closest = (vectors @ head.anchors_.T).max(axis=1).astype(np.float64)
        return np.asarray(np.clip((closest - head.strange_) / (head.familiar_ - head.strange_), 0.0, 1.0))

    def _fitted(self) -> Self:
        if not hasattr(self, "classes_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("This LinearHead is not fitted yet; call fit, or load one from a folder.")
        return self

    def _best_temperature(self, vectors: Vectors, labels: Sequence[Domain]) -> float:
        """Return the temperature with the lowest log loss; texts of unknown labels do not count."""
        known = [index for index, label in enumerate(labels) if label in self.classes_]
        columns = [self.classes_.index(labels[index]) for index in known]
        logits = self.decision_function(vectors[known])
        grid = np.geomspace(0.1, 10.0, 200)
        losses = [-np.log(_softmax(logits / t)[range(len(known)), columns] + 1e-12).mean() for t in grid]
        return float(grid[int(np.argmin(losses))])

    def _cluster_centres(self, vectors: Vectors) -> Vectors:
        """Return unit vectors in the middle of the k-means clusters of the training texts."""
        from sklearn.cluster import KMeans

        distinct = np.unique(vectors, axis=0)
        if len(distinct) <= self.anchors:
            return np.asarray(distinct)
        centres = KMeans(self.anchors, n_init=1, random_state=self.seed).fit(distinct).cluster_centers_
        return np.asarray(centres / np.linalg.norm(centres, axis=1, keepdims=True), dtype=np.float32)


def balance(labels: Sequence[Domain], sources: Sequence[str] | None) -> NDArray[np.float64]:
    """Return a weight a text: domains weigh alike, sources alike within a domain, and the mean is 1."""
    pairs = list(zip(labels, sources or [""] * len(labels), strict=True))
    texts, kinds = Counter(pairs), Counter(domain for domain, _ in set(pairs))
    weights = np.array([1 / (texts[domain, source] * kinds[domain]) for domain, source in pairs])
    return np.asarray(weights / weights.mean())


def _one_row_a_class(
    coefficients: NDArray[np.float64], intercepts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights for a softmax; of two classes scikit-learn keeps only the difference."""
    if len(intercepts) > 1:
        return coefficients, intercepts
    half = np.array([-0.5, 0.5])
    return half[:, None] * coefficients, half * intercepts


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
