"""Rows of votes: up to k experts a question, and whether training says that asking several pays at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experts.errors import ConfigError
from router.evaluation.baselines import CategoryTable, any_of
from router.evaluation.gains import vote_efficiency
from router.evaluation.intervals import Bootstrap
from router.evaluation.rows import Ladder, Row, run_row
from router.evaluation.runs import Floats, Run, best_by
from router.evaluation.trial import Trial
from router.evaluation.votes import ASK_ALL, CAUTIOUS, SHARP, panel, vote_weights, weighted_vote

SIZES: tuple[int | str, ...] = (2, 3, 5, "all")


@dataclass(frozen=True, slots=True)
class VoteRule:
    """What training says of votes by up to k experts: whether they pay at all, and how to weigh them."""

    k: int
    pays: bool
    sharpness: float

    @classmethod
    def learned(cls, trial: Trial, k: int) -> VoteRule:
        """Compare, on the training questions, votes with asking one expert, both by the table of true categories.

        Votes pay when they are better beyond doubt: the lower end of a 95 % interval is above 0. The table has few
        cells, so that seeing its own questions flatters it little, and the single expert more than the vote.
        """
        train = trial.train.complete()
        if train.codes is None or trial.chance is None or len(train) < 2:
            return cls(k, False, CAUTIOUS)
        means = CategoryTable.fit(train.scores, train.categories).estimates(train.categories)
        order, sides = panel(means, k, trial.alike), (train.scores, train.costs, train.codes)
        runs = {each: weighted_vote(*sides, order, weigh(means, trial, each)) for each in (CAUTIOUS, SHARP)}
        best = max(runs, key=lambda each: runs[each].accuracy)
        alone = train.scores[np.arange(len(train)), best_by(means)]
        draws = Bootstrap(np.unique(train.keys, return_inverse=True)[1], draws=500)
        return cls(k, draws.interval(runs[best].quality - alone)[0] > 0, best)


def vote_rules(trial: Trial) -> dict[str, VoteRule]:
    """Return the rule of each size of vote, by its label; none where no answers were recorded."""
    if trial.test.codes is None or trial.chance is None or len(trial.experts) < 2:
        return {}
    counts = {str(size): size if isinstance(size, int) else len(trial.experts) for size in SIZES}
    return {size: VoteRule.learned(trial, k) for size, k in counts.items() if k <= len(trial.experts)}


def vote_rows(name: str, estimates: Floats, trial: Trial, ladder: Ladder, rules: Mapping[str, VoteRule]) -> list[Row]:
    """Return a row for each size of vote by these estimates."""
    return [vote_row(f"{name}+vote{size}", estimates, rule, trial, ladder) for size, rule in rules.items()]


def vote_row(label: str, estimates: Floats, rule: VoteRule, trial: Trial, ladder: Ladder) -> Row:
    """Return one vote's row. Where training shows no gain the vote is refused: the row is that of one expert.

    `accuracy_if_asked` is the vote's, refused or not; `lost_by_stopping` what asking all k would have added.
    """
    alone = trial.choose(best_by(estimates, trial.expected))
    asked, always = vote(estimates, rule, trial), vote(estimates, rule, trial, patience=ASK_ALL)
    run = asked if rule.pays else alone
    reachable = any_of(trial.test.scores, estimates, rule.k)
    return {
        **run_row(label, run, trial, ladder),
        "k": rule.k,
        "refused": not rule.pays,
        "any_of_k": {str(rule.k): reachable},
        "vote_efficiency": vote_efficiency(run.accuracy, alone.accuracy, reachable),
        "gain_over_one": run.accuracy - alone.accuracy,
        "gain_over_one_ci95": trial.bootstrap.interval(run.quality - alone.quality),
        "accuracy_if_asked": asked.accuracy,
        "lost_by_stopping": always.accuracy - asked.accuracy,
        "experts_asked": {str(count): float((run.experts == count).mean()) for count in range(1, rule.k + 1)},
    }


def vote(estimates: Floats, rule: VoteRule, trial: Trial, *, patience: float = 1.0) -> Run:
    """Return the run of a weighted vote of up to k experts on the test questions.

    Raises:
        ConfigError: no answers were recorded.
    """
    test = trial.test
    if test.codes is None or trial.chance is None:
        raise ConfigError("Votes need the experts' answers: the column `pred` of the outcomes.")
    order = panel(estimates, rule.k, trial.alike)
    weights = weigh(estimates, trial, rule.sharpness)
    return weighted_vote(test.scores, test.costs, test.codes, order, weights, patience=patience)


def weigh(estimates: Floats, trial: Trial, sharpness: float) -> Floats:
    """Return the weights (n, m) of votes by these estimates, with what training knows of agreement and silence."""
    return vote_weights(estimates, trial.chance or 1.0, answers=trial.answers, sharpness=sharpness)
