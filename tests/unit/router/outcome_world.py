"""A small world of recorded outcomes: three kinds of question, three experts, each good at one kind."""

from __future__ import annotations

import numpy as np

from router.encoder import Encoder
from router.features import Features, read_features
from router.training.outcomes import Outcomes

EXPERTS = ("solver", "coder", "doctor")
WORDS = {
    "math": "solve the equation for x and compute the integral of",
    "code": "def function return print loop python bug in the list",
    "health": "patient symptoms treatment dose of the medicine for pain",
}
DIMENSION = 16


class NamedEncoder(Encoder):
    """Has a name; features are given, so nothing is encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "toy"


def world(count: int, seed: int, *, dominated: bool = False) -> tuple[Outcomes, Features]:
    """Return outcomes and features of so many questions; with `dominated` the first expert is best at everything."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, count)
    names = np.array(list(WORDS))[kinds]
    texts = tuple(f"{WORDS[name]} {rng.integers(10_000)} {rng.integers(10_000)}" for name in names)
    centers = np.eye(3, DIMENSION)
    vectors = centers[kinds] + 0.15 * rng.normal(size=(count, DIMENSION))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    chance = np.where(np.eye(3, dtype=bool)[kinds], 0.85, 0.35)
    if dominated:
        chance = np.tile([0.8, 0.55, 0.5], (count, 1))
    scores = (rng.random((count, 3)) < chance).astype(float)
    outcomes = Outcomes(
        ids=tuple(str(place) for place in range(count)),
        texts=texts,
        categories=names,
        splits=np.full(count, "train"),
        stems=np.arange(count),
        keys=np.array([f"{seed}-{place}" for place in range(count)]),
        experts=EXPERTS,
        scores=scores,
        answers=None,
        costs=np.full((count, 3), 1e-4),
        in_chars=np.array([float(len(text)) for text in texts]),
    )
    return outcomes, read_features(texts, vectors)
