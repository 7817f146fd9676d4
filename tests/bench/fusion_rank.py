"""Up to which error of the fuser's comparisons does `rank` pay? On recorded answers, with a simulated reader.

    python -m tests.bench.fusion_rank --data DIR

Every question of the splits train and dev; what experts are worth is taken from the other folds. The answers are real,
and so is everything that `rank` does with the replies (aggregator.ranking): equal answers are one, pairs in both
orders, ties by weight. Only the reader is drawn: it prefers the right of two answers but for an error e, tosses a coin
between two wrong ones, and in a share b of its replies names the first place whatever stands there. Errors
are drawn independently, which real readers' are not: they err on the questions on which the experts err.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from aggregator.ranking import Order, best_first, comparisons, wins
from router.evaluation.intervals import Bootstrap
from router.evaluation.runs import Floats, Indices
from router.evaluation.votes import code_answers
from router.training.outcomes import Outcomes, read_outcomes
from tests.bench.routing_folds import folds
from tests.bench.routing_tables import TABLES, read_pools

POOLS = ("small3", "small6", "mid5", "equal3", "zeroeval_small6", "dominated5")
ERRORS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
BIAS = 0.3
PAIRS_UP_TO = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: the answers that differ, heaviest first, whether each is right, what is behind each."""

    right: tuple[bool, ...]
    weights: tuple[float, ...]


class Reader:
    """Names a place among two answers, right or wrong."""

    def __init__(self, error: float, bias: float, seed: int) -> None:
        self._error, self._bias, self._chance = error, bias, np.random.default_rng(seed)

    def place(self, asked: Asked, order: Order) -> int:
        """Return the place that the reader names."""
        first, second = (asked.right[number] for number in order)
        if self._chance.random() < self._bias:
            return 0
        if first == second:
            return int(self._chance.random() < 0.5)
        return int(second) if self._chance.random() >= self._error else int(first)


def read(data: Path, name: str, experts: Sequence[str]) -> Outcomes:
    """Return a pool's questions that every expert of it was measured on."""
    folder = data / TABLES.get(name, "mmlu_pro")
    found = read_outcomes([folder / "questions.parquet"], [folder / "outcomes.parquet"], [data / "models.csv"], experts)
    return found.where(np.isin(found.splits, ("train", "dev")) & ~np.isnan(found.scores).any(axis=1))


def questions(codes: Indices, scores: Floats, worth: Floats) -> list[Asked]:
    """Return every question as `rank` meets it; a missing answer is one of its own, and wrong."""
    found = []
    for said, points in zip(codes, scores, strict=True):
        groups: dict[int, list[int]] = {}
        for expert, code in enumerate(said):
            groups.setdefault(int(code) if code >= 0 else -1 - expert, []).append(expert)
        weights = {code: float(worth[who].sum()) for code, who in groups.items()}
        first = sorted(groups, key=lambda code: (-round(weights[code], 9), groups[code][0]))
        found.append(
            Asked(tuple(bool(points[groups[c][0]] > 0.5) for c in first), tuple(round(weights[c], 9) for c in first))
        )
    return found


def ranked_right(asked: Asked, reader: Reader, *, both_orders: bool = True) -> tuple[bool, int]:
    """Return whether the answer that `rank` returns is right, and how many comparisons were made."""
    orders = comparisons(len(asked.right), PAIRS_UP_TO)
    orders = orders if both_orders else orders[::2]
    places = [reader.place(asked, order) for order in orders]
    best = best_first(wins(len(asked.right), orders, places), asked.weights)[0]
    return asked.right[best], len(orders)


def baselines(outcomes: Outcomes) -> tuple[list[Asked], dict[str, Floats]]:
    """Return the questions with what each group weighs by the other folds, and who is right without any reader."""
    assert outcomes.answers is not None
    codes, scores = code_answers(outcomes.answers), outcomes.scores
    met: dict[int, Asked] = {}
    single = np.zeros(len(outcomes))
    for test in folds(outcomes.stems):
        worth = scores[~test].mean(axis=0)
        single[test] = scores[test, int(worth.argmax())]
        met |= dict(zip(np.flatnonzero(test).tolist(), questions(codes[test], scores[test], worth), strict=True))
    asked = [met[place] for place in range(len(outcomes))]
    first = np.array([each.right[0] for each in asked], dtype=float)
    best = np.array([any(each.right) for each in asked], dtype=float)
    return asked, {"best single": single, "vote": first, "any right": best}


def break_even(gains: Sequence[float]) -> float:
    """Return the error of ERRORS at which the gain is gone, between two of them; nan where it never is."""
    for (low, gain), (high, loss) in pairwise(zip(ERRORS, gains, strict=True)):
        if gain > 0 >= loss:
            return low + (high - low) * gain / (gain - loss)
    return float("nan")


def measured(outcomes: Outcomes, seed: int = 0) -> list[str]:
    """Return the lines of one pool."""
    asked, rows = baselines(outcomes)
    comparisons_made = 0
    for error in ERRORS:
        reader = Reader(error, 0.0, seed)
        results = [ranked_right(each, reader) for each in asked]
        rows[f"rank, e = {error:.1f}"] = np.array([right for right, _ in results], dtype=float)
        comparisons_made = sum(made for _, made in results)
    for label, both in (("both orders", True), ("one order", False)):
        reader = Reader(0.1, BIAS, seed)
        right = [ranked_right(each, reader, both_orders=both)[0] for each in asked]
        rows[f"rank, e = 0.1, b = {BIAS:.1f}, {label}"] = np.array(right, dtype=float)
    bootstrap = Bootstrap(outcomes.stems)
    lines = [f"{len(asked)} questions, {comparisons_made / len(asked):.2f} comparisons a question"]
    for label, values in rows.items():
        gain = values - rows["vote"]
        low, high = np.percentile(bootstrap.means(gain), (2.5, 97.5)) * 100
        lines.append(f"  {label:34} {100 * values.mean():5.1f}  {100 * gain.mean():+5.1f} [{low:+.1f}, {high:+.1f}]")
    means = [float(rows[f"rank, e = {error:.1f}"].mean()) for error in ERRORS]
    even = (break_even([mean - float(rows[name].mean()) for mean in means]) for name in ("vote", "best single"))
    return [*lines, "  as good as the vote at e = {:.2f}, as the best single at e = {:.2f}".format(*even)]


def main() -> None:
    """Print every pool: accuracy, and the difference to the vote with its 95 % interval."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    data = options.parse_args().data
    pools = read_pools(data)
    for name in POOLS:
        first, *lines = measured(read(data, name, pools[name]))
        print(f"{name}: {first}", *lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
