"""Remembered texts: who is near, what were they about, and how near is near.

Vectors are projected on their main directions and kept as bytes; 15,000 of them take 1.4 MB, and asking takes a
quarter of a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from router.encoder import Vectors

DIRECTIONS = 96
ROWS = 15_000
NEIGHBOURS = 30
CLOSEST = 5
SOFTNESS = 0.05
"""Cosines this much apart differ by a factor e in their votes."""
GROUP = 100
"""Values of which only the highest is compared at first."""
SCALE = 254.0
"""Coordinates of unit vectors in 96 dimensions rarely exceed a half; beyond it they are cut off."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What the memory says: votes for each class, shape [n, classes], rows summing to 1; and how close the closest
    texts that belong to a domain are, the mean cosine of five, shape [n]."""

    votes: NDArray[np.float64]
    closeness: NDArray[np.float64]


class Memory:
    """k nearest neighbours with votes that fade with distance.

    Args:
        projection: shape [dimension, directions].
        rows: shape [texts, directions], unit vectors times `SCALE`, as bytes.
        labels: the class of each row; `elsewhere` marks texts that belong to no domain.
        classes: how many classes there are.
    """

    def __init__(
        self,
        projection: NDArray[np.float32],
        rows: NDArray[np.int8],
        labels: NDArray[np.intp],
        *,
        classes: int,
        elsewhere: int | None = None,
    ) -> None:
        self.projection = projection
        self.rows = rows
        self.labels = labels
        self._classes = classes
        self._columns = np.ascontiguousarray((rows.astype(np.float32) / SCALE).T)
        self._known = labels != elsewhere

    @classmethod
    def fit(cls, vectors: Vectors, labels: NDArray[np.intp], *, classes: int, elsewhere: int | None = None) -> Self:
        """Remember unit vectors, shape [n, dimension]; of more than `ROWS` an even sample is kept."""
        kept = np.random.default_rng(0).permutation(len(vectors))[:ROWS]
        projection = _main_directions(vectors)
        rows = np.clip(np.round(_project(vectors[kept], projection) * SCALE), -127, 127).astype(np.int8)
        return cls(projection, rows, labels[kept], classes=classes, elsewhere=elsewhere)

    def ask(self, vectors: Vectors) -> Neighbours:
        """Return votes and closeness of unit vectors, shape [n, dimension]."""
        cosines = _project(vectors, self.projection) @ self._columns
        count = min(NEIGHBOURS, cosines.shape[1])
        nearest = np.array([highest(row, count) for row in cosines], dtype=np.intp).reshape(-1, count)
        near = np.take_along_axis(cosines, nearest, axis=1).astype(np.float64)
        votes = np.full((len(vectors), self._classes), 1e-3)
        strength = np.exp((near - near.max(axis=1, keepdims=True)) / SOFTNESS)
        np.add.at(votes, (np.arange(len(vectors))[:, None], self.labels[nearest]), strength)
        known = np.where(self._known[nearest], near, 0.0)
        closest = -np.sort(-known, axis=1)[:, :CLOSEST]
        return Neighbours(votes / votes.sum(axis=1, keepdims=True), closest.mean(axis=1))


def highest(values: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Return the places of the `count` highest values, in no order.

    None of them is below the `count`-th highest of the values' groups' maxima, which leaves few to be partitioned: a
    fifth of the time that all of twelve thousand would take.
    """
    rest = len(values) % GROUP
    tops = values[: len(values) - rest].reshape(-1, GROUP).max(axis=1)
    found = np.arange(len(values))
    if len(tops) > count:
        found = np.flatnonzero(values >= np.partition(tops, len(tops) - count)[len(tops) - count])
    least = len(found) - count
    return np.asarray(found[np.argpartition(values[found], least)[least:]], dtype=np.intp)


def _main_directions(vectors: Vectors) -> NDArray[np.float32]:
    """Return the directions in which the vectors spread most, shape [dimension, directions]."""
    _, directions = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    return np.asarray(directions[:, ::-1][:, :DIRECTIONS], dtype=np.float16).astype(np.float32)


def _project(vectors: Vectors, projection: NDArray[np.float32]) -> NDArray[np.float32]:
    short = vectors @ projection
    return np.asarray(short / np.maximum(np.linalg.norm(short, axis=1, keepdims=True), 1e-9), dtype=np.float32)
