"""Multinomial logistic regression on a text's embedding and its hashed words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from experts.types import Domain
from router.classifiers.lexical import word_matrix, word_scores
from router.encoder import Vectors


class LinearHead:
    """softmax(x W + h V + b), x the unit vector of a text, h its hashed words (`router.classifiers.lexical`).

    Args:
        C: inverse strength of the L2 penalty.
        words: how much larger hashed words count than the embedding; 0 leaves them out.
        balance: 1 weighs domains alike, and within a domain its sources, however many texts each has: a thousand
            exam questions must not drown thirty short ones that people really type. 0 weighs every text alike;
            between them the weights are taken to that power.
    """

    def __init__(self, *, C: float = 1.0, words: float = 2.0, balance: float = 1.0) -> None:  # noqa: N803
        self.C = C
        self.words = words
        self.balance = balance

    def fit(
        self, vectors: Vectors, texts: Sequence[str], labels: Sequence[Domain], sources: Sequence[str] | None = None
    ) -> Self:
        """Fit on unit vectors, shape [n, dimension], and the texts they stand for."""
        from scipy.sparse import csr_matrix, hstack
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        features = hstack([csr_matrix(vectors, dtype=np.float64), self.words * word_matrix(texts)]).tocsr()
        weights = balanced(labels, sources) ** self.balance
        with threadpool_limits(1):  # on a busy machine several BLAS threads wait for each other, 50 times slower
            model = LogisticRegression(C=self.C, max_iter=300, tol=1e-3)
            model.fit(features, list(labels), sample_weight=weights)
        coefficients, intercepts = _one_row_a_class(model.coef_, model.intercept_)
        self.classes_ = tuple(str(name) for name in model.classes_)
        self.coef_ = np.asarray(coefficients[:, : vectors.shape[1]], dtype=np.float32)
        self.words_ = np.asarray(self.words * coefficients[:, vectors.shape[1] :].T, dtype=np.float16)
        self.intercept_ = np.asarray(intercepts, dtype=np.float32)
        return self

    def predict_proba(self, vectors: Vectors, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return probabilities, shape [n, classes]."""
        if not hasattr(self, "classes_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("This LinearHead is not fitted yet; call fit, or load one from a folder.")
        logits = vectors @ self.coef_.T + self.intercept_ + word_scores(texts, self._loose_words())
        return softmax(logits.astype(np.float64))

    def _loose_words(self) -> NDArray[np.float32]:
        """Return the words' coefficients in a type that is quick to add, converted once."""
        if not hasattr(self, "_words32"):
            self._words32 = self.words_.astype(np.float32)
        return self._words32


def balanced(labels: Sequence[Domain], sources: Sequence[str] | None) -> NDArray[np.float64]:
    """Return a weight a text: domains weigh alike, sources alike within a domain, and the mean is 1."""
    pairs = list(zip(labels, sources or [""] * len(labels), strict=True))
    texts, kinds = Counter(pairs), Counter(domain for domain, _ in set(pairs))
    weights = np.array([1 / (texts[domain, source] * kinds[domain]) for domain, source in pairs])
    return np.asarray(weights / weights.mean())


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities, row by row."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _one_row_a_class(
    coefficients: NDArray[np.float64], intercepts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights for a softmax; of two classes scikit-learn keeps only the difference."""
    if len(intercepts) > 1:
        return coefficients, intercepts
    half = np.array([-0.5, 0.5])
    return half[:, None] * coefficients, half * intercepts
