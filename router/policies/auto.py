"""The combination that routing rests on by default: several simple estimators, stacked, cautious, and shy of strangers.

    estimate = mean score of the expert                                 (level: global)
             + sum over members of weight * the member's lead           (category, neighbours, clusters, linear)
             + how hard the question is for everybody

A member's lead is how far it puts an expert ahead of or behind the pool on this question, beyond the expert's mean.
Weights are non-negative least squares on cross-fitted leads (stacked regressions, Breiman 1996), drawn toward usual
weights that trust the category most: what does not hold up on unseen questions shrinks, from leaf (neighbours, linear)
to group (category) to the mean over all. The usual weights add up to one and are stretched a little where the leads
turned out to be worth more: squared error minds experts that nobody would choose, so it has little say in this, and
when not to leave the best expert is for the two cautions below.

Two cautions are learned from the same cross-fitted estimates. Where leaving the best single expert does not pay by half
a standard error, leads shrink until it always answers. And the less a question resembles any training question, the
less the leads count (`strange_`), so that strangers go to the expert that is best overall.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from router.policies.cluster import Clusters
from router.policies.domain import CategoryTable
from router.policies.knn import NearestNeighbours
from router.policies.lesson import Estimator, Lesson, Reading
from router.policies.predictive import Linear
from router.policies.smoothing import BLOCK, Floats, squashed

CONTENDING = 0.12
"""How far below the best single expert one may be and still count when weights are fitted."""
CONVINCING = 0.5
"""Standard errors that the gain of leaving the best single expert must be worth."""
USUAL_WEIGHTS = {"category": 0.1, "categories": 0.55, "linear": 0.15, "neighbours": 0.1, "clusters": 0.1}
PULL = 10.0
"""Pull of the usual weights, as a share of what the questions say."""
STRETCH = (1.0, 1.15)
"""Least and most that the usual weights are stretched by."""
SHRINKS = (0.5, 0.25, 0.1, 0.0)
NEIGHBOURS = 5
STRANGE = (0.5, 5.0)
"""Percentiles of the training questions' similarity to their neighbours, at which leads count nothing and fully."""


class Stacked:
    """Members' leads over the pool, weighed, on top of each expert's mean.

    Args:
        members: by name; the usual ones unless given.
    """

    def __init__(self, members: Mapping[str, Estimator] | None = None) -> None:
        self.members = dict(members) if members is not None else usual_members()

    def fit(self, lesson: Lesson) -> Self:
        """Fit the members, then weights and cautions on their cross-fitted estimates."""
        for member in self.members.values():
            member.fit(lesson)
        crossed = [member.cross_estimate(lesson) for member in self.members.values()]
        self.means_ = lesson.scores.mean(axis=0)
        means = _means_without_fold(lesson)
        leads = np.stack([leading(estimate, means) for estimate in crossed])
        self.weights_ = self._weigh(leads, centred(lesson.scores) - centred(means), self.means_)
        hardness = np.stack([(estimate - means).mean(axis=1) for estimate in crossed])
        self.hardness_, _ = nnls(hardness.T, (lesson.scores - means).mean(axis=1))
        self._learn_strangeness(lesson)
        self._learn_caution(means + np.tensordot(self.weights_, leads, 1), means, lesson.scores)
        return self

    def estimate(self, reading: Reading) -> Floats:
        """Return the probability that each expert is right."""
        said = [member.estimate(reading) for member in self.members.values()]
        leads = sum(weight * leading(each, self.means_) for weight, each in zip(self.weights_, said, strict=True))
        hard = sum(share * (each - self.means_).mean(axis=1) for share, each in zip(self.hardness_, said, strict=True))
        trust = self.shrink_ * self.familiarity(reading)
        found = self.means_ + trust[:, None] * leads
        return squashed(found + np.reshape(hard, (-1, 1)))

    def familiarity(self, reading: Reading) -> Floats:
        """Return 0..1 for each text: how much it resembles what was learned from."""
        low, high = self.strange_
        similar = nearest_mean(reading.features.vectors, self.known_)
        return np.asarray(np.clip((similar - low) / max(high - low, 1e-6), 0.0, 1.0))

    def cross_estimate(self, lesson: Lesson) -> Floats:
        """Return the cross-fitted combination; its few weights have seen every fold."""
        means = _means_without_fold(lesson)
        crossed = [member.cross_estimate(lesson) for member in self.members.values()]
        leads = sum(weight * leading(each, means) for weight, each in zip(self.weights_, crossed, strict=True))
        return squashed(means + self.shrink_ * leads)

    def _weigh(self, leads: Floats, truth: Floats, means: Floats) -> Floats:
        """Return a weight of each member, fitted on the experts that come into question."""
        contenders = means >= means.max() - CONTENDING
        columns = leads[:, :, contenders].reshape(len(leads), -1).T
        truth = truth[:, contenders].ravel()
        usual = np.array([USUAL_WEIGHTS.get(name, 1 / len(self.members)) for name in self.members])
        together = columns @ usual
        worth = np.clip(together @ truth / max(float(together @ together), 1e-12), *STRETCH)
        pull = np.sqrt(PULL * (columns**2).sum(axis=0))
        weights, _ = nnls(np.vstack([columns, np.diag(pull)]), np.concatenate([truth, pull * worth * usual]))
        return np.asarray(weights)

    def _learn_strangeness(self, lesson: Lesson) -> None:
        self.known_ = lesson.reading.features.vectors
        similar = nearest_mean(self.known_, self.known_, apart=lesson.folds)
        self.strange_ = [float(value) for value in np.percentile(similar, STRANGE)]

    def _learn_caution(self, estimates: Floats, means: Floats, scores: Floats) -> None:
        self.best_ = int(self.means_.argmax())
        self.shrink_ = 1.0
        gains = switching(estimates, scores, means)
        if gains.mean() > CONVINCING * standard_error(gains):
            return
        leads = estimates - means
        cautious = [part for part in SHRINKS if _harmless(self.means_ + part * leads, scores, self.best_)]
        self.shrink_ = max(cautious, default=0.0)


def usual_members() -> dict[str, Estimator]:
    """Return the members: the same question answered by category, by neighbours, by cluster and by a line."""
    return {
        "category": CategoryTable(certain=True),
        "categories": CategoryTable(certain=False),
        "linear": Linear(),
        "neighbours": NearestNeighbours(),
        "clusters": Clusters(),
    }


def centred(values: Floats) -> Floats:
    """Return each row less its mean."""
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def leading(estimates: Floats, means: Floats) -> Floats:
    """Return how far each expert is put ahead of the pool beyond what its mean says, shape [n, m]."""
    return centred(estimates - means)


def switching(estimates: Floats, scores: Floats, means: Floats) -> Floats:
    """Return what each question gains by asking whoever leads instead of the best single expert of the other folds.

    The best of all folds would be compared with luck that it had on the very questions it is judged by.
    """
    rows = np.arange(len(scores))
    return np.asarray(scores[rows, estimates.argmax(axis=1)] - scores[rows, means.argmax(axis=1)])


def standard_error(values: Floats) -> float:
    """Return the standard error of the mean."""
    return float(values.std() / np.sqrt(max(len(values), 1)))


def nearest_mean(
    vectors: NDArray[np.float32], known: NDArray[np.float32], *, apart: NDArray[np.int64] | None = None
) -> Floats:
    """Return the mean cosine to the nearest known vectors, those of the same fold left out where folds are given."""
    count, found = min(NEIGHBOURS, len(known)), np.empty(len(vectors))
    for at in range(0, len(vectors), BLOCK):
        similar = vectors[at : at + BLOCK] @ known.T
        if apart is not None:
            similar[apart[at : at + BLOCK, None] == apart[None, :]] = -1.0
        found[at : at + BLOCK] = np.partition(similar, -count, axis=1)[:, -count:].mean(axis=1)
    return found


def _harmless(estimates: Floats, scores: Floats, best: int) -> bool:
    """Say whether hardly anybody is ever preferred to the best single expert."""
    return float((estimates.argmax(axis=1) != best).mean()) == 0.0


def _means_without_fold(lesson: Lesson) -> Floats:
    """Return each expert's mean over the other folds, a row a question."""
    found = np.empty_like(lesson.scores)
    for fold in np.unique(lesson.folds):
        out = lesson.folds == fold
        found[out] = lesson.scores[~out].mean(axis=0)
    return found
