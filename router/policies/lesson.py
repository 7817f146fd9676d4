"""What a policy learns from, and what every learned policy promises.

    Reading     n texts as estimators read them: features, their design matrix, the probability of each category
    Lesson      the reading of n questions, who of m experts was right, folds to learn on in turns
    Estimator   fit(lesson) -> self; estimate(reading) -> probability that each expert is right, shape [n, m]

An estimator estimates each expert on its own: its column depends on the questions and on that expert's outcomes, so
any subset of experts is the argmax over their columns (MoE², 2501.09410) and adding an expert changes no other's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from router.features import Features
from router.policies.smoothing import Floats, Normal

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """n texts, read.

    Args:
        features: vectors, words, shapes.
        matrix: shape [n, columns], the design of linear models; the last column is 1.
        posterior: shape [n, categories].
    """

    features: Features
    matrix: NDArray[np.float32]
    posterior: Floats

    def __len__(self) -> int:
        return len(self.matrix)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Outcomes to learn from.

    Args:
        reading: of the n questions; its posterior is cross-fitted, so that nobody learns from a label it was told.
        normal: the normal equations of the reading's matrix.
        scores: shape [n, m], 0..1, complete (`imputed`).
        labels: shape [n, categories], 1 at the true category.
        folds: shape [n]; duplicates of a question share a fold.
    """

    reading: Reading
    normal: Normal
    scores: Floats
    labels: Floats
    folds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


class Estimator(Protocol):
    """Learns from outcomes; keeps what it learned in attributes whose names end in `_`."""

    def fit(self, lesson: Lesson) -> Self:
        """Learn, and return self."""

    def estimate(self, reading: Reading) -> Floats:
        """Return the probability that each expert is right, shape [n, m]."""

    def cross_estimate(self, lesson: Lesson) -> Floats:
        """Return what it would say of every question had it learned without the question's fold."""


def imputed(scores: Floats) -> Floats:
    """Return outcomes without gaps: a gap is the expert's mean plus how the others did beyond theirs, within 0..1.

    An expert that nobody measured is taken to be as good as the average.
    """
    known = ~np.isnan(scores)
    if known.all():
        return scores
    counts = known.sum(axis=0)
    overall = float(scores[known].mean()) if known.any() else 0.5
    means = np.where(counts > 0, np.where(known, scores, 0.0).sum(axis=0) / np.maximum(counts, 1), overall)
    beyond = np.where(known, scores - means, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.asarray(np.where(known, scores, np.clip(means + beyond[:, None], 0.0, 1.0)))


def by_turns(stems: NDArray[np.int64], folds: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """Return a fold for every question, drawn by its stem."""
    known, place = np.unique(stems, return_inverse=True)
    random = np.random.default_rng(seed)
    return np.asarray(random.permutation(len(known)) % folds, dtype=np.int64)[place]


def learned(estimator: Any) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return what an estimator learned: arrays, and everything else as JSON can hold it."""
    found = {name: value for name, value in vars(estimator).items() if name.endswith("_")}
    arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    return arrays, {name: value for name, value in found.items() if name not in arrays}


def relearn(estimator: Any, arrays: Mapping[str, NDArray[Any]], rest: Mapping[str, Any]) -> None:
    """Give an estimator back what `learned` took from it."""
    for name, value in {**arrays, **rest}.items():
        setattr(estimator, name, value)
