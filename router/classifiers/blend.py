"""The fitted head: logistic regression and nearest neighbours, averaged, calibrated, and aware of what is strange.

    vector, text ── LinearHead ──> P(class)  ┐ average over domains ── temperature ──> probabilities
    vector ──────── Memory ──────> votes     ┘
                                   closeness ┐
                    LinearHead ──> P(none)   ├ sum ── rank among texts of known domains ──> familiarity
                                highest P ───┘

The two halves err differently: the regression draws broad borders and reads words, the neighbours know the odd corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from experts.types import Domain
from router.classifiers.base import Judgement
from router.classifiers.linear import LinearHead
from router.classifiers.memory import Memory
from router.encoder import Vectors
from router.taxonomy import OUT_OF_SCOPE

EDGES = 76
FAMILIAR = 0.75
"""Share of the held-out texts that may look stranger before a text counts as wholly familiar."""


@dataclass(frozen=True, slots=True)
class Blend:
    """What a head thinks before calibration: `averages` over the domains, shape [n, domains], rows summing to 1,
    and `evidence` that a text belongs to any of them, shape [n], larger is surer."""

    averages: NDArray[np.float64]
    evidence: NDArray[np.float64]

    def __add__(self, other: Blend) -> Blend:
        return Blend(np.concatenate([self.averages, other.averages]), np.concatenate([self.evidence, other.evidence]))


class BlendHead:
    """Regression and neighbours over the domains; texts labelled `OUT_OF_SCOPE` teach it what it is not for.

    Probabilities are the average to the power of 1/T, T minimising the log loss on texts that were not fitted on (after
    Guo et al. 2017, 1706.04599, equation 9). Familiarity is the share of those texts that look stranger, divided by
    `FAMILIAR` and at most 1: a text stranger than all of them has 0, one like the upper quartile 1. What looks strange
    is learned from examples (outlier exposure, Hendrycks et al. 2019, 1812.04606) and from the mean cosine to the five
    closest texts.

    Args:
        C, words, balance: of the regression (`LinearHead`).
        share: weight of the regression in the average; the rest is the neighbours'.
        closeness, doubt: weights of the mean cosine and of the log of the highest average, against the log-odds of
            belonging anywhere, in the evidence. The odds alone tell apart what looks like our examples of out of
            scope; whole domains that were never seen are told by the other two.
    """

    def __init__(
        self,
        *,
        C: float = 2.0,  # noqa: N803
        words: float = 2.0,
        balance: float = 1.0,
        share: float = 0.5,
        closeness: float = 25.0,
        doubt: float = 2.0,
    ) -> None:
        self.C = C
        self.words = words
        self.balance = balance
        self.share = share
        self.closeness = closeness
        self.doubt = doubt

    @property
    def domains(self) -> tuple[Domain, ...]:
        return self._fitted().domains_

    def fit(
        self, vectors: Vectors, texts: Sequence[str], labels: Sequence[Domain], sources: Sequence[str] | None = None
    ) -> Self:
        """Fit on unit vectors, shape [n, dimension], and their texts; calibrated on the same until `calibrate`."""
        self.linear_ = LinearHead(C=self.C, words=self.words, balance=self.balance)
        self.linear_.fit(vectors, texts, labels, sources)
        classes = self.linear_.classes_
        elsewhere = classes.index(OUT_OF_SCOPE) if OUT_OF_SCOPE in classes else None
        numbers = np.array([classes.index(label) for label in labels], dtype=np.intp)
        self.memory_ = Memory.fit(vectors, numbers, classes=len(classes), elsewhere=elsewhere)
        self.domains_ = tuple(name for name in classes if name != OUT_OF_SCOPE)
        self.temperature_ = 1.0
        known = numbers != elsewhere
        self.edges_ = _edges(self.blend(vectors[known], [text for text, ok in zip(texts, known, strict=True) if ok]))
        return self

    def calibrate(self, held_out: Blend, labels: Sequence[Domain], weights: Sequence[float] | None = None) -> Self:
        """Set temperature and familiarity by what was said of texts nobody fitted on; unknown labels do not count.

        `weights` say how much each text counts for the temperature.
        """
        known = [place for place, label in enumerate(labels) if label in self.domains]
        columns = [self.domains.index(labels[place]) for place in known]
        rows = held_out.averages[known]
        grid = np.geomspace(0.2, 5.0, 120)
        shares = np.ones(len(known)) if weights is None else np.array(weights)[known]
        losses = [-(shares * np.log(_sharpened(rows, t)[range(len(known)), columns] + 1e-12)).sum() for t in grid]
        self.temperature_ = float(grid[int(np.argmin(losses))])
        self.edges_ = _edges(held_out)
        return self

    def blend(self, vectors: Vectors, texts: Sequence[str]) -> Blend:
        """Return the uncalibrated averages and the evidence."""
        head = self._fitted()
        linear, near = head.linear_.predict_proba(vectors, texts), head.memory_.ask(vectors)
        classes = head.linear_.classes_
        inside = [place for place, name in enumerate(classes) if name != OUT_OF_SCOPE]
        odds = np.zeros(len(vectors))
        if len(inside) < len(classes):
            none = np.clip(linear[:, classes.index(OUT_OF_SCOPE)], 1e-6, 1 - 1e-6)
            odds = np.log(1 - none) - np.log(none)
        both = (head.share * linear + (1 - head.share) * near.votes)[:, inside]
        averages = both / both.sum(axis=1, keepdims=True)
        sure = np.log(averages.max(axis=1))
        return Blend(averages, odds + head.closeness * near.closeness + head.doubt * sure)

    def judge(self, vectors: Vectors, texts: Sequence[str]) -> Judgement:
        """Return calibrated probabilities and familiarity."""
        found = self.blend(vectors, texts)
        familiarity = np.interp(found.evidence, self.edges_, np.linspace(0.0, 1.0, len(self.edges_)))
        return Judgement(_sharpened(found.averages, self.temperature_), familiarity)

    def _fitted(self) -> Self:
        if not hasattr(self, "domains_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError("This BlendHead is not fitted yet; call fit, or load one from a folder.")
        return self


def _sharpened(averages: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    logs = np.log(np.maximum(averages, 1e-12)) / temperature
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _edges(found: Blend) -> NDArray[np.float32]:
    """Return the evidence at EDGES quantiles up to `FAMILIAR`."""
    return np.asarray(np.quantile(found.evidence, np.linspace(0.0, FAMILIAR, EDGES)), dtype=np.float32)
