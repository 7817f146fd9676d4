"""Small worlds of outcomes: experts that are good at different things, and recorded answers that agree when right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.evaluation import Reference
from router.evaluation.votes import code_answers

CATEGORIES = ("math", "law", "chat")


@dataclass(frozen=True, slots=True)
class World:
    """Training and test outcomes, and the true probability (n_test, m) that each expert is right."""

    train: Reference
    test: Reference
    truth: NDArray[np.float64]


def specialists(n: int = 600, seed: int = 1) -> World:
    """Three experts, each at home in one category; the third is dear."""
    skill = np.array([[0.9, 0.3, 0.4], [0.3, 0.85, 0.4], [0.4, 0.4, 0.8]])
    return world(skill, np.array([1e-4, 2e-4, 1e-3]), n, seed)


def dominated(n: int = 600, seed: int = 2) -> World:
    """The first expert is the best at everything."""
    return world(np.tile([0.9, 0.4, 0.3], (3, 1)), np.array([1e-4, 1e-4, 1e-4]), n, seed)


def world(skill: NDArray[np.float64], price: NDArray[np.float64], n: int, seed: int) -> World:
    """Draw outcomes of experts with `skill` (category, expert); wrong answers differ by chance."""
    rng = np.random.default_rng(seed)
    sides = [outcomes(skill, price, n, rng, side) for side in ("train", "test")]
    places = np.array([CATEGORIES.index(name) for name in sides[1].categories])
    return World(sides[0], sides[1], skill[places])


def outcomes(
    skill: NDArray[np.float64], price: NDArray[np.float64], n: int, rng: np.random.Generator, side: str
) -> Reference:
    """Draw n questions of one side."""
    places = np.arange(n) % len(CATEGORIES)
    scores = (rng.random((n, skill.shape[1])) < skill[places]).astype(np.float64)
    wrong = rng.integers(1, 9, size=scores.shape).astype(str)
    answers = np.where(scores > 0, "0", wrong).astype(object)
    lengths = rng.integers(50, 400, size=n).astype(np.float64)
    return Reference(
        experts=tuple("abcdefgh"[: skill.shape[1]]),
        scores=scores,
        costs=price * lengths[:, None] / 200,
        codes=code_answers(answers),
        categories=np.array(CATEGORIES)[places],
        keys=np.array([f"{side}{place}" for place in range(n)]),
        lengths=lengths,
    )
