"""The fitted head: logistic regression and nearest neighbours, averaged, calibrated, and aware of what is strange.

    vector, text ── LinearHead ──> P(class)  ┐ average over domains ── temperature ──> probabilities
    vector ──────── Memory ──────> votes     ┘
                    odds of belonging anywhere, by either half ┐
                    closeness, highest P, length               ┴ logistic regression ──> familiarity

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

SIGNS = ("odds", "votes", "closeness", "doubt", "length")
"""What speaks for a text's belonging to some domain: log-odds of any class but `OUT_OF_SCOPE` by the regression and by
the neighbours, mean cosine to the five closest texts of a domain, log of the highest average, log of its words."""
USUAL_SCOPE = (1.0, 0.0, 25.0, 2.0, 0.0)
"""What the signs weigh where no out-of-scope text was held out to learn it from."""
RARE = 0.05
"""Share of known texts that are taken for strange in that case."""
OUTSIDE = 0.15
"""Share of what people ask that is assumed to be out of scope; the held-out texts say nothing about that."""


@dataclass(frozen=True, slots=True)
class Blend:
    """What a head thinks before calibration: `averages` over the domains, shape [n, domains], rows summing to 1,
    and the `signs` that a text belongs to any of them, shape [n, len(SIGNS)]."""

    averages: NDArray[np.float64]
    signs: NDArray[np.float64]

    def __add__(self, other: Blend) -> Blend:
        return Blend(np.concatenate([self.averages, other.averages]), np.concatenate([self.signs, other.signs]))


class BlendHead:
    """Regression and neighbours over the domains; texts labelled `OUT_OF_SCOPE` teach it what it is not for.

    Probabilities are the average to the power of 1/T, T minimising the log loss on texts that were not fitted on (after
    Guo et al. 2017, 1706.04599, equation 9). Familiarity is the probability that a text belongs to any domain at all: a
    logistic regression on the `SIGNS` (after Platt 1999), fitted on kinds of texts that were left out in turn, some of
    them out of scope, and on whole domains that a head did not know (outlier exposure, Hendrycks et al. 2019,
    1812.04606). So the product of the two is how probable it is that the top domain is right.

    Args:
        C, words, balance: of the regression (`LinearHead`).
        share: weight of the regression in the average; the rest is the neighbours'.
    """

    def __init__(
        self,
        *,
        C: float = 1.0,  # noqa: N803
        words: float = 2.0,
        balance: float = 1.0,
        share: float = 0.5,
    ) -> None:
        self.C = C
        self.words = words
        self.balance = balance
        self.share = share

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
        self.scope_ = _usual_scope(
            self.blend(vectors[known], [text for text, ok in zip(texts, known, strict=True) if ok])
        )
        return self

    def calibrate(self, held_out: Blend, labels: Sequence[Domain], weights: Sequence[float] | None = None) -> Self:
        """Set the temperature by what was said of texts nobody fitted on; unknown labels do not count.

        `weights` say how much each text counts for the temperature.
        """
        known = [place for place, label in enumerate(labels) if label in self.domains]
        columns = [self.domains.index(labels[place]) for place in known]
        rows = held_out.averages[known]
        grid = np.geomspace(0.2, 5.0, 120)
        shares = np.ones(len(known)) if weights is None else np.array(weights)[known]
        losses = [-(shares * np.log(_sharpened(rows, t)[range(len(known)), columns] + 1e-12)).sum() for t in grid]
        self.temperature_ = float(grid[int(np.argmin(losses))])
        self.scope_ = _usual_scope(held_out)
        return self

    def learn_scope(self, signs: NDArray[np.float64], labels: Sequence[Domain]) -> Self:
        """Learn what is out of scope from the signs of held-out texts; without any that is, the usual weights stay."""
        known = np.array([label != OUT_OF_SCOPE for label in labels])
        if not known.all() and known.any():
            self.scope_ = _fitted_scope(signs, known)
        return self

    def evidence(self, found: Blend) -> NDArray[np.float64]:
        """Return the log-odds that texts belong to any domain, shape [n]."""
        scope = self._fitted().scope_.astype(np.float64)
        return np.asarray(found.signs @ scope[:-1] + scope[-1])

    def blend(self, vectors: Vectors, texts: Sequence[str]) -> Blend:
        """Return the uncalibrated averages and the signs."""
        head = self._fitted()
        linear, near = head.linear_.predict_proba(vectors, texts), head.memory_.ask(vectors)
        classes = head.linear_.classes_
        inside = [place for place, name in enumerate(classes) if name != OUT_OF_SCOPE]
        both = (head.share * linear + (1 - head.share) * near.votes)[:, inside]
        averages = both / both.sum(axis=1, keepdims=True)
        odds = [_odds_inside(part[:, inside].sum(axis=1)) for part in (linear, near.votes)]
        lengths = np.log1p([len(text.split()) for text in texts])
        return Blend(averages, np.stack([*odds, near.closeness, np.log(averages.max(axis=1)), lengths], axis=1))

    def judge(self, vectors: Vectors, texts: Sequence[str]) -> Judgement:
        """Return calibrated probabilities and familiarity."""
        found = self.blend(vectors, texts)
        familiarity = 1 / (1 + np.exp(-np.clip(self.evidence(found), -50.0, 50.0)))
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


def _odds_inside(inside: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log-odds, cut off where a half is surer than its examples can make it."""
    share = np.clip(inside, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(share) - np.log(1 - share))


def _usual_scope(known: Blend) -> NDArray[np.float32]:
    """Return weights of the signs and an intercept by which the strangest `RARE` of known texts count as strange."""
    weights = np.array(USUAL_SCOPE)
    return np.append(weights, -np.quantile(known.signs @ weights, RARE)).astype(np.float32)


def _fitted_scope(signs: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return weights of the signs and an intercept, as if `OUTSIDE` of the texts were out of scope."""
    from sklearn.linear_model import LogisticRegression

    shares = np.where(known, (1 - OUTSIDE) / known.sum(), OUTSIDE / (~known).sum()) * len(known)
    middle, spread = signs.mean(axis=0), signs.std(axis=0) + 1e-9
    model = LogisticRegression(max_iter=500).fit((signs - middle) / spread, known, sample_weight=shares)
    weights = model.coef_[0] / spread
    return np.append(weights, model.intercept_[0] - weights @ middle).astype(np.float32)
