"""Votes over recorded answers, counted by the aggregator's own rules, question by question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregator.ballots import USUAL_OPTIONS, leads, log_odds, settled, shift_of
from router.evaluation.baselines import ranked
from router.evaluation.runs import Floats, Indices
from router.evaluation.votes import SILENT

TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Counted:
    """What came of votes on n questions: how right the winner was, and how many were asked."""

    quality: Floats
    calls: Floats


@dataclass(frozen=True, slots=True)
class Side:
    """Recorded answers to n questions.

    Args:
        scores: (n, m), right or not.
        codes: (n, m), equal in a row where answers are; SILENT where there is none.
        options: (n,), how many answers a question offers; USUAL_OPTIONS where it lists none.
    """

    scores: Floats
    codes: Indices
    options: Indices

    def where(self, places: NDArray[np.intp]) -> Side:
        """Return some of the questions."""
        return Side(self.scores[places], self.codes[places], self.options[places])


def counted_options(texts: Sequence[str]) -> Indices:
    """Return how many answers each question offers, as the gateway reads it."""
    from aggregator.extraction.asked import wanted_by

    return np.array([len(wanted_by(text).options) or USUAL_OPTIONS for text in texts], dtype=np.int64)


def by_quality(qualities: Floats, options: Indices) -> Floats:
    """Return the weight of every vote (n, m), as aggregator.ballots has it for candidates of these qualities."""
    rows = [
        [log_odds(each) + shift for each in row]
        for row, shift in ((row, shift_of(row, int(k))) for row, k in zip(qualities.tolist(), options, strict=True))
    ]
    return np.array(rows)


def naive_bayes(accuracies: Floats, options: Indices) -> Floats:
    """Return log(p (K-1) / (1-p)) for accuracies (n, m)."""
    p = np.clip(accuracies, 0.01, 0.99)
    return np.asarray(np.log(p / (1 - p)) + np.log(np.maximum(options - 1, 1))[:, None])


def everybody(side: Side, weights: Floats, ties: Floats) -> Counted:
    """Return the vote of all members; `ties` (n, m) orders them where tallies are equal, and who answers in silence."""
    order = ranked(weights + TINY * ties)
    quality = [_winner(*row) for row in zip(side.scores, side.codes, weights, order, strict=True)]
    return Counted(np.array(quality), np.full(len(quality), float(side.scores.shape[1])))


def in_turn(side: Side, qualities: Floats, k: int) -> tuple[Counted, Counted]:
    """Return the vote of the k best by quality, all asked always, and asked only while they can change the winner."""
    order = ranked(qualities)[:, :k]
    scores, codes = np.take_along_axis(side.scores, order, axis=1), np.take_along_axis(side.codes, order, axis=1)
    seated = Side(scores, codes, side.options)
    weights = by_quality(np.take_along_axis(qualities, order, axis=1), side.options)
    always = everybody(seated, weights, np.zeros_like(weights))
    rows = zip(seated.scores, seated.codes, weights, strict=True)
    early = [_stopping(*row) for row in rows]
    return always, Counted(np.array([each[0] for each in early]), np.array([float(each[1]) for each in early]))


def led(qualities: Floats) -> NDArray[np.bool_]:
    """Say where one expert leads, so that nobody else need be asked."""
    return np.array([leads(row) for row in qualities.tolist()], dtype=np.bool_)


def _winner(scores: Floats, codes: Indices, weights: Floats, order: Indices) -> float:
    """Return the score of the answer that most weight is behind, quoted from the first in order."""
    tallies = _tallies(codes, weights, order)
    if not tallies:
        return float(scores[order[0]])
    best = max(tallies, key=lambda code: round(tallies[code], 9))
    return float(scores[next(place for place in order if codes[place] == best)])


def _tallies(codes: Indices, weights: Floats, order: Sequence[int] | Indices) -> dict[int, float]:
    found: dict[int, float] = {}
    for place in order:
        if codes[place] != SILENT:
            found[int(codes[place])] = found.get(int(codes[place]), 0.0) + float(weights[place])
    return found


def _stopping(scores: Floats, codes: Indices, weights: Floats) -> tuple[float, int]:
    """Ask as many as settle it by agreeing, then one at a time until it is settled; return the score and the calls."""
    count = len(weights)
    first = (each for each in range(1, count) if settled([float(weights[:each].sum())], weights[each:].tolist()))
    asked = next(first, count)
    while asked < count:
        tallies = sorted(_tallies(codes, weights, range(asked)).values(), reverse=True)
        if tallies and settled(tallies, weights[asked:].tolist()):
            break
        asked += 1
    seen = np.arange(asked)
    return _winner(scores, codes, weights, seen), asked
