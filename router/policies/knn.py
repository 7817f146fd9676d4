"""Ask the expert that did best on the most similar questions (a k-nearest-neighbour router, as in 2505.12601)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from router.policies.lesson import Lesson, Reading
from router.policies.smoothing import Floats, neighbours

COUNTS = (50, 100, 200, 400)


class NearestNeighbours:
    """Mean score over the nearest training questions, by cosine.

    Args:
        counts: numbers of neighbours to choose from, by squared error of the comparison between experts.
    """

    def __init__(self, counts: Sequence[int] = COUNTS) -> None:
        self.counts = tuple(counts)

    def fit(self, lesson: Lesson) -> Self:
        """Keep the questions, choose how many neighbours to ask."""
        self.vectors_ = lesson.reading.features.vectors
        self.scores_ = lesson.scores.astype(np.float32)
        usable = [count for count in self.counts if count <= len(lesson) // 4] or [max(1, len(lesson) // 4)]
        self.count_ = usable[0]
        if len(usable) > 1:
            found = {count: self._crossed(lesson, count) for count in usable}
            self.count_ = min(found, key=lambda count: comparison_error(found[count], lesson.scores))
        return self

    def estimate(self, reading: Reading) -> Floats:
        """Return the neighbours' mean score of each expert."""
        return self._mean(neighbours(reading.features.vectors, self.vectors_, self.count_))

    def cross_estimate(self, lesson: Lesson) -> Floats:
        """Return the mean over neighbours of other folds."""
        return self._crossed(lesson, self.count_)

    def _crossed(self, lesson: Lesson, count: int) -> Floats:
        vectors = lesson.reading.features.vectors
        return self._mean(neighbours(vectors, vectors, count, apart=(lesson.folds, lesson.folds)))

    def _mean(self, places: NDArray[np.intp]) -> Floats:
        return np.stack([self.scores_[row].mean(axis=0) for row in places]).astype(np.float64)


def comparison_error(estimates: Floats, scores: Floats) -> float:
    """Return the mean squared error of each expert's lead over the mean of all, which is what choosing rests on."""
    lead = scores - scores.mean(axis=1, keepdims=True)
    guessed = estimates - estimates.mean(axis=1, keepdims=True)
    return float(((lead - guessed) ** 2).mean())
