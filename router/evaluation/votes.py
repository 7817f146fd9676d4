"""Ask several experts and count: weighted votes over recorded answers, stopping as soon as the rest cannot matter.

Answers are compared as normalised strings and coded once (`code_answers`): equal numbers in a row are equal answers,
-1 is no answer, which does not vote. A vote weighs by the log-odds that the expert is right, against the chance that
wrong experts agree by luck (Nitzan & Paroush 1982). The best expert is asked first, then those that are good and not
too much like the ones before; asking stops when those not yet asked could no longer overturn the leader, so
the answer is the one that all k would have given, at fewer calls ("two, then a third on disagreement" is the case of
three equal weights). Equal tallies go to the answer whose first supporter was asked first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.evaluation.baselines import ranked
from router.evaluation.runs import Floats, Indices, Run

SILENT = -1
LEAST_EVIDENCE = 0.05
CAUTIOUS, SHARP = 0.5, 1.0
DIVERSITY = 0.1
"""How much accuracy an expert whose successes are quite its own is worth on a panel."""
ASK_ALL = 1e12
"""A patience that no lead exceeds."""
_TIE = 1e-9
_QUOTED = re.compile(r"""('[^']*'|"[^"]*")""")


def normalised(answer: Any) -> str:
    """Return an answer as it is compared: case, spaces, thousands commas, dollar signs, a closing dot do not count.

    What stands in quotes is kept as it is, because there case and spaces are the answer.
    """
    parts = _QUOTED.split(str(answer).strip().strip("$").rstrip("."))
    text = "".join(part if place % 2 else re.sub(r"\s+", "", part).lower() for place, part in enumerate(parts))
    text = re.sub(r"(?<=\d),(?=\d{3}(\D|$))", "", text)
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text)


def code_answers(answers: NDArray[np.object_]) -> Indices:
    """Return answers (n, m) as numbers that are equal in a row where the answers are, SILENT where there is none."""
    return np.array([_coded(row) for row in answers], dtype=np.int64).reshape(answers.shape)


def _coded(row: Iterable[Any]) -> list[int]:
    places: dict[str, int] = {}
    texts = ["" if answer is None else normalised(answer) for answer in row]
    return [places.setdefault(text, len(places)) if text else SILENT for text in texts]


def luck(scores: Floats, codes: Indices) -> float:
    """Return how often two experts that are both wrong give the same answer: what an agreement is worth by chance.

    Pairs of silent experts do not count. One pair more of each kind is imagined, so that it is never 0 or 1.
    """
    same, pairs = 1.0, 2.0
    for first in range(scores.shape[1]):
        for second in range(first):
            both = (scores[:, [first, second]] < 0.5).all(axis=1) & (codes[:, [first, second]] != SILENT).all(axis=1)
            same += float((codes[both, first] == codes[both, second]).sum())
            pairs += float(both.sum())
    return same / pairs


def vote_weights(
    estimates: Floats, chance: float, *, answers: Floats | float = 1.0, sharpness: float = CAUTIOUS
) -> Floats:
    """Return the weight of a vote by an expert that is right with p: (log(p / (1 - p)) - log(chance)) ** sharpness.

    Who votes has answered: p is the estimate over how often the expert answers at all, `answers` (m,). SHARP is right
    for experts whose errors are independent. Theirs are not: among peers CAUTIOUS, which brings the weights closer
    together, votes better; where many weak experts are asked, SHARP does.
    """
    p = np.clip(estimates / answers, 0.01, 0.99)
    weights: Floats = np.maximum(np.log(p / (1 - p)) - np.log(chance), LEAST_EVIDENCE) ** sharpness
    return weights


def answering(codes: Indices) -> Floats:
    """Return how often each expert answers at all (m,), at least a little."""
    return np.asarray(np.maximum((codes != SILENT).mean(axis=0), 0.05))


def overlap(scores: Floats) -> Floats:
    """Return how alike the experts' successes are: correlations (m, m), 0 where an expert never varies; nan rows go."""
    complete = scores[~np.isnan(scores).any(axis=1)]
    varied = complete.std(axis=0) > 0 if len(complete) else np.zeros(scores.shape[1], dtype=bool)
    found = np.zeros((scores.shape[1], scores.shape[1]))
    if varied.sum() > 1:
        found[np.ix_(varied, varied)] = np.corrcoef(complete[:, varied].T)
    return found


def panel(estimates: Floats, k: int, alike: Floats | None = None, diversity: float = DIVERSITY) -> Indices:
    """Return the k experts to ask (n, k), in order: the best first, then the best of those unlike the ones before.

    Each further expert is judged by estimate - diversity * its mean overlap (m, m) with those chosen already; without
    `alike` the order is that of the estimates.
    """
    if alike is None:
        return ranked(estimates)[:, :k]
    n, m = estimates.shape
    rows, seen, chosen = np.arange(n), np.zeros((n, m)), np.empty((n, min(k, m)), dtype=np.int64)
    taken = np.zeros((n, m), dtype=bool)
    for turn in range(chosen.shape[1]):
        worth = np.where(taken, -np.inf, estimates - diversity * seen / max(turn, 1))
        chosen[:, turn] = worth.argmax(axis=1)
        taken[rows, chosen[:, turn]] = True
        seen += alike[chosen[:, turn]]
    return chosen


def weighted_vote(
    scores: Floats, costs: Floats, codes: Indices, order: Indices, weights: Floats, *, patience: float = 1.0
) -> Run:
    """Return the run of asking the experts of `order` (n, k) in turn, weighing their votes by `weights` (n, m).

    Asking stops when the leader's lead exceeds `patience` times the weight still to come: 1 never changes the
    outcome of the whole vote, less asks fewer experts and sometimes answers differently, ASK_ALL always asks all k.
    """
    rows = np.arange(len(scores))
    weight = np.take_along_axis(weights, order, axis=1)
    tally, quality = np.zeros((2, len(scores), max(2, int(codes.max(initial=0)) + 1)))
    open_, cost, asked = np.ones(len(scores), dtype=bool), np.zeros(len(scores)), np.zeros(len(scores))
    for turn, column in enumerate(order.T):
        code = codes[rows, column]
        heard = open_ & (code != SILENT)
        fresh = heard & (tally[rows, code] == 0)
        quality[rows[fresh], code[fresh]] = scores[rows[fresh], column[fresh]]
        tally[rows[heard], code[heard]] += weight[heard, turn] + _TIE * fresh[heard] / (turn + 1)
        cost = cost + np.where(open_, costs[rows, column], 0.0)
        asked += open_
        open_ &= ~_decided(tally, weight[:, turn + 1 :].sum(axis=1) * patience)
    winner = tally.argmax(axis=1)
    spoken = tally.max(axis=1) > 0
    return Run(np.where(spoken, quality[rows, winner], scores[rows, order[:, 0]]), cost, asked, order[:, 0])


def _decided(tally: Floats, rest: Floats) -> NDArray[np.bool_]:
    """Say where the leader is ahead by more than what is still to come."""
    leading = np.partition(tally, -2, axis=1)
    decided: NDArray[np.bool_] = leading[:, -1] - leading[:, -2] > rest + _TIE
    return decided


def majority(scores: Floats, costs: Floats, codes: Indices, order: Indices) -> Run:
    """Return the run of always asking all experts of `order` (n, k), each with one vote."""
    return weighted_vote(scores, costs, codes, order, np.ones_like(scores), patience=ASK_ALL)


def two_then_third(scores: Floats, costs: Floats, codes: Indices, order: Indices) -> Run:
    """Return the run of asking the first two experts, and the third only where they disagree; one vote each."""
    return weighted_vote(scores, costs, codes, order[:, :3], np.ones_like(scores))
