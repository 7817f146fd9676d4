"""What a cache by meaning would do: how many paraphrases it finds, and how many other questions it takes for the same.

The vectors are those of the embedded encoder, the pairs those of `semantic_pairs`. A guard stands beside the plain
cosine: a hit must have the same numbers, the same count of negations and the same capitalised names. The last rows
ask for the threshold at which no pair is taken wrongly, and what is left to find there.

python -m tests.bench.semantic_cache
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from router.config import EncoderConfig
from router.encoder import Encoder
from tests.bench.semantic_pairs import Pair, pairs

THRESHOLDS = (0.80, 0.85, 0.90, 0.92, 0.94, 0.96, 0.98, 0.99)
OTHERS = ("negation", "reversal", "number", "name")
NEGATION = re.compile(
    r"\b(?:not|no|never|none|without|cannot|false|dis\w+|un\w+|non-\w+|il\w+|ir\w+|in(?:edible|valid|correct))\b|n't\b"
)
NUMBER = re.compile(r"[a-z]*\d[\w.]*", re.IGNORECASE)
NAME = re.compile(r"(?<=\s)[A-Z][\w+#]*")


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair, how alike its vectors are, and whether the guard lets it pass."""

    pair: Pair
    cosine: float
    guarded: bool


async def judged() -> list[Judged]:
    """Return every pair with its cosine."""
    known = list(pairs())
    encoder = Encoder(EncoderConfig())
    await encoder.warm_up()
    try:
        vectors = await encoder.encode([text for pair in known for text in (pair.one, pair.other)])
    finally:
        await encoder.aclose()
    rows = np.asarray(vectors)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = (rows[0::2] * rows[1::2]).sum(axis=1)
    return [Judged(pair, float(c), alike(pair.one, pair.other)) for pair, c in zip(known, cosines, strict=True)]


def alike(one: str, other: str) -> bool:
    """Say whether two questions have the same numbers, names and count of negations."""
    return marks(one) == marks(other)


def marks(text: str) -> tuple[Counter[str], Counter[str], int]:
    """Return a question's numbers, its names, and how many negations it has."""
    return Counter(NUMBER.findall(text)), Counter(NAME.findall(text)), len(NEGATION.findall(text.lower()))


def share(found: list[Judged], kind: str, threshold: float, *, guard: bool) -> float:
    """Return the share of a kind's pairs that would be a hit."""
    of_kind = [each for each in found if each.pair.kind == kind or (kind == "other" and each.pair.kind in OTHERS)]
    return sum(each.cosine >= threshold and (each.guarded or not guard) for each in of_kind) / len(of_kind)


def table(found: list[Judged]) -> list[str]:
    """Return the rows: the threshold, right hits, wrong hits by kind, without and with the guard."""
    kinds = ("paraphrase", "other", *OTHERS)
    lines = [
        "| cosine at least | guard | paraphrases found | others taken for the same | " + " | ".join(OTHERS) + " |",
        "|---|---|" + "---|" * len(kinds),
    ]
    for guard in (False, True):
        for threshold in THRESHOLDS:
            cells = (f"{share(found, kind, threshold, guard=guard):.0%}" for kind in kinds)
            lines.append(f"| {threshold:.2f} | {'yes' if guard else 'no'} | " + " | ".join(cells) + " |")
    return lines


def safe(found: list[Judged], *, guard: bool) -> tuple[float, float]:
    """Return the least threshold above every wrong hit, and the share of paraphrases found there."""
    highest = max(each.cosine for each in found if each.pair.kind in OTHERS and (each.guarded or not guard))
    return highest, share(found, "paraphrase", np.nextafter(highest, 2), guard=guard)


def main() -> None:
    """Measure and print."""
    found = asyncio.run(judged())
    counts = Counter(each.pair.kind for each in found)
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    print("\n".join(table(found)))
    for guard in (False, True):
        threshold, hits = safe(found, guard=guard)
        print(
            f"no wrong hit above {threshold:.4f}{' with the guard' if guard else ''}: {hits:.0%} of paraphrases found"
        )
    worst = sorted((e for e in found if e.pair.kind in OTHERS and e.guarded), key=lambda each: -each.cosine)[:8]
    print("what passes the guard:", *(f"{e.cosine:.3f} {e.pair.one} / {e.pair.other}" for e in worst), sep="\n  ")


if __name__ == "__main__":
    main()
