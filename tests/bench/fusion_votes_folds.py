"""What the router estimates of each expert on every question of a pool, while the question's fold was held out.

Estimates of `auto` and `predictive` as the router fits them. How questions are read and to which category they belong
is learned once for all pools with the same questions, because it depends on no expert.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from router.evaluation.runs import Floats
from router.features import Features
from router.policies.auto import Stacked
from router.policies.fitted import Basis
from router.policies.lesson import Lesson, Reading, by_turns
from router.policies.predictive import Linear
from tests.bench.routing import FeatureStore
from tests.bench.routing_folds import folds
from tests.bench.routing_tables import Pool

ESTIMATORS = {"auto": Stacked, "predictive": Linear}


@dataclass(frozen=True, slots=True)
class FoldEstimates:
    """One fold.

    Args:
        fitting: places of the questions that everything is fitted on.
        test: places of the others.
        estimates: policy -> (n_test, m).
        posterior: (n_test, categories) as read off the questions.
        categories: their names.
    """

    fitting: NDArray[np.intp]
    test: NDArray[np.intp]
    estimates: dict[str, Floats]
    posterior: Floats
    categories: tuple[str, ...]


class Readings:
    """Designs and categories, fitted once for each part of each table."""

    def __init__(self) -> None:
        self._features = FeatureStore()
        self._known: dict[tuple[str, ...], tuple[Basis, Lesson]] = {}
        self._kept: list[Any] = []

    def features(self, pool: Pool) -> Features:
        """Return the features of a pool's questions."""
        return self._features.of(pool)

    def lesson(self, part: Pool) -> tuple[Basis, Lesson]:
        """Return how the part's questions are read, and the lesson that its outcomes are."""
        outcomes = part.outcomes
        if outcomes.ids not in self._known:
            basis, turns = Basis(), by_turns(outcomes.stems)
            lesson = basis.fit(self.features(part), outcomes.scores, outcomes.categories, turns)
            self._known[outcomes.ids] = basis, lesson
        basis, lesson = self._known[outcomes.ids]
        self._kept.append(outcomes.scores)  # the normal equations know targets by their identity, so none may be freed
        return basis, replace(lesson, scores=outcomes.scores)


def fold_estimates(pool: Pool, readings: Readings, seed: int) -> Iterator[FoldEstimates]:
    """Yield each fold's estimates; folds never split a question from its twin."""
    with threadpool_limits(1):
        for test in folds(pool.outcomes.stems, seed=seed):
            basis, lesson = readings.lesson(pool.where(~test))
            reading: Reading = basis.read(readings.features(pool.where(test)))
            yield FoldEstimates(
                np.flatnonzero(~test),
                np.flatnonzero(test),
                {name: kind().fit(lesson).estimate(reading) for name, kind in ESTIMATORS.items()},
                reading.posterior,
                tuple(basis.categories.names_),
            )
