"""Linear smoothers of outcomes: ridge regression and nearest neighbours, for all experts at once.

The same weights over training questions serve every expert, so what makes a question hard for all of them drops out
of every comparison between two. That is why one penalty for all experts does better here than one each.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

from router.features import Features

Floats: TypeAlias = NDArray[np.float64]

WORDS_SCALE = 0.7
SHAPES_SCALE = 0.05
BLOCK = 2048
EDGE = 0.05
"""Where probabilities begin to bend toward 0 and 1."""


class Design:
    """Turns features into one matrix: vectors, hashed words, standardised shapes, and a constant."""

    def __init__(self, *, words: float = WORDS_SCALE, shapes: float = SHAPES_SCALE) -> None:
        self.words, self.shapes = words, shapes

    def fit(self, features: Features) -> Design:
        """Learn the shapes' means and spreads, and the mean of every column."""
        self.center_ = features.shapes.mean(axis=0)
        self.spread_ = features.shapes.std(axis=0) + 1e-6
        self.mean_ = np.concatenate([features.vectors.mean(axis=0), self.words * features.words.mean(axis=0)])
        return self

    def matrix(self, features: Features) -> NDArray[np.float32]:
        """Return shape [n, columns]; the last column is 1."""
        shapes = np.clip((features.shapes - self.center_) / self.spread_, -4, 4) * self.shapes
        wide = np.hstack([features.vectors, self.words * features.words]) - self.mean_
        return np.hstack([wide, shapes, np.ones((len(wide), 1))]).astype(np.float32)


class Normal:
    """The normal equations of a design, of all rows or without one fold of them."""

    def __init__(self, matrix: NDArray[np.float32], folds: NDArray[np.int64]) -> None:
        self.matrix, self.folds = matrix, folds
        parts = {int(fold): gram(matrix[folds == fold]) for fold in np.unique(folds)}
        self.gram = np.sum(list(parts.values()), axis=0)
        self._without = {fold: self.gram - part for fold, part in parts.items()}
        self._crossed: dict[tuple[int, float], Floats] = {}

    def solve(self, targets: Floats, penalty: float) -> Floats:
        """Return the coefficients of ridge regression, shape [columns, targets]; the constant is not penalised."""
        return solved(self.gram, self._product(targets, slice(None)), penalty)

    def cross_fitted(self, targets: Floats, penalty: float) -> Floats:
        """Return what ridge regression says of every row, learned without the row's fold; shape [n, targets].

        Kept for the same array of targets: several policies ask.
        """
        key = (id(targets), penalty)
        if key not in self._crossed:
            found = np.zeros(targets.shape)
            for fold, equations in self._without.items():
                out = self.folds == fold
                found[out] = self.matrix[out] @ solved(equations, self._product(targets, ~out), penalty)
            self._crossed[key] = found
        return self._crossed[key]

    def _product(self, targets: Floats, rows: NDArray[np.bool_] | slice) -> Floats:
        return np.asarray(self.matrix[rows].T @ targets[rows].astype(np.float32), dtype=np.float64)


def gram(matrix: NDArray[np.float32]) -> Floats:
    """Return matrix' @ matrix, in double precision block by block."""
    total = np.zeros((matrix.shape[1], matrix.shape[1]))
    for at in range(0, len(matrix), BLOCK):
        block = matrix[at : at + BLOCK]
        total += block.T @ block
    return total


def solved(gram_matrix: Floats, right: Floats, penalty: float) -> Floats:
    """Return (gram + penalty * I)^-1 right, with next to no penalty on the last, constant column."""
    ridge = np.full(len(gram_matrix), penalty)
    ridge[-1] = 1e-6
    return np.asarray(solve(gram_matrix + np.diag(ridge), right, assume_a="pos", overwrite_a=True))


def neighbours(
    vectors: NDArray[np.float32],
    known: NDArray[np.float32],
    count: int,
    *,
    apart: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> NDArray[np.intp]:
    """Return the places of the `count` most similar known vectors, shape [n, count], in no order.

    Args:
        apart: folds of the rows and of the known ones; nobody is a neighbour in the same fold.
    """
    count = min(count, known.shape[0])
    found = np.empty((len(vectors), count), dtype=np.intp)
    for at in range(0, len(vectors), BLOCK):
        rows = slice(at, at + BLOCK)
        similar = vectors[rows] @ known.T
        if apart is not None:
            similar[apart[0][rows, None] == apart[1][None, :]] = -2.0
        found[rows] = np.argpartition(-similar, count - 1, axis=1)[:, :count]
    return found


def table(posterior: Floats, scores: Floats, shrinkage: float) -> Floats:
    """Return the mean score of each expert by label, shape [labels, m], shrunk toward the expert's mean.

    (sum of right + shrinkage * mean) / (count + shrinkage), the labels' shares as counts: posterior is [n, labels].
    """
    means = scores.mean(axis=0)
    counts = posterior.sum(axis=0)[:, None]
    return np.asarray((posterior.T @ scores + shrinkage * means) / (counts + shrinkage))


def squashed(values: Floats) -> Floats:
    """Return values within 0..1, those near or beyond the ends bent so that their order stays."""
    high = 1 - EDGE * np.exp(-(np.maximum(values, 1 - EDGE) - (1 - EDGE)) / EDGE)
    low = EDGE * np.exp((np.minimum(values, EDGE) - EDGE) / EDGE)
    return np.asarray(np.where(values > 1 - EDGE, high, np.where(values < EDGE, low, values)))


def softmax(logits: Floats) -> Floats:
    """Return probabilities, a row each."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
