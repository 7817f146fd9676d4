"""Rows of votes: up to k experts a question, and whether training says that asking several pays at all."""

from __future__ import annotations

import numpy as np

from experts.errors import ConfigError
from router.evaluation.baselines import any_of
from router.evaluation.gains import vote_efficiency
from router.evaluation.intervals import Bootstrap
from router.evaluation.rows import Ladder, Row, run_row
from router.evaluation.runs import Floats, Run, best_by
from router.evaluation.trial import Trial
from router.evaluation.votes import ASK_ALL, panel, vote_weights, weighted_vote

SIZES: tuple[int | str, ...] = (2, 3, 5, "all")
MUST_GAIN = 0.002
"""How much better a vote must do on training questions than the best single expert before it is taken up."""


def vote_rows(name: str, estimates: Floats, trial: Trial, ladder: Ladder) -> list[Row]:
    """Return a row for each size of vote by these estimates; none where no answers were recorded."""
    if trial.test.codes is None or trial.chance is None or len(trial.experts) < 2:
        return []
    sizes = {f"{name}+vote{size}": _count(size, trial) for size in SIZES if _count(size, trial) <= len(trial.experts)}
    return [vote_row(label, estimates, k, trial, ladder) for label, k in sizes.items()]


def _count(size: int | str, trial: Trial) -> int:
    return size if isinstance(size, int) else len(trial.experts)


def vote_row(label: str, estimates: Floats, k: int, trial: Trial, ladder: Ladder) -> Row:
    """Return one vote's row. Where training shows no gain the vote is refused: the row is that of one expert.

    `accuracy_if_asked` is the vote's, refused or not; `lost_by_stopping` what asking all k would have added.
    """
    alone = trial.choose(best_by(estimates, trial.expected))
    refused = not votes_pay(trial, k)
    asked, always = vote(estimates, k, trial), vote(estimates, k, trial, patience=ASK_ALL)
    run = alone if refused else asked
    reachable = any_of(trial.test.scores, estimates, k)
    return {
        **run_row(label, run, trial, ladder),
        "k": k,
        "refused": refused,
        "any_of_k": {str(k): reachable},
        "vote_efficiency": vote_efficiency(run.accuracy, alone.accuracy, reachable),
        "gain_over_one": run.accuracy - alone.accuracy,
        "gain_over_one_ci95": trial.bootstrap.interval(run.quality - alone.quality),
        "accuracy_if_asked": asked.accuracy,
        "lost_by_stopping": always.accuracy - asked.accuracy,
        "experts_asked": {str(count): float((run.experts == count).mean()) for count in range(1, k + 1)},
    }


def vote(estimates: Floats, k: int, trial: Trial, *, patience: float = 1.0) -> Run:
    """Return the run of a weighted vote of up to k experts on the test questions.

    Raises:
        ConfigError: no answers were recorded.
    """
    test, chance = trial.test, trial.chance
    if test.codes is None or chance is None:
        raise ConfigError("Votes need the experts' answers: the column `pred` of the outcomes.")
    order = panel(estimates, k, trial.alike)
    weights = vote_weights(estimates, chance)
    return weighted_vote(test.scores, test.costs, test.codes, order, weights, patience=patience)


def votes_pay(trial: Trial, k: int) -> bool:
    """Say whether, on the training questions, the vote of the k best experts beat the best one beyond doubt.

    Weights are the experts' training means, so there is next to nothing to overfit; beyond doubt means that the
    lower end of a 95 % interval is above MUST_GAIN.
    """
    train = trial.train.complete()
    if train.codes is None or trial.chance is None or not len(train):
        return False
    means = train.scores.mean(axis=0, keepdims=True).repeat(len(train), axis=0)
    order, weights = panel(means, k, trial.alike), vote_weights(means, trial.chance)
    run = weighted_vote(train.scores, train.costs, train.codes, order, weights)
    gain = run.quality - train.scores[:, trial.best]
    draws = Bootstrap(np.unique(train.keys, return_inverse=True)[1], draws=500)
    return draws.interval(gain)[0] > MUST_GAIN
