"""Simple routers, each a few lines: what anyone would try first, fitted on one fold and asked about another.

Each takes a `Fold` and returns estimates (n_test, m). Penalties were chosen on the dev questions of MMLU-Pro, in the
baselines' favour.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.evaluation.baselines import CategoryTable
from router.evaluation.runs import Floats

PENALTY = 0.03
FACTORS = 8


@dataclass(frozen=True, slots=True)
class Fold:
    """One way of splitting the questions: unit vectors, outcomes of m experts, true categories."""

    vectors: NDArray[np.float32]
    scores: Floats
    categories: NDArray[np.str_]
    asked: NDArray[np.float32]
    asked_categories: NDArray[np.str_]


def true_category(fold: Fold) -> Floats:
    """Who was best at questions of this category, which somebody tells us."""
    return CategoryTable.fit(fold.scores, fold.categories).estimates(fold.asked_categories)


def predicted_category(fold: Fold) -> Floats:
    """The category table, weighted by a logistic regression's probabilities of the categories."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=3.0, max_iter=300).fit(fold.vectors, fold.categories)
    table = CategoryTable.fit(fold.scores, fold.categories).estimates(model.classes_)
    weighted: Floats = model.predict_proba(fold.asked) @ table
    return weighted


def neighbours(k: int) -> Callable[[Fold], Floats]:
    """The mean outcome of the k most similar training questions."""

    def estimate(fold: Fold) -> Floats:
        nearest = np.argpartition(-(fold.asked @ fold.vectors.T), k, axis=1)[:, :k]
        return np.asarray(fold.scores[nearest].mean(axis=1))

    return estimate


def clusters(k: int, nearest: int = 3, sharpness: float = 9.0) -> Callable[[Fold], Floats]:
    """Avengers-Pro: the tables of the three nearest of k clusters, weighted by a softmax over similarity."""

    def estimate(fold: Fold) -> Floats:
        from sklearn.cluster import KMeans

        model = KMeans(k, n_init=4, random_state=0).fit(fold.vectors)
        names = np.array([f"c{place}" for place in range(k)])
        table = CategoryTable.fit(fold.scores, names[model.labels_]).estimates(names)
        centres = model.cluster_centers_ / np.linalg.norm(model.cluster_centers_, axis=1, keepdims=True)
        near = fold.asked @ centres.T
        near[near < np.sort(near, axis=1)[:, -nearest, None]] = -np.inf
        weights = np.exp(sharpness * (near - near.max(axis=1, keepdims=True)))
        return np.asarray((weights / weights.sum(axis=1, keepdims=True)) @ table)

    return estimate


def logistic(fold: Fold) -> Floats:
    """A logistic regression an expert: will it be right?"""
    from sklearn.linear_model import LogisticRegression

    columns = []
    for right in (fold.scores >= 0.5).T:
        model = LogisticRegression(C=PENALTY, max_iter=300).fit(fold.vectors, right)
        columns.append(model.predict_proba(fold.asked)[:, 1])
    return np.stack(columns, axis=1)


def perceptron(fold: Fold) -> Floats:
    """A network with one hidden layer and an output an expert; the mean of three."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for seed in range(3):
            model = MLPClassifier((64,), alpha=1.0, max_iter=20, random_state=seed)
            found.append(model.fit(fold.vectors, fold.scores >= 0.5).predict_proba(fold.asked))
    return np.asarray(np.mean(found, axis=0))


def factorisation(fold: Fold) -> Floats:
    """Outcomes as (traits of the question) x (abilities of the experts): truncated SVD, traits by ridge regression."""
    from sklearn.linear_model import Ridge

    mean = fold.scores.mean(axis=0)
    left, values, abilities = np.linalg.svd(fold.scores - mean, full_matrices=False)
    keep = min(FACTORS, len(values))
    traits = Ridge(alpha=20.0).fit(fold.vectors, left[:, :keep] * values[:keep]).predict(fold.asked)
    return np.asarray(np.clip(traits @ abilities[:keep] + mean, 0.0, 1.0))


BASELINES: Mapping[str, Callable[[Fold], Floats]] = {
    "true category": true_category,
    "predicted category": predicted_category,
    "kNN 100": neighbours(100),
    "kNN 200": neighbours(200),
    "clusters 16": clusters(16),
    "clusters 32": clusters(32),
    "logistic": logistic,
    "MLP": perceptron,
    "factorisation": factorisation,
}
MEANS = {
    "mean of all": tuple(name for name in BASELINES if name != "true category"),
    "mean of four": ("predicted category", "kNN 100", "logistic", "MLP"),
}


def simple_estimates(fold: Fold) -> dict[str, Floats]:
    """Return what every simple router estimates, plain means of several among them."""
    found = {name: estimate(fold) for name, estimate in BASELINES.items()}
    means = {name: np.mean([found[part] for part in parts], axis=0) for name, parts in MEANS.items()}
    return {**found, **means}
