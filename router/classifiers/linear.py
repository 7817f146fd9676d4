"""A fitted head: calibrated multinomial logistic regression on sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from experts.types import Domain
from router.encoder import Vectors


class LinearHead:
    """Multinomial logistic regression, its temperature fitted on texts it was not trained on.

    Probabilities are softmax((x W + b) / T) with the T that minimises the log loss on `calibration` (Guo et
    al. 2017, 1706.04599, equation 9). Familiarity compares a text with `anchors`, the cluster centres of the
    training texts: 0 when it is farther from all of them than nearly any training text, 1 when it is at
    least as close as the median one.

    Args:
        C: inverse strength of the L2 penalty.
        balanced: weight domains alike however many texts each has.
        anchors: how many cluster centres are kept.
        seed: of the clustering.
    """

    def __init__(self, *, C: float = 10.0, balanced: bool = True, anchors: int = 128, seed: int = 0) -> None:  # noqa: N803
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
        calibration: tuple[Vectors, Sequence[Domain]] | None = None,
    ) -> Self:
        """Fit on unit vectors, shape [n, dimension]; without `calibration` the temperature stays 1."""
        from sklearn.linear_model import LogisticRegression

        weight = "balanced" if self.balanced else None
        model = LogisticRegression(C=self.C, class_weight=weight, max_iter=2000).fit(vectors, list(labels))
        self.classes_ = tuple(str(name) for name in model.classes_)
        self.coef_, self.intercept_ = _one_row_a_class(model.coef_, model.intercept_)
        self.temperature_ = 1.0 if calibration is None else self._best_temperature(*calibration)
        self.anchors_ = self._cluster_centres(vectors)
        closest = (vectors @ self.anchors_.T).max(axis=1)
        self.strange_, self.familiar_ = (float(edge) for edge in np.quantile(closest, [0.01, 0.5]))
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

        count = min(self.anchors, len(vectors))
        centres = KMeans(count, n_init=1, random_state=self.seed).fit(vectors).cluster_centers_
        return np.asarray(centres / np.linalg.norm(centres, axis=1, keepdims=True), dtype=np.float32)


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
