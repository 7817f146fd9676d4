"""Learning pays after a change: six peers, the strongest and the weakest swapped half-way (DriftMoE, 2507.18464)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from router.learning import LearningRule, replay

DOMAINS, PEERS, QUERIES = 8, 6, 5000
RULE = LearningRule()
World = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def world(seed: int) -> World:
    """Return outcomes [n, m] with the swap in them, one-hot domains [n, d] and estimates from before it [n, m]."""
    chance = np.random.default_rng(seed)
    level = np.linspace(0.36, 0.5, PEERS)
    skills = np.clip(level[:, None] + chance.normal(0, 0.05, (PEERS, DOMAINS)), 0.05, 0.95)
    order = np.argsort(skills.mean(axis=1))
    swapped = skills.copy()
    swapped[[order[0], order[-1]]] = skills[[order[-1], order[0]]]
    about = chance.integers(DOMAINS, size=QUERIES)
    before = np.arange(QUERIES)[:, None] < QUERIES // 2
    right = np.where(before, skills.T[about], swapped.T[about])
    return (chance.random((QUERIES, PEERS)) < right).astype(float), np.eye(DOMAINS)[about], skills.T[about]


def late_accuracy(seed: int, target: str, exploration: float = 0.0) -> float:
    scores, posteriors, estimates = world(seed)
    chosen = replay(
        scores, posteriors, rule=RULE, estimates=estimates, target=target, seed=seed, exploration=exploration
    )
    return float(scores[np.arange(QUERIES), chosen][-2500:].mean())


@pytest.fixture(scope="module")
def late() -> dict[str, float]:
    """Return accuracy over the last 2,500 queries by target, mean of two worlds."""
    targets = ("frozen", "multi_hot", "one_right", "first_right")
    found = {target: float(np.mean([late_accuracy(seed, target) for seed in range(2)])) for target in targets}
    explored = [late_accuracy(seed, "chosen_only", exploration=0.05) for seed in range(2)]
    return {**found, "chosen_only": float(np.mean(explored))}


def test_multi_hot_learning_regains_three_points_over_a_frozen_router(late: dict[str, float]) -> None:
    assert late["multi_hot"] - late["frozen"] >= 0.03


def test_multi_hot_is_no_worse_than_one_label(late: dict[str, float]) -> None:
    assert late["multi_hot"] >= late["one_right"]
    assert late["multi_hot"] > late["first_right"]


def test_feedback_on_the_chosen_expert_alone_helps_too(late: dict[str, float]) -> None:
    assert late["chosen_only"] > late["frozen"]


def test_without_a_change_learning_costs_less_than_two_points_against_perfect_knowledge() -> None:
    rows, losses = np.arange(QUERIES // 2), []
    for seed in range(2):
        scores, posteriors, estimates = world(seed)
        frozen, learning = (
            scores[rows, replay(scores, posteriors, rule=RULE, estimates=estimates, target=target)[rows]].mean()
            for target in ("frozen", "multi_hot")
        )
        losses.append(frozen - learning)

    assert np.mean(losses) < 0.02


def test_a_choice_is_made_before_its_outcome_is_known() -> None:
    scores = np.array([[0.0, 1.0], [0.0, 1.0]])

    assert [0, 1] == replay(scores, np.ones((2, 1)), rule=replace(RULE, shared=0.0)).tolist()
