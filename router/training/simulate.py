"""Simulate conversations that change their topic once, to see what `routing.forgetting` costs and gains.

python -m router.training.simulate --prompts F.jsonl --source mmlu_pro [--artifact DIR] [--conversations 1500]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experts.types import Domain
from router.artifacts import SHIPPED, load_head
from router.config import EncoderConfig
from router.conversation import accumulate
from router.encoder import Encoder
from router.training.evaluate import embed, read
from router.training.prompts import of_split, read_prompts

BEFORE, AFTER = 4, 2
FORGETTING = (0.2, 0.3, 0.4, 0.5, 1.0)


def simulate(
    turns: Mapping[Domain, NDArray[np.float64]],
    domains: Sequence[Domain],
    *,
    forgetting: float,
    conversations: int,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return the accuracy after each turn: four of one domain, then two of another, drawn without replacement.

    Args:
        turns: each domain's distributions of single texts, shape [texts, domains]; at least four texts each.
    """
    random = np.random.default_rng(seed)
    names = sorted(turns)
    right = np.zeros(BEFORE + AFTER)
    for _ in range(conversations):
        first, second = (names[place] for place in random.choice(len(names), 2, replace=False))
        rows = np.concatenate(
            [random.permutation(turns[topic])[:count] for topic, count in ((first, BEFORE), (second, AFTER))]
        )
        for turn in range(1, len(rows) + 1):
            belief = accumulate(rows[:turn], [1.0] * turn, forgetting)
            right[turn - 1] += domains[int(belief.argmax())] == (first if turn <= BEFORE else second)
    return right / conversations


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line of accuracies for each value of `forgetting`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--artifact", type=Path, default=SHIPPED)
    parser.add_argument("--conversations", type=int, default=1500)
    chosen = parser.parse_args(arguments)
    head, manifest = load_head(chosen.artifact, encoder=EncoderConfig().model)
    rows = [row for row in of_split(read_prompts([chosen.prompts]), "dev") if row.source == chosen.source]
    probabilities = head.judge(embed(Encoder(), rows), read(rows)).probabilities
    labels = np.array([row.domain for row in rows])
    turns = {name: probabilities[labels == name] for name in manifest.domains if (labels == name).sum() >= BEFORE}
    for forgetting in FORGETTING:
        found = simulate(turns, head.domains, forgetting=forgetting, conversations=chosen.conversations)
        print(forgetting, *(f"{accuracy:.3f}" for accuracy in found))  # noqa: T201


if __name__ == "__main__":
    main()
