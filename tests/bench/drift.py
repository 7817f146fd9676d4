"""What learning online is worth after a change: the strongest and the weakest of six peers swap their answers half-way.

    python -m tests.bench.drift --data DIR [--runs 5] [--posterior category|predicted] [--models a,b,...]

DIR holds `questions.parquet` (question_id, question, category) and `outcomes.parquet` (question_id, model_id, correct).
The first part of a shuffled table fits a skill per expert and domain; then queries come one by one, each decided before
its outcome is learnt, with the swap in the middle (DriftMoE, 2507.18464). Reported are accuracies over the queries
after the swap, with the standard error over shuffles, for each kind of feedback; the frozen router is the baseline in
the same run. Drift alarms are counted too: false ones before the swap, and answers about the domain until a true one.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from router import Router, RoutingConfig
from router.learning import TARGETS, Detector, DriftRule, LearningRule, noticed, replay
from router.types import Query

PEERS = "llama-3.1-8b-instruct,mathstral-7b,phi-3-mini-4k-instruct,mistral-7b-instruct-v0.2,qwen1.5-7b-chat,gemma-7b"
FIT, SHRINKAGE, EXPLORATION = 2200, 10.0, 0.05
Floats = NDArray[np.float64]


class World(NamedTuple):
    """Queries in order, the swap in the middle: outcomes [n, m], posteriors [n, d], estimates [n, m], who swapped."""

    scores: Floats
    posteriors: Floats
    estimates: Floats
    strongest: int
    weakest: int


def table(folder: Path, models: Sequence[str]) -> tuple[Floats, pd.DataFrame]:
    """Return outcomes [n, m] of the questions that every model was asked, and these questions."""
    questions = pd.read_parquet(folder / "questions.parquet").set_index("question_id")
    rows = pd.read_parquet(folder / "outcomes.parquet")
    outcomes = rows.pivot(index="question_id", columns="model_id", values="correct")[list(models)].dropna()
    return outcomes.to_numpy(dtype=np.float64), questions.loc[outcomes.index]


def true_posteriors(questions: pd.DataFrame) -> Floats:
    """Return the category of each question, one-hot."""
    categories = questions["category"].to_numpy(dtype=object)
    return np.asarray(categories[:, None] == np.array(sorted(set(categories)), dtype=object), dtype=np.float64)


async def predicted_posteriors(questions: pd.DataFrame) -> Floats:
    """Return P(domain) by the classifier that ships, shape [n, d]."""
    async with await Router.create(RoutingConfig(classifier="linear"), []) as router:
        asked = [Query(messages=({"role": "user", "content": str(text)},)) for text in questions["question"]]
        found = []
        for start in range(0, len(asked), 256):
            found += await asyncio.gather(*map(router.classifier.classify, asked[start : start + 256]))
    domains = list(found[0].scores)
    return np.array([[each.scores[domain] for domain in domains] for each in found])


def world(outcomes: Floats, posteriors: Floats, seed: int) -> World:
    """Return one shuffle of the table with the swap in it."""
    order = np.random.default_rng(seed).permutation(len(outcomes))
    fitted, later = order[:FIT], order[FIT:]
    level = outcomes[fitted].mean(axis=0)
    weight = posteriors[fitted].sum(axis=0)[:, None]
    skills = (posteriors[fitted].T @ outcomes[fitted] + SHRINKAGE * level) / (weight + SHRINKAGE)
    strongest, weakest, scores = int(level.argmax()), int(level.argmin()), outcomes[later].copy()
    half = len(scores) // 2
    scores[half:, [strongest, weakest]] = scores[half:, [weakest, strongest]]
    return World(scores, posteriors[later], posteriors[later] @ skills, strongest, weakest)


def accuracies(each: World, target: str, rule: LearningRule, seed: int) -> tuple[float, float]:
    """Return accuracy before and after the swap under one kind of feedback."""
    exploration = EXPLORATION if target == "chosen_only" else 0.0
    chosen = replay(
        each.scores,
        each.posteriors,
        rule=rule,
        estimates=each.estimates,
        target=target,
        exploration=exploration,
        seed=seed,
    )
    right = each.scores[np.arange(len(chosen)), chosen]
    return float(right[: len(right) // 2].mean()), float(right[len(right) // 2 :].mean())


class Alarms(NamedTuple):
    """Drift alarms of one run: false ones before the swap, and answers from the swap to the first true one."""

    false: int
    answers: float
    delays: list[float]


def alarms(each: World, rule: DriftRule) -> Alarms:
    """Watch every expert as a whole, all of its answers known."""
    half, false, delays = len(each.scores) // 2, 0, []
    for expert in range(each.scores.shape[1]):
        detector, found = Detector(), None
        for index, (score, estimate) in enumerate(zip(each.scores[:, expert], each.estimates[:, expert], strict=True)):
            detector, direction = noticed(detector, float(score - estimate), 1.0, index, rule)
            if direction:
                detector = Detector()
                false += index < half
                if index >= half and found is None:
                    found = float(index - half)
        if expert in (each.strongest, each.weakest):
            delays.append(float("inf") if found is None else found)
    return Alarms(false, half * each.scores.shape[1], delays)


def row(name: str, found: Sequence[tuple[float, float]], frozen: Sequence[tuple[float, float]]) -> str:
    """Return one line: accuracy before and after, and the paired gain over the frozen router after the swap."""
    before, after = (100 * statistics.fmean(each[part] for each in found) for part in (0, 1))
    gains = [100 * (mine[1] - theirs[1]) for mine, theirs in zip(found, frozen, strict=True)]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    return (
        f"{name:12} before {before:5.1f}  after {after:5.1f}  over frozen {statistics.fmean(gains):+5.1f} ± {error:.1f}"
    )


def main() -> None:
    """Run the benchmark and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", default=PEERS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--posterior", choices=("category", "predicted"), default="category")
    parser.add_argument("--step", type=float, default=LearningRule().step)
    options = parser.parse_args()
    outcomes, questions = table(options.data, options.models.split(","))
    known = options.posterior == "category"
    posteriors = true_posteriors(questions) if known else asyncio.run(predicted_posteriors(questions))
    rule = LearningRule(step=options.step)
    worlds = [world(outcomes, posteriors, seed) for seed in range(options.runs)]
    print(f"{len(worlds[0].scores)} queries, {options.runs} shuffles, {options.posterior} posterior, step {rule.step}")
    by_target = {name: [accuracies(each, name, rule, seed) for seed, each in enumerate(worlds)] for name in TARGETS}
    for name, found in by_target.items():
        print(row(name, found, by_target["frozen"]))
    seen = [alarms(each, rule.drift) for each in worlds]
    delays = [delay for each in seen for delay in each.delays]
    print(
        f"alarms: {sum(each.false for each in seen)} false in {sum(each.answers for each in seen):.0f} answers; "
        f"after the swap, median {statistics.median(delays):.0f} answers, latest {max(delays):.0f}"
    )


if __name__ == "__main__":
    main()
