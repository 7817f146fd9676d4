"""Verifiers that recorded answers suffice for: each says how sure it is that what the cheap experts said may stand.

    signs        the answer of one is kept unless it looks weak (aggregator.verification)
    agreement    the answer of two or three is kept when it is the same
    quality      the router's estimates alone: the cheap expert's lead over the strong one
    posterior    agreement weighed by the router's estimates: the chance that the leading answer is right, less the
                 strong expert's; nothing is fitted
    fitted       a logistic regression of "the leading answer is right" and one of "the strong expert is right" on all
                 of these and the answers' length; their difference

A verifier looks after the first answer, the second, ... (a `Look` each); one that may look at each is lazy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.evaluation.runs import Floats, Indices, Run
from tests.bench.fusion_cascade_team import Recorded

NEVER = -1e9
STRENGTH = 1.0
"""Inverse penalty of the logistic regressions."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is known after the first `asked` experts, all (n,).

    Args:
        asked: how many have answered.
        sure: higher is surer that the answer may stand.
        kept: the score of the answer that would be kept.
        spent: USD so far.
    """

    asked: int
    sure: Floats
    kept: Floats
    spent: Floats


def carry_out(looks: Sequence[Look], known: Recorded, threshold: float, enter: NDArray[np.bool_] | None = None) -> Run:
    """Return the run of keeping the first answer that is sure enough, the strong expert's where none is.

    Where `enter` is False the strong expert is asked at once. The run's `first` is the column of who answered.
    """
    n = len(known)
    open_ = np.ones(n, dtype=bool) if enter is None else enter.copy()
    quality, cost, asked = known.scores[:, -1].copy(), np.zeros(n), np.zeros(n)
    strong = np.ones(n, dtype=bool)
    for look in looks:
        cost, asked = np.where(open_, look.spent, cost), np.where(open_, look.asked, asked)
        keep = open_ & (look.sure >= threshold)
        quality = np.where(keep, look.kept, quality)
        open_, strong = open_ & ~keep, strong & ~keep
    first = np.where(strong, known.scores.shape[1] - 1, 0)
    return Run(quality, cost + np.where(strong, known.costs[:, -1], 0.0), asked + strong, first)


def worth_entering(looks: Sequence[Look], train: Recorded, threshold: float, test: Recorded) -> NDArray[np.bool_]:
    """Return for each test question whether the calls to cheap experts are expected to save more than they cost.

    The chance that a cheap answer stands is a logistic regression on the router's estimates.
    """
    from sklearn.linear_model import LogisticRegression

    run = carry_out(looks, train, threshold)
    stands = run.first == 0
    spent = float((run.cost - np.where(stands, 0.0, train.costs[:, -1])).mean())
    if stands.all() or not stands.any():
        return np.full(len(test), bool(stands.all()))
    model = LogisticRegression(C=STRENGTH, max_iter=500).fit(_logit(train.right), stands)
    saved = model.predict_proba(_logit(test.right))[:, 1] * float(train.costs[:, -1].mean())
    return np.asarray(saved > spent)


def leading(known: Recorded, k: int) -> tuple[Floats, Indices]:
    """Return the posterior of the leading answer of the first k experts, and who of its authors was asked first.

    That an answer is right has the likelihood: its authors are right, the others wrong. That none is right: all are
    wrong. Wrong experts give the same answer with probability `luck`. Nobody's answer is worth 0.
    """
    n = len(known)
    right = np.clip(known.right[:, :k], 0.02, 0.98)
    codes = known.codes[:, :k]
    like = np.zeros((n, k))
    for place in range(k):
        like[:, place] = _likelihood(codes == codes[:, [place]], right, codes, known.luck)
    first = _first_of_answer(codes) & (codes >= 0)
    like = np.where(first, like, 0.0)
    none = _likelihood(np.zeros_like(first), right, codes, known.luck)
    return like.max(axis=1) / (like.sum(axis=1) + none), like.argmax(axis=1)


def _likelihood(agree: NDArray[np.bool_], right: Floats, codes: Indices, luck: float) -> Floats:
    """Return how likely the answers are if those who `agree` (n, k) are right and all others wrong."""
    wrong = np.where(codes >= 0, ~agree, False)
    again = np.zeros_like(right)
    for place in range(1, right.shape[1]):
        before = (codes[:, :place] == codes[:, [place]]) & wrong[:, :place]
        again[:, place] = before.any(axis=1) & wrong[:, place]
    chances = np.where(agree & (codes >= 0), right, np.where(wrong, 1 - right, 1.0))
    return np.asarray(chances.prod(axis=1) * np.where(again > 0, luck, 1.0).prod(axis=1))


def _first_of_answer(codes: Indices) -> NDArray[np.bool_]:
    found = np.ones(codes.shape, dtype=bool)
    for place in range(1, codes.shape[1]):
        found[:, place] = (codes[:, :place] != codes[:, [place]]).all(axis=1)
    return found


def _look(known: Recorded, k: int, sure: Floats, author: Indices | None = None) -> Look:
    rows = np.arange(len(known))
    who = np.zeros(len(known), dtype=np.int64) if author is None else author
    return Look(k, sure, known.scores[rows, who], known.costs[:, :k].sum(axis=1))


Verifier = Callable[[Recorded, Recorded, int], list[list[Look]]]
"""Takes training and test questions and how many cheap experts there are; returns the looks at either."""


def signs(train: Recorded, test: Recorded, k: int) -> list[list[Look]]:
    """Look at the first answer's text."""
    return [[_look(each, 1, np.where(each.weak[:, 0], NEVER, 1.0))] for each in (train, test)]


def agreement(train: Recorded, test: Recorded, k: int) -> list[list[Look]]:
    """Ask on while the answers agree, and keep the answer that all k gave."""
    found = []
    for each in (train, test):
        agreed, spent = each.codes[:, 0] >= 0, each.costs[:, 0] + each.costs[:, 1]
        for place in range(1, k):
            if place > 1:
                spent = spent + np.where(agreed, each.costs[:, place], 0.0)
            agreed = agreed & (each.codes[:, place] == each.codes[:, 0])
        look = _look(each, k, np.where(agreed, 1.0, NEVER))
        found.append([Look(k, look.sure, look.kept, spent)])
    return found


def quality(train: Recorded, test: Recorded, k: int) -> list[list[Look]]:
    """Keep the first answer where its author is not far behind the strong expert by the router's estimates."""
    return [[_look(each, 1, each.right[:, 0] - each.right[:, -1])] for each in (train, test)]


def posterior(train: Recorded, test: Recorded, k: int) -> list[list[Look]]:
    """Keep the leading answer where its posterior is not far below the strong expert's chance; lazy."""
    found = []
    for each in (train, test):
        looks = []
        for asked in range(1, k + 1):
            chance, author = leading(each, asked)
            looks.append(_look(each, asked, chance - each.right[:, -1], author))
        found.append(looks)
    return found


def fitted(train: Recorded, test: Recorded, k: int) -> list[list[Look]]:
    """Keep the leading answer by two logistic regressions; lazy."""
    found: list[list[Look]] = [[], []]
    for asked in range(1, k + 1):
        seen = [_evidence(each, asked) for each in (train, test)]
        rows, authors = np.arange(len(train)), seen[0][1]
        answer = _probability(seen[0][0], train.scores[rows, authors], [each for each, _ in seen])
        strong = _probability(seen[0][0], train.scores[:, -1], [each for each, _ in seen])
        for place, (known, (_, author)) in enumerate(zip((train, test), seen, strict=True)):
            found[place].append(_look(known, asked, answer[place] - strong[place], author))
    return found


def _probability(evidence: Floats, right: Floats, asked: Sequence[Floats]) -> list[Floats]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=STRENGTH, max_iter=500).fit(evidence, right >= 0.5)
    return [model.predict_proba(each)[:, 1] for each in asked]


def _evidence(known: Recorded, k: int) -> tuple[Floats, Indices]:
    """Return what the first k answers show (n, columns), and the author of the leading one."""
    chance, author = leading(known, k)
    rows = np.arange(len(known))
    agree = known.codes[:, :k] == known.codes[rows, author][:, None]
    columns: list[NDArray[Any]] = [_logit(chance)[:, None], _logit(known.right[:, :k]), _logit(known.right[:, [-1]])]
    columns += [agree, known.codes[:, :k] < 0, known.weak[:, :k], known.lengths[:, :k] - 6.0]
    if k > 1:
        columns.append((agree.sum(axis=1) == np.arange(1, k + 1)[:, None]).T)
    return np.hstack([np.asarray(each, dtype=np.float64) for each in columns]), author


def _logit(chance: Floats) -> Floats:
    p = np.clip(chance, 0.01, 0.99)
    return np.asarray(np.log(p / (1 - p)))


VERIFIERS: Mapping[str, Verifier] = {
    "signs": signs,
    "agreement": agreement,
    "quality": quality,
    "posterior": posterior,
    "fitted": fitted,
}
